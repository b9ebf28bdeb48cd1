"""Importing over accounts that are there: skipped, or changed by exactly what a row has."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from sqlalchemy import func, select, text

from denizen.core.accounts import Accounts
from denizen.core.events import Event
from denizen.core.ids import new_id
from denizen.transfer.events import UsersImported
from denizen.transfer.schemas import RowResult
from denizen.users.models import User
from tests.conftest import Clock
from tests.transfer.conftest import HASH, BringIn, Stored, told
from tests.transfer.test_import_users import ndjson

ADA = {"username": "ada", "email": "ada@example.org", "external_id": "1", "full_name": "Ada", "hashed_password": HASH}
BOB = {"username": "bob", "email": "bob@example.org", "external_id": "2", "full_name": "Bob"}


@pytest.fixture
async def there(bring_in: BringIn, clock: Clock) -> dict[str, str]:
    """Ada and Bob, an hour ago; their ids by username."""
    results = await bring_in(ndjson(ADA, BOB), form="ndjson")
    clock.turn(hours=1)
    return {"ada": str(results[0].id), "bob": str(results[1].id)}


async def one(stored: Stored, user_id: str) -> dict[str, Any]:
    (found,) = [user for user in await stored() if str(user["id"]) == user_id]
    return found


@pytest.mark.parametrize("dry_run", [True, False])
async def test_the_highest_version_is_the_last(
    bring_in: BringIn, stored: Stored, there: dict[str, str], *, dry_run: bool
) -> None:
    highest = {"username": "last", "email": "last@example.org", "version": 2**31 - 1}
    await bring_in(ndjson(highest), form="ndjson")
    before = await stored()

    results = await bring_in(
        ndjson(highest | {"full_name": "Changed"}, highest), form="ndjson", mode="upsert", dry_run=dry_run
    )

    assert told(results) == [(1, "version_exhausted"), (2, "unchanged")]
    assert await stored() == before


# -- skip -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dry_run", [True, False])
async def test_skip_leaves_accounts_alone_and_tells_their_ids(
    bring_in: BringIn, stored: Stored, there: dict[str, str], *, dry_run: bool
) -> None:
    before = await stored()

    results = await bring_in(
        ndjson({"email": "ADA@example.org", "full_name": "Other", "password": "correct horse battery"}),
        form="ndjson",
        mode="skip",
        dry_run=dry_run,
    )

    assert results == [RowResult(1, "skipped", there["ada"])]
    assert await stored() == before


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize("max_batch", [1, 100])
async def test_skip_creates_whoever_is_not_there(
    bring_in: BringIn, there: dict[str, str], max_batch: int, *, dry_run: bool
) -> None:
    results = await bring_in(
        ndjson(
            {"username": "carl", "email": "carl@example.org"},
            {"username": "bob", "email": "new@example.org"},  # his name, not his address
            {"username": "dora"},  # no address to match by
            {"username": "other", "email": "Carl@example.org"},  # as line 1 left it
            {"username": "ada"},  # no address, and the name is taken
        ),
        form="ndjson",
        mode="skip",
        max_batch=max_batch,
        dry_run=dry_run,
    )

    good = "valid" if dry_run else "created"
    assert told(results) == [(1, good), (2, "username_taken"), (3, good), (4, "skipped"), (5, "username_taken")]
    assert results[3].id == (None if dry_run else results[0].id)


# -- upsert -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("match", "row"),
    [
        ("email", {"email": "Ada@Example.org"}),
        ("username", {"username": "ADA"}),
        ("external_id", {"external_id": "1"}),
    ],
)
async def test_an_upsert_sets_what_the_row_has_and_nothing_else(
    bring_in: BringIn, stored: Stored, clock: Clock, *, there: dict[str, str], match: str, row: dict[str, str]
) -> None:
    before = await one(stored, there["ada"])

    results = await bring_in(ndjson({**row, "full_name": "Countess"}), form="ndjson", mode="upsert", match=match)

    assert results == [RowResult(1, "updated", there["ada"])]
    after = await one(stored, there["ada"])
    expected = before | {"full_name": "Countess", "version": 2, "updated_at": clock()}
    if "email" in row:
        expected["email"] = "Ada@example.org"
    if "username" in row:
        expected["username"] = "ADA"
    assert after == expected


async def test_an_upsert_creates_whoever_is_not_there(bring_in: BringIn, stored: Stored, there: dict[str, str]) -> None:
    results = await bring_in("email,full_name\ncarl@example.org,Carl\n", mode="upsert")

    assert told(results) == [(2, "created")]
    assert len(await stored()) == 3


async def test_a_row_that_changes_nothing_leaves_the_version(
    bring_in: BringIn, stored: Stored, there: dict[str, str]
) -> None:
    before = await stored()

    results = await bring_in(ndjson(ADA, {"email": BOB["email"], "full_name": None}), form="ndjson", mode="upsert")

    assert results == [RowResult(1, "unchanged", there["ada"]), RowResult(2, "unchanged", there["bob"])]
    assert await stored() == before


async def test_ids_times_and_versions_change_no_account(
    bring_in: BringIn, stored: Stored, clock: Clock, there: dict[str, str]
) -> None:
    before = await one(stored, there["ada"])

    results = await bring_in(
        ndjson(
            {
                "id": there["ada"].upper(),
                "email": ADA["email"],
                "created_at": "2001-01-01T00:00:00Z",
                "updated_at": "2001-01-01T00:00:00Z",
                "version": 77,
                "is_active": False,
            },
            {"id": str(new_id()), "email": BOB["email"], "is_active": False},
        ),
        form="ndjson",
        mode="upsert",
    )

    assert told(results) == [(1, "updated"), (2, "id_mismatch")]
    assert await one(stored, there["ada"]) == before | {"is_active": False, "version": 2, "updated_at": clock()}
    assert (await one(stored, there["bob"]))["is_active"] is True


@pytest.mark.parametrize("dry_run", [True, False])
async def test_nobody_but_its_owner_chooses_a_password(
    bring_in: BringIn, stored: Stored, there: dict[str, str], *, dry_run: bool
) -> None:
    before = await stored()

    results = await bring_in(
        ndjson({"email": ADA["email"], "password": "correct horse battery"}, {"email": BOB["email"]}),
        form="ndjson",
        mode="upsert",
        dry_run=dry_run,
    )

    assert told(results) == [(1, "password_not_settable"), (2, "unchanged")]
    assert results[0].field == "password"
    assert await stored() == before


async def test_a_new_account_of_an_upsert_may_have_a_password(bring_in: BringIn, stored: Stored) -> None:
    results = await bring_in(
        ndjson({"username": "a", "password": "correct horse battery"}), form="ndjson", match="username", mode="upsert"
    )

    assert told(results) == [(1, "created")]
    assert (await stored())[0]["hashed_password"]


async def test_hashes_come_in_where_they_may(bring_in: BringIn, stored: Stored, there: dict[str, str]) -> None:
    row = ndjson({"email": BOB["email"], "hashed_password": HASH})

    refused = await bring_in(row, form="ndjson", mode="upsert", with_hashes=False)
    assert (refused[0].code, refused[0].field) == ("hash_not_allowed", "hashed_password")
    assert (await one(stored, there["bob"]))["hashed_password"] is None

    assert told(await bring_in(row, form="ndjson", mode="upsert")) == [(1, "updated")]
    assert (await one(stored, there["bob"]))["hashed_password"] == HASH


@pytest.mark.parametrize("dry_run", [True, False])
async def test_a_row_without_the_value_to_match_by_is_refused(
    bring_in: BringIn, there: dict[str, str], *, dry_run: bool
) -> None:
    results = await bring_in(
        "username,external_id\nada,\ncarl,3\n", mode="upsert", match="external_id", dry_run=dry_run
    )

    assert told(results) == [(2, "match_missing"), (3, "valid" if dry_run else "created")]
    assert results[0].field == "external_id"


async def test_a_file_need_not_have_names_where_accounts_are_found_otherwise(
    bring_in: BringIn, there: dict[str, str]
) -> None:
    results = await bring_in("external_id,full_name\n1,Countess\n9,Nobody\n", mode="upsert", match="external_id")

    assert told(results) == [(2, "updated"), (3, "identity_missing")]


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ({"external_id": "1", "email": "BOB@example.org"}, "email_taken"),
        ({"external_id": "1", "username": "Bob"}, "username_taken"),
        ({"external_id": "1", "username": "bоb"}, "username_too_similar"),
        ({"external_id": "1", "username": "other@example.org"}, "username_invalid"),
    ],
)
async def test_an_upsert_takes_nothing_from_others(
    bring_in: BringIn, stored: Stored, there: dict[str, str], row: dict[str, str], code: str
) -> None:
    before = await stored()

    for dry_run in (True, False):
        results = await bring_in(ndjson(row), form="ndjson", mode="upsert", match="external_id", dry_run=dry_run)
        assert told(results) == [(1, code)]
    assert await stored() == before


async def test_a_username_with_an_at_sign_is_judged_with_what_the_account_has(
    bring_in: BringIn, stored: Stored, there: dict[str, str]
) -> None:
    async def upsert(row: dict[str, str]) -> list[tuple[int, str]]:
        return told(
            await bring_in(ndjson({"external_id": "1", **row}), form="ndjson", mode="upsert", match="external_id")
        )

    assert await upsert({"username": "ada@example.org"}) == [(1, "updated")]
    assert await upsert({"email": "new@example.org"}) == [(1, "username_invalid")]
    assert await upsert({"email": "new@example.org", "username": "new@example.org"}) == [(1, "updated")]
    assert await upsert({"username": "not an address@"}) == [(1, "username_invalid")]


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize("max_batch", [1, 2, 100])
async def test_an_account_is_changed_once_a_file(
    bring_in: BringIn, stored: Stored, there: dict[str, str], max_batch: int, *, dry_run: bool
) -> None:
    results = await bring_in(
        "email,full_name\nada@example.org,First\nnew@example.org,New\nADA@example.org,Second\nNew@example.org,Again\n",
        mode="upsert",
        max_batch=max_batch,
        dry_run=dry_run,
    )

    good = "valid" if dry_run else "created"
    assert told(results) == [(2, "updated"), (3, good), (4, "account_repeated"), (5, "account_repeated")]
    assert "line 2 " in str(results[2].message)
    assert "line 3 " in str(results[3].message)
    if not dry_run:
        assert (await one(stored, there["ada"]))["full_name"] == "First"


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize("max_batch", [1, 2, 100])
async def test_names_are_free_for_the_rows_behind_the_one_that_lets_them_go(
    bring_in: BringIn, stored: Stored, there: dict[str, str], max_batch: int, *, dry_run: bool
) -> None:
    """Ada gets a new name, Bob hers, and somebody new gets Bob's: one row after the other, whatever the batches."""
    results = await bring_in(
        "external_id,username,email\n2,ada,\n1,countess,\n3,ada,\n",
        mode="upsert",
        match="external_id",
        max_batch=max_batch,
        dry_run=dry_run,
    )

    good = "valid" if dry_run else "created"
    assert told(results) == [(2, "username_taken"), (3, "updated"), (4, good)]
    if not dry_run:
        assert {user["external_id"]: user["username"] for user in await stored()} == {
            "1": "countess",
            "2": "bob",
            "3": "ada",
        }


