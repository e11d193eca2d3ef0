"""What an operator can set, read from the environment once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from polarlight.base.errors import UserError

HOME = "POLARLIGHT_HOME"
MIB = 1 << 20
DAY_S = 86_400.0


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Numbers that bound the service. Times are in seconds, sizes in bytes."""

    file_bytes: int = 50 * MIB  # one uploaded file; larger ones are refused with 413
    lease_s: float = 30.0  # how long a worker may stay silent before its job goes to another
    attempts: int = 3  # a job that lost its worker this many times has failed
    wait_s: float = DAY_S  # an accepted job that never started expires after this
    keep_s: float = 30 * DAY_S  # a job that has ended is forgotten after this

    def __post_init__(self) -> None:
        for each in fields(self):
            if getattr(self, each.name) <= 0:
                raise UserError(
                    f"The limit {each.name} must be above zero, and it is {getattr(self, each.name)}.",
                    fix=f"Set {variable(each.name)} to a larger number or leave it out.",
                )


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Where the service keeps its state.

    Attributes:
        home: folder of everything the service writes on this machine.
        database_url: `sqlite:///FILE` or `postgresql://USER@HOST/NAME`.
        objects_url: `file:///FOLDER` or `s3://BUCKET/PREFIX?endpoint=URL&region=NAME`.
        prices_file: the operator's price table (TOML), laid over the shipped one; None for the shipped one alone.
        public_url: the address at which clients reach this service, without a slash at the end.
        limits: sizes and times.
    """

    home: Path
    database_url: str = field(repr=False)  # it may hold a password
    objects_url: str
    prices_file: Path | None = None
    public_url: str = "http://127.0.0.1:8080"
    limits: Limits = field(default_factory=Limits)

    @classmethod
    def at(cls, home: str | os.PathLike[str], **changes: Any) -> Settings:
        """The defaults for a state folder: one SQLite file and one folder of objects inside it."""
        folder = Path(home).expanduser().resolve()
        places: dict[str, Any] = {
            "home": folder,
            "database_url": f"sqlite:///{folder / 'polarlight.db'}",
            "objects_url": (folder / "objects").as_uri(),
        }
        return cls(**{**places, **changes})

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Read POLARLIGHT_HOME, _DATABASE_URL, _OBJECTS_URL, _PRICES, _PUBLIC_URL and one variable for each limit.

        Raises:
            UserError: a limit is not a number above zero, or the prices file does not exist.
        """
        given = os.environ if environment is None else environment
        changes: dict[str, Any] = {"limits": limits_from(given)}
        for name in ("database_url", "objects_url", "public_url"):
            if value := given.get(variable(name)):
                changes[name] = value.rstrip("/") if name == "public_url" else value
        if prices := given.get("POLARLIGHT_PRICES"):
            changes["prices_file"] = Path(prices).expanduser()
            if not Path(prices).expanduser().is_file():
                raise UserError(f"The prices file {prices} does not exist.", fix="Correct or remove POLARLIGHT_PRICES.")
        return cls.at(given.get(HOME) or data_folder(), **changes)


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return f"POLARLIGHT_{name.upper()}"


def limits_from(environment: Mapping[str, str]) -> Limits:
    """The limits with what the environment changes."""
    changes: dict[str, Any] = {}
    for each in fields(Limits):
        text = environment.get(variable(each.name))
        if text:
            number = int if isinstance(each.default, int) else float
            try:
                changes[each.name] = number(text)
            except ValueError:
                sentence = f"{variable(each.name)} must be a number, and it is {text!r}."
                raise UserError(sentence, fix="Correct or remove it.") from None
    return Limits(**changes)


def data_folder() -> Path:
    """The platform's folder for an application's data (XDG on Linux, Library on macOS, AppData on Windows)."""
    from platformdirs import user_data_path

    return user_data_path("polarlight", appauthor=False)
