"""The same Python values from both databases, and the same rows by compiled statement as by session."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from sqlalchemy import bindparam, delete, insert, select
from sqlalchemy.exc import StatementError

from denizen.core.database import Database
from denizen.core.statements import Statement
from denizen.core.types import format_utc, in_utc, parse_utc
from tests.core.ground import NOTES

EVERYWHERE = settings(
    max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors]
)

text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
fixed: st.SearchStrategy[tzinfo] = st.integers(-14 * 60, 14 * 60).map(
    lambda minutes: timezone(timedelta(minutes=minutes))
)
instants = st.datetimes(timezones=fixed | st.timezones() | st.just(UTC), allow_imaginary=False)
rows: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "text": st.none() | text,
        "at": st.none() | instants,
        "uid": st.none() | st.uuids(),
        "words": st.none() | st.lists(text, max_size=4),
    }
)
COLUMNS = (NOTES.c.number, NOTES.c.text, NOTES.c.at, NOTES.c.uid, NOTES.c.words)
PAGE = Statement(select(*COLUMNS).order_by(NOTES.c.number).limit(bindparam("limit")))
SINCE = Statement(select(NOTES.c.number).where(NOTES.c.at >= bindparam("at", type_=NOTES.c.at.type)))
NAMED = Statement(select(*COLUMNS).where(NOTES.c.uid == bindparam("uid"), NOTES.c.text == bindparam("text")))


def can_be_stored(value: datetime | None) -> bool:
    try:
        return value is None or bool(in_utc(value))
    except OverflowError:
        return False


async def store(database: Database, *notes: dict[str, Any]) -> None:
    async with database.write.begin() as db:
        await db.execute(delete(NOTES))
        for number, values in enumerate(notes):
            await db.execute(insert(NOTES).values(number=number, **values))


@EVERYWHERE
@given(values=rows)
async def test_what_is_stored_comes_back_as_it_was(database: Database, values: dict[str, Any]) -> None:
    assume(can_be_stored(values["at"]))

    await store(database, values)

    async with database.read.session() as db:
        (found,) = (await db.execute(select(*COLUMNS))).all()
    # In UTC, since Python holds no two times of different zones equal within the hour that comes twice.
    assert found._asdict() == {"number": 0, **values, "at": values["at"] and in_utc(values["at"])}
    assert found.at is None or found.at.tzinfo is UTC
    assert found.uid is None or type(found.uid) is UUID
    assert found.words is None or type(found.words) is list
    assert await database.read.rows(PAGE, limit=5) == [tuple(found)]


@EVERYWHERE
@given(notes=st.lists(rows, max_size=5, unique_by=lambda note: str(note["text"])), limit=st.integers(1, 6))
async def test_a_compiled_statement_gives_what_a_session_gives(
    database: Database, notes: list[dict[str, Any]], limit: int
) -> None:
    notes = [note for note in notes if can_be_stored(note["at"])]
    await store(database, *notes)

    async with database.read.session() as db:
        page = [tuple(row) for row in await db.execute(select(*COLUMNS).order_by(NOTES.c.number).limit(limit))]
        assert await database.read.rows(PAGE, limit=limit) == page
        for note in notes:
            named = select(*COLUMNS).where(NOTES.c.uid == note["uid"], NOTES.c.text == note["text"])
            if None not in (note["uid"], note["text"]):
                found = await database.read.rows(NAMED, uid=note["uid"], text=note["text"])
                assert found == [tuple(row) for row in await db.execute(named)]
                assert found


@EVERYWHERE
@given(one=instants, other=instants)
async def test_instants_compare_as_what_is_stored_of_them(database: Database, one: datetime, other: datetime) -> None:
    """Cursors walk along times: text on SQLite has to sort as the times do, down to the microsecond."""
    assume(can_be_stored(one) and can_be_stored(other))

    await store(database, {"at": one})
    one, other = in_utc(one), in_utc(other)

    assert bool(await database.read.rows(SINCE, at=other)) == (one >= other)
    assert (format_utc(one) >= format_utc(other)) == (one >= other)


@given(instants)
def test_written_instants_have_one_width_and_read_back(value: datetime) -> None:
    assume(can_be_stored(value))

    assert len(format_utc(value)) == 27
    assert parse_utc(format_utc(value)) == in_utc(value)


@pytest.mark.parametrize("naive", [datetime(2026, 1, 31, 9, 30), datetime.max])  # noqa: DTZ001, DTZ901  (naive on purpose)
async def test_a_time_without_a_zone_is_refused(database: Database, naive: datetime) -> None:
    with pytest.raises(StatementError, match="time zone"):
        await store(database, {"at": naive})
    with pytest.raises(ValueError, match="time zone"):
        await database.read.rows(SINCE, at=naive)


async def test_the_hour_that_comes_twice_is_two_instants(database: Database) -> None:
    zone = ZoneInfo("Europe/Berlin")
    first, second = (datetime(2026, 10, 25, 2, 30, fold=fold, tzinfo=zone) for fold in (0, 1))
    await store(database, {"at": first}, {"at": second})

    async with database.read.session() as db:
        found = list(await db.scalars(select(NOTES.c.at).order_by(NOTES.c.at)))

    assert found == [datetime(2026, 10, 25, hour, 30, tzinfo=UTC) for hour in (0, 1)]


async def test_the_first_and_the_last_instants_come_back(database: Database) -> None:
    """The tests' PostgreSQL stands in Kathmandu, where the last instant of the year 9999 has no date."""
    ends = [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)]
    await store(database, *({"at": end} for end in ends))

    async with database.read.session() as db:
        assert list(await db.scalars(select(NOTES.c.at).order_by(NOTES.c.at))) == ends
    assert [row[2] for row in await database.read.rows(PAGE, limit=5)] == ends
