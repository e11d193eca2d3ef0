"""What keys agreed to give for training: their pictures, in a folder that follows their word.

A key shares nothing until its owner says so (`Keys.share_data`), and what it then makes may be exported until the owner takes that
back. Only pictures made from words alone: who is seen in a picture that somebody sent was not asked.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from sqlalchemy import and_, select

from polarlight.base.errors import UserError
from polarlight.base.files import atomic_write

from . import tables
from .job_rows import job_of
from .objects import SUFFIXES
from .state import State
from .stored_files import StoredFile

LIST = "pictures.jsonl"
_key, _file, _job, _consent = tables.keys.c, tables.files.c, tables.jobs.c, tables.consents.c
# jobs whose key stands, and had agreed before it asked for them
SHARED = (
    select(tables.jobs)
    .join(tables.keys, _key.id == _job.key_id)
    .join(tables.consents, and_(_consent.key_id == _job.key_id, _consent.withdrawn_at.is_(None)))
    .where(
        _job.state == "done", _job.kind == "image", _key.revoked_at.is_(None), _job.created_at >= _consent.granted_at
    )
    .order_by(_job.number)
)


@dataclass(frozen=True, kw_only=True)
class Shared:
    """A line of the list: the picture's file in the folder, and what it was asked for. Whose it is is not said."""

    file: str
    sha256: str
    prompt: str
    negative_prompt: str | None
    plan: str | None
    model: str
    seed: int
    width: int
    height: int


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What an export came to: pictures in the folder now, written and removed by it."""

    pictures: int
    written: int
    removed: int


@dataclass(frozen=True, kw_only=True)
class Sharing:
    """A key's word: whether it shares, since when (seconds since 1970), and its grant for that, in ticks a month."""

    shares: bool
    since: int | None
    monthly_grant_ticks: int


def sharing_of(state: State, key_id: str) -> Sharing:
    """What a key agreed to."""
    standing = [int(each.granted_at) for each in state.keys.consents(key_id) if each.withdrawn_at is None]
    since = standing[0] if standing else None
    return Sharing(shares=bool(standing), since=since, monthly_grant_ticks=state.prices.monthly_grant)


def shared_pictures(state: State) -> Iterator[tuple[Shared, StoredFile]]:
    """Every picture that may be exported now, oldest first."""
    with state.database.read() as connection:
        jobs = [job_of(row) for row in connection.execute(SHARED)]
    for job in jobs:
        if job.body["pictures"] or job.result is None:
            continue
        files = {file.id: file for file in state.files.of_job(job.id)}
        for each in job.result["pictures"]:
            file = None if each["file"] is None else files.get(job.result["files"][each["file"]])
            if file is not None:
                yield Shared(
                    file=f"{file.sha256}{SUFFIXES[file.content_type]}", sha256=file.sha256, prompt=each["prompt"],
                    negative_prompt=job.body["negative_prompt"], plan=job.body.get("plan"), model=job.model,
                    seed=each["seed"], width=each["width"], height=each["height"],
                ), file  # fmt: skip


def export(state: State, folder: Path, on_picture: Callable[[int], None] = lambda number: None) -> Exported:
    """Bring a folder up to date: pictures that may be exported come, those that may no longer go.

    The folder's LIST names the pictures; files that no list of an earlier export named are left alone. It can be repeated, and ends
    what was broken off. on_picture: told how many are done.

    Raises:
        UserError: the folder cannot be written, or its list is not one of ours.
        StoreUnavailable: the store does not answer.
    """
    before, lines, written = _listed(folder), dict[str, Shared](), 0
    for number, (shared, file) in enumerate(shared_pictures(state), 1):
        path = folder / shared.file
        if not path.exists():
            atomic_write(path, state.objects.get(file.object_key))
            written += 1
        lines[shared.file] = shared
        on_picture(number)
    gone = [name for name in before if name not in lines]
    for name in gone:
        (folder / name).unlink(missing_ok=True)
    text = "".join(json.dumps(asdict(line), ensure_ascii=False) + "\n" for line in lines.values())
    atomic_write(folder / LIST, text)
    return Exported(pictures=len(lines), written=written, removed=len(gone))


def _listed(folder: Path) -> list[str]:
    """The files that an earlier export listed."""
    path = folder / LIST
    try:
        names = [json.loads(line)["file"] for line in path.read_text(encoding="utf-8").splitlines()]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is no list of an export.", fix="Choose another folder.") from error
    if any(not isinstance(name, str) or Path(name).name != name for name in names):
        raise UserError(f"{path} is no list of an export.", fix="Choose another folder.")
    return names