WORDS = ("ann", "ben", "cid", "dee")


def random_row(chance: random.Random) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for column in ("username", "external_id", "full_name"):
        if chance.random() < 0.7:
            row[column] = chance.choice(WORDS)
    if chance.random() < 0.7:
        row["email"] = f"{chance.choice(WORDS)}@example.org"
    return row


@pytest.mark.parametrize("match", ["email", "username", "external_id"])
@pytest.mark.parametrize("mode", ["create", "skip", "upsert"])
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))])
async def test_borders_of_batches_change_nothing(
    bring_in: BringIn, accounts: Accounts, stored: Stored, *, mode: str, match: str, seed: int
) -> None:
    """Rows that fight for a few names, in one batch and each in a batch of its own, on the same accounts; and tried."""
    chance = random.Random(seed)
    before = ndjson(*(random_row(chance) for _ in range(4)))
    rows = ndjson(*(random_row(chance) for _ in range(40)))
    outcomes = []
    for max_batch in (1, 7, 100):
        async with accounts.writing() as db:
            await db.execute(text("DELETE FROM denizen_users"))
        await bring_in(before, form="ndjson")
        tried = await bring_in(rows, form="ndjson", mode=mode, match=match, max_batch=max_batch, dry_run=True)
        results = await bring_in(rows, form="ndjson", mode=mode, match=match, max_batch=max_batch)
        assert [code.replace("created", "valid") for _, code in told(results)] == [code for _, code in told(tried)]
        assert [result.message for result in results] == [result.message for result in tried]
        left = [
            [user[name] for name in ("username", "email", "external_id", "full_name", "version")]
            for user in sorted(await stored(), key=lambda user: str(user["id"]))
        ]
        outcomes.append((told(results), [result.message for result in results], left))

    assert outcomes[0] == outcomes[1] == outcomes[2]


