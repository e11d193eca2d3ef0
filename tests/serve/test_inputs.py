"""Pictures that come in."""

import asyncio
import io

import numpy as np
import pytest
from PIL import Image
from service_doors import mask_file, picture_file

from polarlight.base.errors import UserError
from polarlight.serve.inputs import GivenPicture, read_mask, read_reference, store_input
from polarlight.serve.options import Options
from polarlight.serve.state import State
from polarlight.serve.stored_files import NewFile


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_the_three_formats_become_pixels(form: str) -> None:
    picture = GivenPicture.read(picture_file(form, (40, 30)))
    assert picture.pixels.shape == (30, 40, 3)
    assert abs(float(picture.pixels.mean()) - 120) < 2


def test_other_formats_are_refused_by_name() -> None:
    with pytest.raises(UserError, match="neither PNG, JPEG, WebP"):
        GivenPicture.read(picture_file("BMP"))


def test_a_mask_is_read_from_its_transparency_or_from_white() -> None:
    cut = read_mask(mask_file(), 128, 128)
    assert cut[40:80, 40:80].all()
    assert int(cut.sum()) == 1600
    assert np.all(read_mask(picture_file(grey=255), 128, 128))


def test_an_alpha_channel_that_is_opaque_everywhere_leaves_the_mask_to_white() -> None:
    painted = np.zeros((128, 128, 4), np.uint8)
    painted[..., 3], painted[:32] = 255, 255
    buffer = io.BytesIO()
    Image.fromarray(painted).save(buffer, "PNG")
    assert int(read_mask(buffer.getvalue(), 128, 128).sum()) == 32 * 128


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_equal_inputs_are_kept_once_and_for_longer_than_their_job_can_wait(state: State) -> None:
    key = state.keys.create("a").key
    content = picture_file()
    assert store_input(state, key.id, content) == store_input(state, key.id, content)
    files = state.files.page(key.id)
    assert {file.purpose for file in files} == {"input"}
    assert files[0].expires_at - files[0].created_at > state.settings.limits.wait_s


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_an_address_that_the_service_itself_gave_out_is_read_from_its_files(state: State) -> None:
    key = state.keys.create("a").key
    file = state.files.add(key.id, NewFile(filename="a.png", content=picture_file(), content_type="image/png"))
    address = f"{state.settings.public_url}/public/{state.files.publish(file.id).public_token}.png"
    assert asyncio.run(read_reference(state, Options(), "another key", address)) == picture_file()
    state.files.unpublish(file.id)
    with pytest.raises(UserError, match="its time is over"):
        asyncio.run(read_reference(state, Options(), key.id, address))
