"""Lists, page by page."""

import asyncio
from dataclasses import dataclass

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, create_engine, select

from polarlight.serve.pages import Page, newest_first, read_page


@dataclass(frozen=True)
class Thing:
    id: str


THINGS = [Thing(letter) for letter in "abcde"]


def things(whose: str, *, limit: int, after: str | None = None) -> list[Thing]:
    assert whose == "mine"
    start = 0 if after is None else THINGS.index(Thing(after)) + 1
    return THINGS[start : start + limit]


def read(limit: int, after: str | None = None) -> Page:
    return asyncio.run(read_page(things, "mine", limit=limit, after=after))


def test_tokens_lead_through_the_whole_list_once() -> None:
    seen, page = [], read(2)
    seen += page.items
    while page.token is not None:
        page = read(2, page.token)
        seen += page.items
    assert seen == THINGS


@pytest.mark.parametrize(("limit", "more"), [(4, True), (5, False), (6, False)])
def test_a_page_knows_whether_others_follow(limit: int, more: bool) -> None:
    page = read(limit)
    assert (len(page.items), page.more, page.token) == (min(limit, 5), more, "d" if more else None)


@pytest.mark.parametrize(
    ("before", "reverse", "expected"),
    [(None, False, [5, 4]), (4, False, [3, 2]), (None, True, [1, 2]), (4, True, [5])],
)
def test_rows_come_from_the_newest_down_or_from_the_oldest_up(
    before: int | None, reverse: bool, expected: list[int]
) -> None:
    rows = Table("rows", MetaData(), Column("number", Integer, primary_key=True))
    engine = create_engine("sqlite://")
    with engine.connect() as connection:
        rows.create(connection)
        connection.execute(rows.insert(), [{"number": number} for number in (2, 5, 1, 4, 3)])
        page = newest_first(select(rows), rows.c.number, before=before, limit=2, reverse=reverse)
        assert connection.execute(page).scalars().all() == expected
    engine.dispose()


def test_a_page_of_nothing_tells_only_that_there_is_something() -> None:
    page = read(0)
    assert (page.items, page.more, page.token) == ([], True, None)
