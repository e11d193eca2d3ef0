"""Lists, page by page: one place for what every list of every door does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import Select

Item = TypeVar("Item")


@dataclass(frozen=True, kw_only=True)
class Page(Generic[Item]):
    """A part of a list of things that have an `id`. more: whether others follow."""

    items: list[Item]
    more: bool

    @property
    def token(self) -> str | None:
        """What is to be sent for the next page: the id of the last item; None on the last page."""
        return self.items[-1].id if self.more and self.items else None  # type: ignore[attr-defined]


async def read_page(read: Callable[..., list[Item]], *whose: Any, limit: int, **chosen: Any) -> Page[Item]:
    """A page of up to `limit` items.

    Args:
        read: a function that blocks, such as `Jobs.page`; it is asked for one item more than the page has, by its own
            argument `limit`.
        whose, chosen: its other arguments.

    Raises:
        UserError: as `read`.
    """
    found = await asyncio.to_thread(read, *whose, limit=limit + 1, **chosen)
    return Page(items=found[:limit], more=len(found) > limit)


def newest_first(
    chosen: Select[Any], number: Any, *, before: int | None, limit: int, reverse: bool = False
) -> Select[Any]:
    """The rows of a selection from the newest down, below the number `before`; with `reverse` from the oldest up, above it.

    number: the column that counts the rows.
    """
    if before is not None:
        chosen = chosen.where(number > before if reverse else number < before)
    return chosen.order_by(number if reverse else number.desc()).limit(limit)
