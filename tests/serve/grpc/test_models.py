"""Models as the client lists them."""

import pytest
from service_grpc import Code, refused


def test_the_models_that_make_pictures_are_listed_with_their_aliases(client) -> None:
    (model,) = client.models.list_image_generation_models()
    assert model.name == "fake-image"
    assert {"gpt-image-1", "grok-imagine-image"} <= set(model.aliases)
    assert (model.max_prompt_length, model.created.seconds) == (1000, 1)


def test_a_model_is_found_by_an_alias(client) -> None:
    assert client.models.get_image_generation_model("grok-imagine-image").name == "fake-image"


@pytest.mark.parametrize("kind", ["image_generation", "language", "embedding"])
def test_a_model_that_is_not_there_is_not_found(client, kind: str) -> None:
    with refused(Code.NOT_FOUND):
        getattr(client.models, f"get_{kind}_model")("grok-imagine-video")


def test_there_are_no_models_for_words(client) -> None:
    assert not client.models.list_language_models()
    assert not client.models.list_embedding_models()
