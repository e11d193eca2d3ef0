"""The studio in a real browser: whole journeys by pointer and by keyboard, a fake engine behind the real server."""

import io
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from studio_pictures import SceneryEngine, scenery

from polarlight.infer.engine import Engines
from polarlight.media.pictures import encode_picture
from polarlight.serve.gallery import Filter, Gallery, NewTile
from polarlight.serve.options import Options
from polarlight.serve.server import make_server
from polarlight.serve.service import Service
from polarlight.serve.settings import Settings
from polarlight.serve.stored_files import NewFile
from polarlight.serve.studio_tables import tiles

playwright = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")
expect, Page = playwright.expect, Any
expect.set_options(timeout=30_000)  # a browser beside other work is slow at times
DONE = '.tile[data-status="done"]'


@pytest.fixture(scope="module")  # it keeps an event loop running, which no other module's tests could live with
def browser() -> Iterator[Any]:
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium is installed (Debian: apt install chromium)")
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


class Running:
    """A server on a free port in a thread, with an engine that draws sceneries."""

    def __init__(self, home: Path) -> None:
        self.engine, engines = SceneryEngine(pace_s=0.01), Engines()
        engines.add(self.engine)
        self.service = Service.open(Settings.at(home), engines, Options(sign=False))
        made = self.service.state.keys.ensure_owner()
        assert made is not None
        self.owner, self.secret = made.key, made.secret
        self.server = make_server(self.service, "127.0.0.1", 0)
        self.thread = threading.Thread(target=self.server.run)

    def start(self) -> None:
        self.thread.start()
        while not self.server.started:
            assert self.thread.is_alive(), "the server ended before it began"
            time.sleep(0.01)
        port = self.server.servers[0].sockets[0].getsockname()[1]
        self.address = f"http://127.0.0.1:{port}"

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(20)

    @property
    def gallery(self) -> Gallery:
        return Gallery(self.service.state.database, self.service.state.files, time.time)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Running]:
    running = Running(tmp_path / "home")
    running.start()
    yield running
    running.stop()


@pytest.fixture
def open_page(browser: Any, server: Running) -> Iterator[Callable[..., Page]]:
    """Opens a page in a browser of its own; at the end none of them may have complained."""
    complaints: list[str] = []
    contexts = []

    def open_one(width: int = 1280, height: int = 800, **more: Any) -> Page:
        contexts.append(browser.new_context(viewport={"width": width, "height": height}, **more))
        page = contexts[-1].new_page()
        page.set_default_timeout(30_000)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        page.goto(server.address)
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture
def page(open_page: Callable[..., Page]) -> Page:
    opened = open_page()
    expect(opened.locator("#prompt")).to_be_focused()
    return opened


def draw(page: Page, prompt: str, mode: str = "Quality", count: int = 4) -> None:
    page.locator("label.option", has_text=mode).click()
    page.fill("#prompt", prompt)
    page.press("#prompt", "Enter")
    expect(page.locator(DONE)).to_have_count(count)


def drop(page: Page, content: bytes, onto: str = "#stage") -> None:
    """Drop a picture file as a person would."""
    page.evaluate(
        """async ([bytes, onto]) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(bytes)], "dropped.png", { type: "image/png" }));
            for (const kind of ["dragover", "drop"]) {
                const event = new DragEvent(kind, { dataTransfer: transfer, bubbles: true, cancelable: true });
                document.querySelector(onto).dispatchEvent(event);
            }
        }""",
        [list(content), onto],
    )


def test_a_stream_draws_while_one_scrolls_and_stops_at_once(open_page: Callable[..., Page], server: Running) -> None:
    page = open_page(640, 480)  # few tiles to a screenful
    page.fill("#prompt", "hills")
    page.press("#prompt", "Enter")
    expect(page.locator(DONE).first).to_be_visible()
    expect(page.locator(".status")).to_have_text(re.compile("scroll for more"), timeout=40_000)
    ahead = server.engine.begun
    assert ahead <= 2 * page.locator(".tile:visible").count()  # a screenful ahead, and no more while nobody scrolls
    page.locator(".scroller").evaluate("(scroller) => scroller.scrollBy(0, 600)")
    expect(page.locator(".status")).to_have_text(re.compile(r"\d+ drawn"))
    deadline = time.monotonic() + 10
    while server.engine.begun <= ahead:
        assert time.monotonic() < deadline, "nothing was drawn for the scrolled-to place"
        page.wait_for_timeout(20)
    server.engine.pace_s = 0.5
    page.locator(".scroller").evaluate("(scroller) => scroller.scrollBy(0, 600)")
    page.wait_for_timeout(300)
    page.get_by_role("button", name="Stop").click()
    begun = server.engine.begun
    expect(page.get_by_role("button", name="Continue the stream")).to_be_visible()
    page.wait_for_timeout(600)
    assert server.engine.begun == begun


