"""How a client wants an output kept among its files."""

from __future__ import annotations

from dataclasses import dataclass

from .schemas.shared import StorageOptions


@dataclass(frozen=True, kw_only=True)
class Storage:
    """A file's name and times in seconds. `public_s`: 0 for no public address, None for one of the usual length."""

    filename: str
    expires_s: float | None = None
    public_s: float | None = 0


def storage_of(options: StorageOptions | None) -> Storage | None:
    """What `storage_options` says; None where it is not there."""
    if options is None:
        return None
    public = options.public_url
    seconds = (None if public else 0) if isinstance(public, bool) else public.expires_after
    return Storage(filename=options.filename, expires_s=options.expires_after, public_s=seconds)
