"""What the studio remembers: every tile with its lineage, folders, favourites, what was not liked, and the state of the page.

A tile is one picture or clip that was made or brought in through the studio. Its bytes are a stored file; here stands what it is.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, and_, func, or_, select

from polarlight.base.errors import UserError

from .accounts import random_text
from .database import Clock, Database, Row
from .pages import newest_first
from .stored_files import NoSuchFile, StoredFiles
from .studio_tables import folders, pages, tiles, unwanted

UNDO_S = 86_400.0  # what was removed can be brought back this long
MOST_RELATIVES = 300  # tiles of one lineage that are shown


class NoSuchTile(NoSuchFile):
    """The tile is unknown, gone, or somebody else's: 404."""

    def __init__(self, tile_id: str) -> None:
        UserError.__init__(self, f"There is no tile {tile_id}.", fix="Reload the page to see what there is.")


@dataclass(frozen=True, kw_only=True)
class NewTile:
    """What is known of a picture or clip when it is kept. kind: "draw", "edit", "variation", "upscale", "video" or
    "upload".

    width, height: pixels; passes: 0 where nobody knows.
    """

    file_id: str
    kind: str
    content_type: str
    width: int
    height: int
    model: str = ""
    mode: str = ""
    prompt: str = ""
    negative_prompt: str = ""
    seed: int | None = None
    aspect: str = ""
    passes: int = 0
    parent_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class Tile(NewTile):
    """A kept picture or clip. created_at: seconds since 1970."""

    number: int
    id: str
    folder_id: str | None
    favourite: bool
    created_at: float


@dataclass(frozen=True, kw_only=True)
class Folder:
    """A folder and how many tiles lie in it."""

    id: str
    name: str
    count: int


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Which tiles are meant. text: every word must stand in the prompt, the model's name or the seed."""

    text: str = ""
    folder_id: str | None = None
    favourites: bool = False