# -- what goes with it ------------------------------------------------------------------------------------------------


async def indexed(accounts: Accounts, word: str) -> int:
    """How many accounts the search index finds by a word."""
    async with accounts.database.read.session() as db:
        return int(
            (
                await db.execute(
                    text("SELECT count(*) FROM denizen_search WHERE text LIKE :word"), {"word": f"% {word} %"}
                )
            ).scalar_one()
        )


async def test_the_search_index_follows(bring_in: BringIn, accounts: Accounts, there: dict[str, str]) -> None:
    await bring_in(ndjson({"email": ADA["email"], "full_name": "Countess"}), form="ndjson", mode="upsert")

    assert await indexed(accounts, "countess") == 1
    if accounts.database.kind == "sqlite":
        async with accounts.writing() as db:
            await db.execute(text("INSERT INTO denizen_search_index (denizen_search_index) VALUES ('integrity-check')"))


async def test_listeners_hear_of_both(
    bring_in: BringIn, accounts: Accounts, there: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[Event] = []

    async def listen(db: Any, event: Event) -> None:
        heard.append(event)

    monkeypatch.setattr(accounts, "listeners", (listen,))

    results = await bring_in(
        "email,full_name\nada@example.org,Countess\nnew@example.org,New\nbob@example.org,Bob\n", mode="upsert"
    )

    (event,) = heard
    assert isinstance(event, UsersImported)
    assert [str(each) for each in event.user_ids] == [results[1].id]
    assert [str(each) for each in event.updated_ids] == [there["ada"]]


async def test_two_upserts_at_once_lose_nothing(bring_in: BringIn, accounts: Accounts, stored: Stored) -> None:
    rows = [f"user{n}@example.org" for n in range(400)]
    one_way = "email,full_name\n" + "".join(f"{row},one\n" for row in rows)
    other_way = "email,full_name\n" + "".join(f"{row},other\n" for row in reversed(rows))

    first, second = await asyncio.gather(
        bring_in(one_way, mode="upsert", max_batch=50), bring_in(other_way, mode="upsert", max_batch=50)
    )

    async with accounts.database.read.session() as db:
        assert (await db.execute(select(func.count()).select_from(User))).scalar_one() == 400
    assert {result.outcome for result in first + second} == {"created", "updated"}
    assert {user["version"] for user in await stored()} == {2}


# -- mappings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dry_run", [True, False])
async def test_columns_are_renamed(bring_in: BringIn, stored: Stored, *, dry_run: bool) -> None:
    results = await bring_in(
        "E-Mail Address;Name;Phone\nada@example.org;Ada;1\n",
        maps=["e-mail address=email", "NAME = full_name", "phone="],
        dry_run=dry_run,
    )

    assert told(results) == [(2, "valid" if dry_run else "created")]
    if not dry_run:
        assert [(user["email"], user["full_name"]) for user in await stored()] == [("ada@example.org", "Ada")]


async def test_members_are_renamed(bring_in: BringIn, stored: Stored) -> None:
    results = await bring_in(
        ndjson({"mail": "ada@example.org", "x": 1}, {"mail": "b@example.org", "email": "c@example.org"}),
        form="ndjson",
        maps=["mail=email", "x="],
    )

    assert told(results) == [(1, "created"), (2, "member_repeated")]
