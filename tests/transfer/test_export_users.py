"""Exporting, on both databases: what comes out goes in again, and is the same."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as how
from hypothesis import strategies as st
from sqlalchemy import delete

from denizen.core.accounts import Accounts
from denizen.core.assembly import assemble
from denizen.core.hashers import NullHasher
from denizen.core.identifiers import identify
from denizen.core.ids import new_id
from denizen.core.types import format_utc
from denizen.core.words import search_text
from denizen.directory.schemas import UserFilter
from denizen.settings import Settings
from denizen.transfer import crud
from denizen.transfer.adapters.formats import make_reader
from denizen.transfer.schemas import EXPORTED, Account, Format
from denizen.transfer.service import export_users, import_users, plan_export
from denizen.users.models import User
from tests.conftest import MakeUser
from tests.transfer.conftest import HASH, BringIn, in_pieces

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=40) | st.sampled_from(
    [
        "",
        "'",
        "''",
        "=1+1",
        "'=1",
        "@x",
        "-1",
        "+1",
        "\tx",
        "\rx",
        "\nx",
        '"',
        '""',
        'a"b',
        "a,b;c\td",
        "a\r\nb",
        "👑 é",
    ]
)
TIMES = st.integers(0, 34_000_000_000_000_000).map(
    lambda us: format_utc(datetime(1900, 1, 2, tzinfo=UTC) + timedelta(microseconds=us))
)


@st.composite
def accounts_of_any_kind(draw: st.DrawFn) -> list[Account]:
    made = []
    for number in range(draw(st.integers(0, 6))):
        username = draw(st.sampled_from([None, f"user{number}", f"+user{number}", f"Ünï{number}"]))
        email = draw(
            st.sampled_from([f"=a{number}@example.org", f"É{number}@bücher.example.org", f"'{number}@example.org"])
        )
        identity = identify(username, None if username and draw(st.booleans()) else email)
        external_id = f"{draw(TEXT)}{number}" if draw(st.booleans()) else None
        made.append(
            Account(
                id=str(new_id()),
                username=identity.username,
                email=identity.email,
                external_id=external_id,
                full_name=draw(st.none() | TEXT),
                hashed_password=draw(st.sampled_from([None, HASH])),
                is_active=draw(st.booleans()),
                email_verified_at=draw(st.none() | TIMES),
                created_at=draw(TIMES),
                updated_at=draw(TIMES),
                version=draw(st.integers(1, 2**31 - 1)),
                email_key=identity.email_key,
                username_key=identity.username_key,
                username_skeleton=identity.username_skeleton,
                profile="{}",
                found_by=search_text(identity.username, identity.email),
                line=0,
                password=None,
            )
        )
    return made


async def take_out(
    accounts: Accounts, form: Format, *, with_hashes: bool = True, size: int = 3, **filters: Any
) -> bytes:
    extract = plan_export(UserFilter.model_validate(filters), form, with_hashes=with_hashes)
    return b"".join([part.data async for part in export_users(accounts.database, extract, size=size)])


async def names(accounts: Accounts, *, size: int = 3, **filters: Any) -> list[str]:
    """The usernames of an export, in its order."""
    exported = await take_out(accounts, "ndjson", size=size, **filters)
    return [json.loads(line)["username"] for line in exported.splitlines()]


async def there_and_back(settings: Settings, rows: Sequence[Account], form: Format) -> None:
    accounts = assemble(settings, (), hasher=NullHasher())
    try:
        async with accounts.writing() as db:
            await db.execute(delete(User))
            assert len(await crud.insert_accounts(db, rows)) == len(rows)
        exported = await take_out(accounts, form)
        async with accounts.writing() as db:
            await db.execute(delete(User))

        results = [
            each async for part in import_users(accounts, in_pieces(exported), make_reader(form)) for each in part
        ]

        assert [result.outcome for result in results] == ["created"] * len(rows)
        assert await take_out(accounts, form) == exported
    finally:
        await accounts.close()


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("form", ["csv", "ndjson"])
def test_any_accounts_come_back_as_they_were(settings: Settings, form: Format) -> None:
    @how(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(rows=accounts_of_any_kind())
    def check(rows: list[Account]) -> None:
        asyncio.run(there_and_back(settings, rows, form))

    check()


async def test_ndjson_has_every_column_and_no_secrets(accounts: Accounts, make_user: MakeUser) -> None:
    made = await make_user(full_name="Ada 👑")

    exported = await take_out(accounts, "ndjson", with_hashes=False)

    assert [json.loads(line) for line in exported.decode().splitlines()] == [made]


async def test_csv_neutralises_formulas(accounts: Accounts, make_user: MakeUser) -> None:
    await make_user(full_name="=cmd|'/c calc'!A1", email="+tag@example.org")

    exported = (await take_out(accounts, "csv", with_hashes=False)).decode()

    assert "'=cmd" in exported
    assert ",'+tag@example.org," in exported


async def test_hashes_come_only_where_asked_for(accounts: Accounts, bring_in: BringIn) -> None:
    await bring_in(f'username,hashed_password\nada,"{HASH}"\n')

    assert HASH.encode() not in await take_out(accounts, "csv", with_hashes=False)
    assert HASH.encode() in await take_out(accounts, "csv", with_hashes=True)


@pytest.mark.parametrize("size", [1, 2, 5, 6, 100])
async def test_parts_lose_nobody_and_repeat_nobody(accounts: Accounts, bring_in: BringIn, size: int) -> None:
    await bring_in("username,is_active\n" + "".join(f"user{n},{n % 2}\n" for n in range(6)))

    assert await names(accounts, size=size) == [f"user{n}" for n in range(6)]
    assert await names(accounts, size=size, is_active=True) == ["user1", "user3", "user5"]
    assert await names(accounts, size=size, is_active=False) == ["user0", "user2", "user4"]


async def test_nobody_there_is_an_empty_export(accounts: Accounts) -> None:
    assert await take_out(accounts, "ndjson") == b""
    assert await take_out(accounts, "csv", with_hashes=False) == (",".join(EXPORTED) + "\r\n").encode()