SLOW_SOCKET = """
    const Real = WebSocket;
    window.WebSocket = class extends Real {
        late = false;
        get readyState() { return this.late ? super.readyState : Real.CONNECTING; }
        set onopen(hear) { super.onopen = (event) => setTimeout(() => { this.late = true; hear(event); }, 1500); }
    };
"""


def test_what_is_asked_before_the_connection_is_there_is_not_lost(open_page: Callable[..., Page]) -> None:
    page = open_page(640, 480)
    page.add_init_script(SLOW_SOCKET)
    page.reload()
    page.fill("#prompt", "hills")
    page.press("#prompt", "Enter")
    expect(page.locator(".status")).to_have_text(re.compile("scroll for more"))
    drawn = page.locator(DONE).count()
    page.get_by_role("button", name="Stop").click()
    page.reload()
    page.get_by_role("button", name="Continue the stream").click()
    page.get_by_role("button", name="Stop").click()  # before it has begun
    page.wait_for_timeout(2500)
    expect(page.locator(DONE)).to_have_count(drawn)


def test_the_keyboard_alone_draws_looks_edits_and_removes(page: Page) -> None:
    page.keyboard.press("Escape")
    page.keyboard.press("q")
    page.keyboard.press("/")
    page.keyboard.type("a lake")
    page.keyboard.press("Enter")
    expect(page.locator(DONE)).to_have_count(4)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("f")
    expect(page.locator(".tile.favourite")).to_have_count(1)
    page.keyboard.press("e")
    for key in ("]", "]", " ", "ArrowLeft", " ", "Enter"):
        page.keyboard.press(key)
    expect(page.locator("#prompt")).to_be_focused()
    expect(page.locator(".reference")).to_contain_text("Mask painted")
    page.keyboard.type("a storm")
    page.keyboard.press("Enter")
    expect(page.locator(DONE)).to_have_count(2)
    page.keyboard.press("Enter")
    expect(page.locator("dialog.viewer .knot")).to_have_count(3)
    page.keyboard.press("Delete")
    expect(page.locator("dialog.viewer")).to_have_count(0)
    expect(page.locator(DONE)).to_have_count(1)
    page.get_by_role("button", name="Undo").press("Enter")
    expect(page.locator(DONE)).to_have_count(2)


def test_the_brush_paints_what_may_change(page: Page, server: Running) -> None:
    draw(page, "a lake")
    page.locator(DONE).first.click()
    page.get_by_role("button", name="Edit").click()
    box = page.locator("dialog.brush canvas").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + box["height"] * 0.5)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.7, box["y"] + box["height"] * 0.5, steps=5)
    page.mouse.up()
    page.get_by_role("button", name="Use this mask").click()
    page.keyboard.type("a storm")
    page.keyboard.press("Enter")
    expect(page.locator(DONE)).to_have_count(2)
    tiles = server.gallery.lineage(server.owner.id, server.gallery.page(server.owner.id, Filter())[0].id)
    assert [tile.kind for tile in tiles] == ["draw", "edit", "edit"]


def test_a_reload_and_a_second_device_show_the_same(page: Page, open_page: Callable[..., Page]) -> None:
    draw(page, "a lake")
    page.locator("#prompt").fill("half a sentence")
    page.get_by_role("button", name="Lock the seed").click()
    page.wait_for_timeout(700)
    seed = page.get_by_label("Seed", exact=True).input_value()
    page.reload()
    for device in (page, open_page(390, 844)):
        expect(device.locator("#prompt")).to_have_value("half a sentence")
        expect(device.locator(DONE)).to_have_count(4)
        expect(device.get_by_label("Seed", exact=True)).to_have_value(seed)


def test_the_history_is_searched_filed_and_downloaded(page: Page) -> None:
    draw(page, "a lake")
    draw(page, "the sea")
    page.keyboard.press("2")
    expect(page.locator(DONE)).to_have_count(8)
    page.keyboard.press("g")
    page.keyboard.type("sea")
    expect(page.locator(".status")).to_have_text("4 pictures")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="New folder").click()
    page.keyboard.type("Best")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Best", exact=False).first.wait_for()
    page.locator(DONE).first.click(modifiers=["Control"])
    page.locator(DONE).nth(1).click(modifiers=["Shift"])
    expect(page.locator(".chosen")).to_have_text("2 chosen")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download").click()
    assert download.value.suggested_filename == "polarlight.zip"
    page.get_by_label("Move to a folder").select_option("Best")
    expect(page.locator(".folders .count")).to_have_text("2")


