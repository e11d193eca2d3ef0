"""Sharing for training: nothing before a key says so, nothing of what was sent along, and nothing once it is taken back."""

import json
from pathlib import Path
from typing import Any

import pytest

from polarlight.base.errors import UserError
from polarlight.serve.sharing import LIST, Exported, export, shared_pictures, sharing_of
from polarlight.serve.state import State
from polarlight.serve.stored_files import NewFile


def made(state: State, key_id: str, prompt: str, inputs: tuple[str, ...] = ()) -> None:
    """A finished picture of a prompt."""
    body = {"prompt": prompt, "pictures": list(inputs), "negative_prompt": None, "plan": None}
    job = state.jobs.submit(key_id, "image", "polarlight", body, ticks=0, worker="w")
    file = NewFile(filename="a.png", content=prompt.encode(), content_type="image/png")
    about = {"file": 0, "allowed": True, "prompt": prompt, "seed": 7, "width": 128, "height": 96, "note": ""}
    state.jobs.finish(job, files=[file], result={"pictures": [about]})


@pytest.fixture
def key_id(state: State) -> str:
    return state.keys.create("maker").key.id


def prompts(state: State) -> list[str]:
    return [shared.prompt for shared, _ in shared_pictures(state)]


def test_only_what_was_made_from_words_after_the_word_was_given_is_shared(
    state: State, clock: Any, key_id: str
) -> None:
    other = state.keys.create("silent").key.id
    made(state, key_id, "before")
    clock.now += 1
    state.keys.share_data(key_id, True)
    made(state, key_id, "a fox")
    made(state, key_id, "a photograph changed", ("ab/photo",))
    made(state, other, "somebody else's")
    assert prompts(state) == ["a fox"]
    word = sharing_of(state, key_id)
    assert (word.shares, word.since) == (True, int(clock.now))
    assert not sharing_of(state, other).shares


def test_a_word_taken_back_takes_everything_back_and_a_new_one_begins_anew(
    state: State, clock: Any, key_id: str
) -> None:
    state.keys.share_data(key_id, True)
    made(state, key_id, "a fox")
    state.keys.share_data(key_id, False)
    assert prompts(state) == []
    clock.now += 1
    state.keys.share_data(key_id, True)
    assert prompts(state) == []
    made(state, key_id, "a hare")
    assert prompts(state) == ["a hare"]
    state.keys.revoke(key_id)  # its owner could not take it back any more
    assert prompts(state) == []


def test_a_folder_follows_what_is_shared(state: State, key_id: str, tmp_path: Path) -> None:
    folder = tmp_path / "shared"
    state.keys.share_data(key_id, True)
    made(state, key_id, "a fox")
    made(state, key_id, "a hare")
    assert export(state, folder) == Exported(pictures=2, written=2, removed=0)
    lines = [json.loads(line) for line in (folder / LIST).read_text().splitlines()]
    assert [(line["prompt"], line["seed"], line["width"], line["height"]) for line in lines] == [
        ("a fox", 7, 128, 96),
        ("a hare", 7, 128, 96),
    ]
    assert [(folder / line["file"]).read_bytes() for line in lines] == [b"a fox", b"a hare"]
    assert key_id not in (folder / LIST).read_text()
    assert export(state, folder) == Exported(pictures=2, written=0, removed=0)
    (folder / "mine.png").write_bytes(b"somebody's own")
    (fox,) = [file for shared, file in shared_pictures(state) if shared.prompt == "a fox"]
    state.files.delete(fox.id)
    assert export(state, folder) == Exported(pictures=1, written=0, removed=1)
    state.keys.share_data(key_id, False)
    assert export(state, folder) == Exported(pictures=0, written=0, removed=1)
    assert sorted(path.name for path in folder.iterdir()) == ["mine.png", LIST]


@pytest.mark.parametrize("text", ["no json", '{"name": 1}', '{"file": "../../etc/passwd"}'])
def test_a_folder_with_a_list_of_something_else_is_left_alone(state: State, tmp_path: Path, text: str) -> None:
    (tmp_path / LIST).write_text(text)
    with pytest.raises(UserError, match="no list of an export"):
        export(state, tmp_path)
    assert (tmp_path / LIST).read_text() == text
