"""The studio's memory: tiles, lineage, folders, favourites, what was not liked, page states."""

from dataclasses import replace

import pytest
from sqlalchemy import func, select

from polarlight.base.errors import UserError
from polarlight.serve import tables
from polarlight.serve.gallery import UNDO_S, Filter, Gallery, NewTile, NoSuchTile, Tile, as_json
from polarlight.serve.state import State
from polarlight.serve.stored_files import NewFile

ALL = Filter()


class Room:
    """A key with a gallery."""

    def __init__(self, state: State, name: str = "a") -> None:
        self.state = state
        self.key = state.keys.create(name).key.id
        self.gallery = Gallery(state.database, state.files, state.files.clock)

    def add(self, prompt: str = "a red cat", seed: int | None = 1, parent: Tile | None = None) -> Tile:
        content = f"{prompt} {seed}".encode()
        file = self.state.files.add(self.key, NewFile(filename="a.png", content=content, content_type="image/png"))
        new = NewTile(
            file_id=file.id, kind="draw", content_type="image/png", width=8, height=8, prompt=prompt, seed=seed
        )
        return self.gallery.add(self.key, replace(new, parent_id=parent and parent.id))

    def prompts(self, wanted: Filter = ALL, **more: int) -> list[str]:
        return [tile.prompt for tile in self.gallery.page(self.key, wanted, **more)]


@pytest.fixture
def room(state: State) -> Room:
    return Room(state)


def test_tiles_come_newest_first_and_page_by_page(room: Room) -> None:
    made = [room.add(f"picture {number}") for number in range(5)]
    assert room.prompts(limit=2) == ["picture 4", "picture 3"]
    assert room.prompts(before=made[3].number, limit=2) == ["picture 2", "picture 1"]
    assert room.gallery.count(room.key, ALL) == 5


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("RED", ["a red cat"]),
        ("cat a", ["a red cat"]),
        ("77", ["100% blue_dog"]),
        ("0%", ["100% blue_dog"]),
        ("red dog", []),
    ],
    ids=["any case", "any order", "a seed", "a sign of the database", "not both"],
)
def test_search_finds_tiles_that_have_every_word(room: Room, text: str, found: list[str]) -> None:
    room.add("a red cat", 5)
    room.add("100% blue_dog", 77)
    assert room.prompts(Filter(text=text)) == found


def test_no_key_sees_or_changes_the_tiles_of_another(state: State, room: Room) -> None:
    other, tile = Room(state, "b"), room.add()
    assert other.prompts() == []
    assert other.gallery.change(other.key, [tile.id], favourite=True) == []
    assert other.gallery.remove(other.key, [tile.id]) == []
    with pytest.raises(NoSuchTile):
        other.gallery.lineage(other.key, tile.id)
    with pytest.raises(NoSuchTile):
        other.add(parent=tile)


def test_favourites_and_folders_filter_the_history(room: Room) -> None:
    liked, filed, _ = room.add("liked"), room.add("filed"), room.add("neither")
    folder = room.gallery.make_folder(room.key, " Best  ones ")
    room.gallery.change(room.key, [liked.id], favourite=True)
    room.gallery.change(room.key, [filed.id], folder_id=folder.id)
    assert room.prompts(Filter(favourites=True)) == ["liked"]
    assert room.prompts(Filter(folder_id=folder.id)) == ["filed"]
    assert [(each.name, each.count) for each in room.gallery.folders(room.key)] == [("Best ones", 1)]


def test_a_deleted_folder_leaves_its_tiles(room: Room) -> None:
    tile, folder = room.add(), room.gallery.make_folder(room.key, "Best")
    room.gallery.change(room.key, [tile.id], folder_id=folder.id)
    room.gallery.delete_folder(room.key, folder.id)
    assert room.gallery.get(room.key, tile.id).folder_id is None


@pytest.mark.parametrize("name", ["", "Best", "x" * 81], ids=["empty", "taken", "long"])
def test_a_folder_needs_a_name_of_its_own(room: Room, name: str) -> None:
    room.gallery.make_folder(room.key, "Best")
    with pytest.raises(UserError, match="folder"):
        room.gallery.make_folder(room.key, name)


def test_a_tile_cannot_go_into_a_folder_of_another_key(state: State, room: Room) -> None:
    other = Room(state, "b")
    folder = other.gallery.make_folder(other.key, "Theirs")
    with pytest.raises(UserError, match="no such folder"):
        room.gallery.change(room.key, [room.add().id], folder_id=folder.id)


def test_the_lineage_is_the_same_from_every_tile_of_a_family(room: Room) -> None:
    root = room.add("root")
    child, sibling = room.add("child", parent=root), room.add("sibling", parent=root)
    leaf = room.add("leaf", parent=child)
    room.add("stranger")
    for tile in (root, child, sibling, leaf):
        family = room.gallery.lineage(room.key, tile.id)
        assert [each.prompt for each in family] == ["root", "child", "sibling", "leaf"]


def test_what_was_removed_comes_back_for_a_day(room: Room) -> None:
    tile = room.add()
    assert room.gallery.remove(room.key, [tile.id, "tile-unknown"]) == [tile.id]
    assert room.prompts() == []
    assert room.gallery.bring_back(room.key, [tile.id]) == [tile]
    assert room.prompts() == ["a red cat"]


def test_after_a_day_a_removed_tile_and_its_file_are_gone(room: Room, clock: object) -> None:
    root = room.add("root")
    middle = room.add("middle", parent=root)
    leaf = room.add("leaf", parent=middle)
    room.gallery.remove(room.key, [middle.id])
    clock.now += UNDO_S  # type: ignore[attr-defined]
    assert room.gallery.purge() == 1
    assert room.gallery.bring_back(room.key, [middle.id]) == []
    assert room.gallery.get(room.key, leaf.id).parent_id == root.id
    with room.state.database.read() as connection:
        assert connection.execute(select(func.count()).select_from(tables.files)).scalar_one() == 2


def test_less_takes_the_family_away_and_names_the_seed(room: Room) -> None:
    tile = room.add("a red cat", 7)
    room.add("varied", 8, parent=tile)
    room.add("a red cat", 9)
    assert len(room.gallery.less_like(room.key, tile.id)) == 2
    assert room.prompts() == ["a red cat"]
    assert room.gallery.unwanted_seeds(room.key, "a red cat") == {7}
    assert room.gallery.unwanted_seeds(room.key, "another prompt") == set()


def test_undoing_less_lets_the_seed_be_drawn_again(room: Room) -> None:
    tile = room.add("a red cat", 7)
    room.gallery.bring_back(room.key, room.gallery.less_like(room.key, tile.id))
    assert room.gallery.unwanted_seeds(room.key, "a red cat") == set()


def test_a_file_that_is_taken_down_takes_its_tile_along(room: Room) -> None:
    tile = room.add()
    room.state.files.delete(tile.file_id)
    assert room.prompts() == []


def test_the_page_state_is_what_was_saved_last(state: State, room: Room) -> None:
    other = Room(state, "b")
    assert room.gallery.page_state(room.key) == {}
    room.gallery.save_page_state(room.key, {"prompt": "a"})
    room.gallery.save_page_state(room.key, {"prompt": "b", "seed": 3})
    assert room.gallery.page_state(room.key) == {"prompt": "b", "seed": 3}
    assert other.gallery.page_state(other.key) == {}


def test_the_page_never_learns_where_the_bytes_lie(room: Room) -> None:
    assert "file_id" not in as_json([room.add()])[0]