def test_pictures_are_shared_for_training_only_when_one_says_so(page: Page) -> None:
    for word, said in ((True, "is shared from now on"), (False, "Nothing of yours is shared")):
        page.get_by_role("button", name="Sharing for training").click()
        box = page.get_by_label("Share my pictures for training")
        expect(box).to_be_focused()
        expect(box).to_be_checked(checked=not word)
        page.keyboard.press("Space")
        page.keyboard.press("Enter")
        expect(page.get_by_text(said)).to_be_visible()


def test_a_dropped_file_brings_its_settings_back(page: Page) -> None:
    about = {"prompt": "from a file", "seed": 123, "mode": "quality"}
    drop(page, encode_picture(scenery("a", 1, 144, 96), about, ".png"))
    expect(page.locator("#prompt")).to_have_value("from a file")
    expect(page.get_by_label("Seed", exact=True)).to_have_value("123")
    expect(page.locator("label.option:has(:checked)")).to_have_text(["Quality", "3:2"])


def test_a_dropped_file_without_settings_says_so_and_can_be_edited(page: Page) -> None:
    bare = io.BytesIO()
    Image.fromarray(scenery("a", 1, 128, 128)).save(bare, "PNG")
    drop(page, bare.getvalue())
    page.get_by_role("button", name="Start from this picture").click()
    expect(page.locator(".reference")).to_have_count(1)


def test_a_refused_prompt_says_why_in_one_sentence(page: Page) -> None:
    page.fill("#prompt", "x" * 450)
    page.press("#prompt", "Enter")
    expect(page.get_by_role("alert")).to_contain_text("Shorten it")


def test_an_edit_of_a_person_asks_for_consent_and_goes_on_with_it(page: Page, server: Running) -> None:
    bare = io.BytesIO()
    Image.fromarray(scenery("a", 1, 128, 128)).save(bare, "PNG")
    drop(page, bare.getvalue())
    page.get_by_role("button", name="Start from this picture").press("Enter")
    expect(page.locator(".reference")).to_have_count(1)
    page.fill("#prompt", "make her smile")
    page.press("#prompt", "Enter")
    question = page.get_by_role("dialog", name="Consent")
    expect(question).to_have_accessible_description(re.compile("that person's consent"))
    box = question.get_by_role("checkbox", name="I have the consent of the person shown.")
    expect(box).to_be_focused()
    expect(box).not_to_be_checked()
    expect(box).to_have_accessible_description("What you state is written down with this request.")
    page.keyboard.press("Enter")  # without the tick nothing is stated
    expect(question).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("alert")).to_contain_text("needs that person's consent")
    assert not server.engine.tasks
    page.press("#prompt", "Enter")
    expect(box).to_be_focused()
    page.keyboard.press("Space")
    page.keyboard.press("Enter")
    expect(page.locator(DONE)).to_have_count(2)
    asked = [one for one in server.service.gate.audit.records() if one["event"] == "check"]
    refused = [one["subject_consent"] for one in asked if one["rule"] == "consent"]
    assert set(refused) == {False}
    assert {one["subject_consent"] for one in asked if one["decision"] == "allowed"} == {True}


def test_consent_is_asked_for_beside_the_stream_too(page: Page, server: Running) -> None:
    draw(page, "a woman by a lake")
    page.locator(DONE).first.hover()
    page.locator(DONE).first.get_by_role("button", name="More like this").click()
    page.get_by_role("checkbox", name="I have the consent").check()
    page.get_by_role("button", name="Continue").click()
    expect(page.locator(DONE)).to_have_count(8)
    expect(page.locator(".tile:visible")).to_have_count(8)


def test_more_and_less_change_the_stream(page: Page) -> None:
    draw(page, "a lake")
    page.locator(DONE).first.hover()
    page.locator(DONE).first.get_by_role("button", name="More like this").click()
    expect(page.locator(DONE)).to_have_count(8)
    page.locator(DONE).first.get_by_role("button", name="Less like this").click()
    expect(page.locator(DONE)).to_have_count(3)


def test_what_no_model_can_do_is_said_where_its_button_is(page: Page) -> None:
    draw(page, "a lake")
    page.locator(DONE).first.click()
    for name, why in {
        "Plan": "The loaded model draws without plans.",
        "Upscale": "No loaded model offers upscaling.",
        "Make a video": "No video model is loaded.",
    }.items():
        control = page.get_by_role("button", name=name, exact=True)
        expect(control).to_have_attribute("aria-disabled", "true")
        expect(control).to_have_accessible_description(why)


