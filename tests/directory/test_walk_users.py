"""Pages of a list, put together, are the list: every account once and in order, whatever it is called."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete

from denizen.core.accounts import Accounts
from denizen.users.models import User
from tests.directory.conftest import Store, Walk, ids

Row = dict[str, Any]

ORDERS = ["id", "created_at", "updated_at", "username", "email"]

# Letters that collations order in many ways, and characters beyond the 16 bits that some sort by.
NAMES = """
    zoe Zoë ZOE-2 zoé Ärger aerger ångström Ångel øre Œuvre straße strand STRAND-2 иван Ірина ёлка еда Ὀδυσσεύς σίσυφος
    ישראל محمد 李雷 韩梅梅 𠮷野家 豈 홍길동 가나다 각 ﾊﾝｶｸ ひらがな カタカナ नमस्ते ไทย a.b a-b a_b ~tilde
    !first 0 00 9 10
""".split()  # noqa: SIM905  (a list would be a page of quotes)
ADDRESSES = """
    zoe@example.org Zoë@example.org A@b.example.org a.b@example.org a@B.example.net иван@пример.example.org
    李雷@例え.example.jp 홍길동@한국.example.kr 𠮷@example.org josé@münchen.example.de o'hara@example.org ~@example.org
""".split()  # noqa: SIM905  (a list would be a page of quotes)


def crowd() -> list[Row]:
    """People in many scripts; some without a name, some without an address, many of the same moment."""
    random = Random(7)
    noon = datetime(2026, 1, 31, 12, tzinfo=UTC)
    moments = [noon + timedelta(microseconds=random.choice([-1, 0, 0, 0, 1, 999_999])) for _ in range(200)]
    people: list[Row] = [
        *({"username": name} for name in NAMES),
        *({"email": address} for address in ADDRESSES),
        *({"username": f"both{n}", "email": f"{n % 7}both{n}@example.org"} for n in range(12)),
    ]
    random.shuffle(people)
    for person in people:
        person |= {
            "created_at": random.choice(moments),
            "updated_at": random.choice(moments),
            "is_active": random.random() < 0.7,
            "full_name": random.choice([None, "🙂 Emoji", "مختلط mixed"]),
        }
    return people


def in_order(rows: list[Row], order_by: str) -> list[str]:
    """Order as the API promises: by code points; who has no such name comes last; ids break ties."""
    order, descending = order_by.removeprefix("-"), order_by.startswith("-")
    name_key = {"username": "username_key", "email": "email_key"}.get(order)
    if name_key is None:
        return ids(sorted(rows, key=lambda row: (row[order], row["id"]), reverse=descending))
    named = sorted(
        (row for row in rows if row[name_key] is not None), key=lambda row: row[name_key], reverse=descending
    )
    nameless = sorted((row for row in rows if row[name_key] is None), key=lambda row: row["id"], reverse=descending)
    return ids(named + nameless)


@st.composite
def lists(draw: st.DrawFn) -> tuple[dict[str, str], Callable[[Row], bool]]:
    """A list that is allowed, as a query and as a condition on rows."""
    sign = draw(st.sampled_from(["", "-"]))
    kind = draw(st.sampled_from(["all", "active", "range"]))
    if kind == "active":
        wanted = draw(st.booleans())
        return {"order_by": f"{sign}id", "is_active": str(wanted).lower()}, lambda row: row["is_active"] is wanted
    if kind == "range":
        field = draw(st.sampled_from(["created_at", "updated_at"]))
        bound = datetime(2026, 1, 31, 12, tzinfo=UTC) + timedelta(microseconds=draw(st.integers(-2, 2)))
        comparison = draw(st.sampled_from(["gte", "gt", "lte", "lt"]))
        holds: dict[str, Callable[[datetime], bool]] = {
            "gte": lambda at: at >= bound,
            "gt": lambda at: at > bound,
            "lte": lambda at: at <= bound,
            "lt": lambda at: at < bound,
        }
        asked = {"order_by": sign + field, f"{field}__{comparison}": bound.isoformat()}
        return asked, lambda row: holds[comparison](row[field])
    return {"order_by": sign + draw(st.sampled_from(ORDERS))}, lambda row: True


@pytest.fixture
async def people(store: Store) -> list[Row]:
    """All columns of the crowd, stored."""
    return await store(crowd())


# One database serves all examples: they only read.
BOUNDED = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.slow
@BOUNDED
@given(asked=lists(), limit=st.sampled_from([1, 2, 3, 7, 11, 75, 76, 1000]))
async def test_pages_of_any_size_make_up_the_list(
    people: list[Row], walk: Walk, asked: tuple[dict[str, str], Callable[[Row], bool]], limit: int
) -> None:
    query, belongs = asked

    shown = await walk(limit=limit, **query)

    assert ids(shown) == in_order([row for row in people if belongs(row)], query["order_by"])


@BOUNDED
@given(
    chosen=st.sets(st.integers(0, len(NAMES)), max_size=20),
    order_by=st.sampled_from(ORDERS),
    sign=st.sampled_from(["", "-"]),
    active=st.sampled_from([None, True, False]),
    limit=st.integers(1, 25),
)
async def test_pages_of_chosen_ids_take_any_order_and_filter(
    people: list[Row], walk: Walk, *, chosen: set[int], order_by: str, sign: str, active: bool | None, limit: int
) -> None:
    wanted = [people[index] for index in chosen if active is None or people[index]["is_active"] is active]
    filters = {} if active is None else {"is_active": str(active).lower()}

    shown = await walk(
        limit=limit, order_by=sign + order_by, id__in=",".join(ids(people[index] for index in chosen)), **filters
    )

    assert ids(shown) == in_order(wanted, sign + order_by)


@pytest.mark.slow
@pytest.mark.parametrize("order_by", ["created_at", "-updated_at"])
async def test_ten_thousand_of_one_moment_are_each_shown_once(store: Store, walk: Walk, order_by: str) -> None:
    rows = await store({"username": f"n{n}"} for n in range(10_000))

    shown = ids(await walk(limit=997, order_by=order_by))

    assert shown == ids(rows)[:: -1 if order_by.startswith("-") else 1]


@pytest.mark.slow
@settings(BOUNDED, max_examples=10)
@given(order_by=st.sampled_from(ORDERS), sign=st.sampled_from(["", "-"]), seed=st.integers(0, 2**32))
async def test_who_stays_is_shown_once_while_others_come_and_go(
    accounts: Accounts, store: Store, walk: Walk, *, order_by: str, sign: str, seed: int
) -> None:
    random = Random(seed)
    async with accounts.writing() as db:
        await db.execute(delete(User))
    people = crowd()
    random.shuffle(people)
    rows, coming = await store(people[:30]), people[30:]
    staying = random.sample(rows, 15)
    leaving = [row for row in rows if row not in staying]

    async def come_and_go() -> None:
        async with accounts.writing() as db:
            for row in [leaving.pop() for _ in range(random.randint(0, 2)) if leaving]:
                await db.execute(delete(User).where(User.id == row["id"]))
        await store(coming.pop() for _ in range(random.randint(0, 2)) if coming)

    shown = ids(await walk(come_and_go, limit=2, order_by=sign + order_by))

    assert len(shown) == len(set(shown))
    assert [each for each in shown if each in ids(staying)] == in_order(staying, sign + order_by)
