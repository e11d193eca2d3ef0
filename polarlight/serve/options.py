"""What an operator can set about the doors of the service; `settings` is about its state."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields

from polarlight.base.errors import UserError

from .settings import MIB, variable

WORDS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


@dataclass(frozen=True, kw_only=True)
class Options:
    """Times are in seconds, sizes in bytes.

    Attributes:
        queue: jobs that may wait or run; the next request is answered with 429.
        together: jobs that this process works on at once; pictures of all of them share the engine's batch.
        body_bytes: the largest request body; one file in it is bounded by `Limits.file_bytes`.
        body_s: how long a client may be silent while it sends its body.
        fetch_bytes, fetch_s: bounds of a picture that is fetched from an address.
        allow_private_addresses: whether such an address may be inside the operator's own network.
        url_s: how long the address of a made picture or clip is good.
        drain_s: how long a stopping server waits for requests and for jobs under way.
        sign: whether outputs are signed with content credentials (needs the extra `[c2pa]`).
        watermark: whether outputs carry the invisible mark.
        bill_moderated: whether a picture that the gate withholds is charged.
    """

    queue: int = 256
    together: int = 16
    body_bytes: int = 96 * MIB
    body_s: float = 30.0
    fetch_bytes: int = 20 * MIB
    fetch_s: float = 5.0
    allow_private_addresses: bool = False
    url_s: float = 86_400.0
    drain_s: float = 20.0
    sign: bool = True
    watermark: bool = True
    bill_moderated: bool = False

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Options:
        """Read POLARLIGHT_QUEUE, POLARLIGHT_DRAIN_S and so on, one variable for each attribute.

        Raises:
            UserError: a variable is neither a number above zero nor, for a switch, one of 1, true, yes, 0, false, no.
        """
        given = os.environ if environment is None else environment
        changes = {}
        for each in fields(cls):
            if text := given.get(variable(each.name)):
                changes[each.name] = _read(variable(each.name), text, type(each.default))
        return cls(**changes)


def _read(name: str, text: str, kind: type) -> int | float | bool:
    if kind is bool:
        if text.lower() not in WORDS:
            raise UserError(
                f"{name} must be one of {', '.join(WORDS)}, and it is {text!r}.", fix="Correct or remove it."
            )
        return WORDS[text.lower()]
    try:
        number = kind(text)
    except ValueError:
        number = 0
    if not 0 < number < 1e12:
        raise UserError(f"{name} must be a number above zero, and it is {text!r}.", fix="Correct or remove it.")
    return number