def test_what_stands_where_is_moved_by_keyboard_and_drawn_anew(open_page: Callable[..., Page], server: Running) -> None:
    server.engine.learn_to_plan()
    page = open_page()
    draw(page, "a lake")
    page.locator(DONE).first.click()
    page.get_by_role("button", name="Plan", exact=True).click()
    box = page.get_by_role("button", name="sun: columns 4 to 11, rows 4 to 11")
    box.press("ArrowRight")
    page.get_by_role("button", name="sun: columns 5 to 12").press("Shift+ArrowDown")
    page.get_by_role("button", name="Add a thing").click()
    page.get_by_label("Thing 2").fill('sign "HI"')
    page.get_by_role("button", name="Draw by this plan").click()
    expect(page.locator(".lineage .knot")).to_have_count(5)
    assert server.engine.tasks[-1].plan == 'sun @ 5 4 12 12; sign "HI" @ 10 10 21 21'


def test_a_picture_is_upscaled_beside_its_parent_and_held_against_it(
    open_page: Callable[..., Page], server: Running
) -> None:
    server.engine.learn_to_upscale()
    page = open_page()
    draw(page, "a lake")
    page.locator(DONE).first.click()
    control = page.get_by_role("button", name="Upscale")
    expect(control).not_to_have_attribute("aria-disabled", "true")
    control.click()
    expect(page.locator(".lineage .knot")).to_have_count(2)
    page.locator(".lineage .knot", has_text="upscaled").click()
    expect(page.locator(".facts")).to_contain_text("256 × 256")
    page.locator('[data-act="compare"]').click()
    expect(page.locator(".compare-board img")).to_have_count(2)
    page.keyboard.press("Escape")
    page.keyboard.press("c")
    expect(page.get_by_label("Command line", exact=True)).to_have_text("polarlight upscale picture.png --factor 2")
    expect(page.get_by_label("curl", exact=True)).to_contain_text(f"{server.address}/v1/images/upscale")
    compile(page.get_by_label("Python", exact=True).inner_text(), "copied", "exec")


def test_every_picture_can_be_made_without_the_studio(page: Page, server: Running) -> None:
    draw(page, "it's a lake")
    page.keyboard.press("c")
    expect(page.get_by_label("Command line", exact=True)).to_contain_text("""polarlight imagine 'it'\\''s a lake'""")
    expect(page.get_by_label("curl", exact=True)).to_contain_text(f"{server.address}/v1/images/generations")
    compile(page.get_by_label("Python", exact=True).inner_text(), "copied", "exec")


def test_elsewhere_a_key_opens_the_door(open_page: Callable[..., Page], server: Running) -> None:
    settings = replace(server.service.state.settings, public_url="https://pictures.example")
    object.__setattr__(server.service.state, "settings", settings)
    page = open_page()
    page.get_by_label("Key").fill(server.secret)
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("#prompt")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Key")).to_be_visible()


def test_five_thousand_tiles_need_few_nodes(server: Running, open_page: Callable[..., Page]) -> None:
    content = encode_picture(scenery("a", 1, 128, 128), {}, ".png")
    file = server.service.state.files.add(server.owner.id, NewFile(filename="a.png", content=content))
    new = NewTile(file_id=file.id, kind="draw", content_type="image/png", width=128, height=128, prompt="many", seed=1)
    row = {**vars(server.gallery.add(server.owner.id, new)), "key_id": server.owner.id}
    del row["number"]
    with server.service.state.database.write() as connection:
        connection.execute(tiles.insert(), [{**row, "id": f"tile-{number}"} for number in range(4_999)])
    page = open_page()
    expect(page.locator("#prompt")).to_be_focused()
    page.keyboard.press("Escape")
    page.keyboard.press("2")
    expect(page.locator(".status")).to_have_text("5,000 pictures")
    page.locator(".tile").first.focus()
    page.keyboard.press("End")
    expect(page.locator('.tile[data-index="4999"]')).to_be_focused()
    expect(page.locator('.tile[data-index="4999"][data-status="done"]')).to_be_visible()
    assert page.locator(".tile").count() < 200


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1280, "light")])
def test_no_serious_finding_of_axe(open_page: Callable[..., Page], width: int, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    page = open_page(width, 844, color_scheme=scheme, bypass_csp=True, reduced_motion="reduce")
    page.locator("#prompt").wait_for()
    check = axe.Axe()

    def findings() -> list[str]:
        found = check.run(page).response["violations"]
        return [
            f"{each['id']}: {each['nodes'][0]['html'][:200]}"
            for each in found
            if each["impact"] in ("serious", "critical")
        ]

    assert findings() == []
    draw(page, "a lake")
    assert findings() == []
    page.locator(DONE).first.click()
    expect(page.locator("dialog.viewer .family")).not_to_contain_text("Looking")
    assert findings() == []
    page.keyboard.press("e")
    page.keyboard.press("Enter")
    page.fill("#prompt", "make her smile")
    page.press("#prompt", "Enter")
    page.get_by_role("dialog", name="Consent").wait_for()
    assert findings() == []
    page.keyboard.press("Escape")
    page.locator("#prompt").blur()
    page.keyboard.press("?")
    assert findings() == []