class Gallery:
    """The tiles, folders and page states of all keys; every call sees one key's alone."""

    def __init__(self, database: Database, files: StoredFiles, clock: Clock = time.time) -> None:
        self.database, self.files, self.clock = database, files, clock

    def add(self, key_id: str, new: NewTile) -> Tile:
        """Keep a tile.

        Raises:
            NoSuchTile: its parent is unknown.
        """
        row = {**vars(new), "id": f"tile-{random_text(16)}", "key_id": key_id, "favourite": False}
        with self.database.write() as connection:
            if new.parent_id is not None:
                _one(connection, key_id, new.parent_id)
            row["created_at"] = self.clock()
            return _tile(connection.execute(tiles.insert().returning(tiles), row).one())

    def get(self, key_id: str, tile_id: str) -> Tile:
        """One tile.

        Raises:
            NoSuchTile: it is unknown, removed, or another key's.
        """
        with self.database.read() as connection:
            return _one(connection, key_id, tile_id)

    def page(self, key_id: str, wanted: Filter, *, before: int | None = None, limit: int = 200) -> list[Tile]:
        """Tiles, newest first, from the one below number `before`."""
        chosen = newest_first(_matching(select(tiles), key_id, wanted), tiles.c.number, before=before, limit=limit)
        with self.database.read() as connection:
            return [_tile(row) for row in connection.execute(chosen)]

    def count(self, key_id: str, wanted: Filter) -> int:
        """How many tiles a filter finds."""
        chosen = _matching(select(func.count()).select_from(tiles), key_id, wanted)
        with self.database.read() as connection:
            return connection.execute(chosen).scalar_one()

    def change(self, key_id: str, tile_ids: Collection[str], **changes: Any) -> list[Tile]:
        """Set `favourite` or `folder_id` of tiles; ids that are unknown stay out of the answer.

        Raises:
            UserError: there is no such folder.
        """
        assert changes.keys() <= {"favourite", "folder_id"}, f"cannot be changed: {changes.keys()}"
        with self.database.write() as connection:
            if changes.get("folder_id") is not None:
                _folder(connection, key_id, changes["folder_id"])
            own = (tiles.c.key_id == key_id, tiles.c.id.in_(tile_ids), tiles.c.removed_at.is_(None))
            changed = connection.execute(tiles.update().where(*own).values(changes).returning(tiles)).all()
            return [_tile(row) for row in changed]

    def remove(self, key_id: str, tile_ids: Collection[str]) -> list[str]:
        """Take tiles out; `bring_back` undoes it for a day. Returns the ids of those that were there."""
        self.purge()
        own = (tiles.c.key_id == key_id, tiles.c.id.in_(tile_ids), tiles.c.removed_at.is_(None))
        with self.database.write() as connection:
            gone = tiles.update().where(*own).values(removed_at=self.clock()).returning(tiles.c.id)
            return list(connection.execute(gone).scalars())

    def bring_back(self, key_id: str, tile_ids: Collection[str]) -> list[Tile]:
        """Undo `remove`; what is past undoing stays out of the answer. The seeds may be drawn again, too."""
        own = (tiles.c.key_id == key_id, tiles.c.id.in_(tile_ids))
        with self.database.write() as connection:
            back = connection.execute(tiles.update().where(*own).values(removed_at=None).returning(tiles)).all()
            for row in back:
                same = (unwanted.c.key_id == key_id, unwanted.c.prompt == row.prompt, unwanted.c.seed == row.seed)
                connection.execute(unwanted.delete().where(*same))
            return [_tile(row) for row in back]

    def less_like(self, key_id: str, tile_id: str) -> list[str]:
        """Take out a tile with everything that was made from it, and never draw its seed for its prompt again.

        Seeds are independent streams of noise, so the seeds beside it look no more like it than any others: they stay.

        Raises:
            NoSuchTile: as in `get`.
        """
        tile = self.get(key_id, tile_id)
        if tile.seed is not None:
            row = {"key_id": key_id, "prompt": tile.prompt, "seed": tile.seed}
            with self.database.write() as connection:
                connection.execute(self.database.insert(unwanted).values(row).on_conflict_do_nothing())
        with self.database.read() as connection:
            family = [found.id for found in connection.execute(_descent(tile_id))]
        return self.remove(key_id, family)

    def unwanted_seeds(self, key_id: str, prompt: str) -> set[int]:
        """The seeds of a prompt that were not liked."""
        chosen = select(unwanted.c.seed).where(unwanted.c.key_id == key_id, unwanted.c.prompt == prompt)
        with self.database.read() as connection:
            return set(connection.execute(chosen).scalars())

    def lineage(self, key_id: str, tile_id: str) -> list[Tile]:
        """Everything that comes from the tile's first ancestor, oldest first.

        Raises:
            NoSuchTile: as in `get`.
        """
        with self.database.read() as connection:
            root = _one(connection, key_id, tile_id)
            while root.parent_id is not None:
                parent = connection.execute(_living(key_id).where(tiles.c.id == root.parent_id)).first()
                if parent is None:
                    break
                root = _tile(parent)
            family = connection.execute(_descent(root.id).where(tiles.c.removed_at.is_(None)).limit(MOST_RELATIVES))
            return [_tile(row) for row in family]

    def purge(self) -> int:
        """Delete what was removed more than a day ago, files too; returns how many tiles."""
        over = select(tiles).where(tiles.c.removed_at <= self.clock() - UNDO_S).limit(500)
        with self.database.write() as connection:
            doomed = connection.execute(over).all()
            for row in doomed:  # what was made from it hangs on its own parent from now on
                heirs = tiles.update().where(tiles.c.parent_id == row.id)
                grandparent = select(tiles.c.parent_id).where(tiles.c.id == row.id).scalar_subquery()
                connection.execute(heirs.values(parent_id=grandparent))
                connection.execute(tiles.delete().where(tiles.c.id == row.id))
        for row in doomed:
            with suppress(NoSuchFile):  # taken down in the meantime
                self.files.delete(row.file_id)
        return len(doomed)

    def folders(self, key_id: str) -> list[Folder]:
        """The key's folders in the order they were made."""
        inside = and_(tiles.c.folder_id == folders.c.id, tiles.c.removed_at.is_(None))
        chosen = select(folders.c.id, folders.c.name, func.count(tiles.c.id)).outerjoin_from(folders, tiles, inside)
        chosen = chosen.where(folders.c.key_id == key_id).group_by(folders.c.number).order_by(folders.c.number)
        with self.database.read() as connection:
            return [Folder(id=row[0], name=row[1], count=row[2]) for row in connection.execute(chosen)]

    def make_folder(self, key_id: str, name: str) -> Folder:
        """A new, empty folder.

        Raises:
            UserError: the name is empty, longer than 80 characters, or taken.
        """
        name = " ".join(name.split())
        if not 0 < len(name) <= 80:
            raise UserError("A folder's name has 1 to 80 characters.", fix="Choose another name.")
        if any(folder.name == name for folder in self.folders(key_id)):
            raise UserError(f"There is a folder {name!r} already.", fix="Choose another name.")
        row = {"id": f"folder-{random_text(12)}", "key_id": key_id, "name": name}
        with self.database.write() as connection:
            connection.execute(folders.insert(), row)
        return Folder(id=row["id"], name=name, count=0)

    def delete_folder(self, key_id: str, folder_id: str) -> None:
        """Delete a folder; its tiles stay, outside of any.

        Raises:
            UserError: there is no such folder.
        """
        with self.database.write() as connection:
            _folder(connection, key_id, folder_id)
            connection.execute(folders.delete().where(folders.c.id == folder_id))

    def page_state(self, key_id: str) -> dict[str, Any]:
        """What `save_page_state` wrote last; empty at first."""
        with self.database.read() as connection:
            return connection.execute(select(pages.c.value).where(pages.c.key_id == key_id)).scalar() or {}

    def save_page_state(self, key_id: str, value: dict[str, Any]) -> None:
        """Write down how the page looks (prompt, settings, view), so that another device shows the same."""
        statement = self.database.insert(pages).values(key_id=key_id, value=value)
        with self.database.write() as connection:
            connection.execute(statement.on_conflict_do_update(index_elements=["key_id"], set_={"value": value}))


