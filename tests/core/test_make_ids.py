"""Ids: UUIDs of version 7 that only ever grow."""

from __future__ import annotations

import os
import pickle
import threading
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from uuid import RFC_4122, UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from denizen.core import ids
from denizen.core.ids import new_id, new_ids, parse_id

INSTANT = datetime(2026, 11, 22, 12, 0, 0, 123_000, tzinfo=UTC)


@pytest.fixture(autouse=True)
def own_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep instants of the future that a test names out of the other tests."""
    monkeypatch.setattr(ids, "_clock", ids._Clock())


def milliseconds(made: UUID) -> int:
    return made.int >> 80


def test_an_id_is_an_ordinary_uuid_of_version_7() -> None:
    made = new_id(at=INSTANT)

    assert made.version == 7
    assert made.variant == RFC_4122
    assert milliseconds(made) == int(INSTANT.timestamp() * 1000)
    assert made == UUID(str(made)) == pickle.loads(pickle.dumps(made))
    assert hash(made) == hash(UUID(str(made)))
    assert repr(made) == f"UUID('{made}')"


def test_ids_grow_within_one_millisecond_and_beyond() -> None:
    made = [new_id() for _ in range(20_000)]

    assert all(before < after for before, after in pairwise(made))
    assert all(each.version == 7 and each.variant == RFC_4122 for each in made)


def test_ids_made_together_are_ids_as_any_others() -> None:
    before, many, after = new_id(), [UUID(text) for text in new_ids(2_000)], new_id()

    assert all(one < other for one, other in pairwise([before, *many, after]))
    assert all(each.version == 7 and each.variant == RFC_4122 for each in many)
    assert [str(each) for each in many] == [str(parse_id(str(each))) for each in many]
    assert new_ids(0) == []


@given(st.lists(st.timedeltas(timedelta(days=-1), timedelta(days=1)), min_size=2, max_size=40))
def test_ids_grow_whatever_the_clock_does(jumps: list[timedelta]) -> None:
    made = [new_id(at=INSTANT + jump) for jump in jumps]

    assert all(before < after for before, after in pairwise(made))
    assert [str(each) for each in made] == sorted(str(each) for each in made)
    assert [each.bytes for each in made] == sorted(each.bytes for each in made)


def test_neighbours_cannot_be_guessed_from_each_other() -> None:
    steps = {(after.int - before.int) for before, after in pairwise([new_id(at=INSTANT) for _ in range(100)])}

    assert len(steps) == 99


def test_a_tail_used_up_goes_on_with_the_next_millisecond() -> None:
    clock = ids._Clock()
    before = clock.next(1_000)
    clock._tail = (1 << 74) - 1

    after = clock.next(1_000)

    assert after > before
    assert milliseconds(after) == 1_001


@pytest.mark.parametrize(
    ("instant", "expected"),
    [(datetime(1960, 1, 1, tzinfo=UTC), 0), (datetime.max.replace(tzinfo=UTC), 253_402_300_800_000 - 1)],
)
def test_instants_at_the_ends_of_time_are_taken(instant: datetime, expected: int) -> None:
    assert abs(milliseconds(new_id(at=instant)) - expected) <= 1


def test_the_time_zone_of_the_instant_does_not_matter() -> None:
    elsewhere = INSTANT.astimezone(timezone(timedelta(hours=9)))

    assert milliseconds(new_id(at=elsewhere)) == milliseconds(new_id(at=INSTANT))


def test_an_instant_without_time_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        new_id(at=INSTANT.replace(tzinfo=None))


def test_threads_never_make_the_same_id_twice() -> None:
    made: list[list[UUID]] = [[] for _ in range(4)]

    def make(mine: list[UUID]) -> None:
        mine.extend(new_id() for _ in range(5_000))

    threads = [threading.Thread(target=make, args=(mine,)) for mine in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len({each for mine in made for each in mine}) == 20_000
    assert all(before < after for mine in made for before, after in pairwise(mine))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_makes_ids_of_its_own() -> None:
    future = INSTANT + timedelta(days=365 * 50)
    clock = ids._Clock()  # the one registered for forks is the module's first; a child of it is imitated here
    before = clock.next(milliseconds(new_id(at=future)))
    twin = ids._Clock()
    twin.__dict__.update(clock.__dict__)

    twin.after_fork()

    children = {twin.next(0) for _ in range(1_000)}
    assert min(children) > before
    assert not children & {clock.next(0) for _ in range(1_000)}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_real_fork_makes_different_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # forks reset the module's own clock
    new_id()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, b"".join(new_id().bytes for _ in range(200)))
        os._exit(0)
    os.close(writing)
    mine = {new_id().bytes for _ in range(200)}
    with os.fdopen(reading, "rb") as pipe:
        theirs = pipe.read()
    os.waitpid(child, 0)

    assert len(theirs) == 3_200
    assert not mine & {theirs[at : at + 16] for at in range(0, 3_200, 16)}


@given(st.uuids(version=4).map(lambda some: UUID(int=some.int & ~(0xF << 76) | 7 << 76)))
def test_a_canonical_id_is_read_in_any_case(some: UUID) -> None:
    assert parse_id(str(some)) == parse_id(str(some).upper()) == some


GOOD = "01a20442-e300-722e-81cf-bcb621663787"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "me",
        GOOD[:-1],
        GOOD + "0",
        GOOD + "\n",
        " " + GOOD,
        GOOD.replace("-", ""),
        "{" + GOOD + "}",
        "urn:uuid:" + GOOD,
        GOOD.replace("7", "g", 1),
        GOOD.replace("-722e", "-422e"),  # version 4
        GOOD.replace("-81cf", "-c1cf"),  # another variant
        GOOD.replace("0", "٠"),  # digits, but not ours
        "\x00" * 36,
        "\ud800" * 36,
        "-" * 36,
    ],
)
def test_any_other_form_is_not_an_id(text: str) -> None:
    assert parse_id(text) is None


@given(st.text(max_size=40))
def test_what_is_read_is_canonical(text: str) -> None:
    found = parse_id(text)

    assert found is None or (str(found) == text.lower() and found.version == 7)