def _living(key_id: str) -> Select[Any]:
    return select(tiles).where(tiles.c.key_id == key_id, tiles.c.removed_at.is_(None))


def _one(connection: Connection, key_id: str, tile_id: str) -> Tile:
    row = connection.execute(_living(key_id).where(tiles.c.id == tile_id)).first()
    if row is None:
        raise NoSuchTile(tile_id)
    return _tile(row)


def _folder(connection: Connection, key_id: str, folder_id: str) -> None:
    own = select(folders.c.id).where(folders.c.key_id == key_id, folders.c.id == folder_id)
    if connection.execute(own).first() is None:
        raise UserError("There is no such folder.", fix="Reload the page to see the folders.")


def _matching(chosen: Select[Any], key_id: str, wanted: Filter) -> Select[Any]:
    row = tiles.c
    chosen = chosen.where(row.key_id == key_id, row.removed_at.is_(None))
    for word in wanted.text.lower().split():
        inside = [func.lower(column).contains(word, autoescape=True) for column in (row.prompt, row.model)]
        if word.isdecimal() and len(word) < 19:
            inside.append(row.seed == int(word))
        chosen = chosen.where(or_(*inside))
    if wanted.folder_id is not None:
        chosen = chosen.where(row.folder_id == wanted.folder_id)
    return chosen.where(row.favourite) if wanted.favourites else chosen


def _descent(tile_id: str) -> Select[Any]:
    """The rows of a tile and of everything made from it, oldest first."""
    family = select(tiles.c.id).where(tiles.c.id == tile_id).cte("family", recursive=True)
    family = family.union(select(tiles.c.id).where(tiles.c.parent_id == family.c.id))
    return select(tiles).where(tiles.c.id.in_(select(family.c.id))).order_by(tiles.c.number)


def _tile(row: Row) -> Tile:
    hidden = ("key_id", "removed_at")
    return Tile(**{name: value for name, value in row._mapping.items() if name not in hidden})


def as_json(found: Sequence[Tile]) -> list[dict[str, Any]]:
    """Tiles as the page reads them; where their bytes lie is nobody's business."""
    return [{name: value for name, value in vars(tile).items() if name != "file_id"} for tile in found]
