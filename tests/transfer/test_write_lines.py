"""The database writes lines, and Python could: byte for byte the same, on both databases and in both forms."""

from __future__ import annotations

import asyncio
import string
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as how
from hypothesis import strategies as st
from pydantic import BaseModel
from sqlalchemy import delete, update

from denizen.core.accounts import Accounts
from denizen.core.assembly import assemble
from denizen.core.hashers import NullHasher
from denizen.core.ids import new_id
from denizen.core.profile_sources import profile_of_model
from denizen.core.types import write_json
from denizen.directory.schemas import UserFilter
from denizen.settings import Settings
from denizen.transfer import crud
from denizen.transfer.adapters.formats import make_writer
from denizen.transfer.schemas import EXPORTED, IGNORED, Account, Format
from denizen.transfer.service import export_users, plan_export
from denizen.users.models import User
from tests.transfer.test_export_users import TIMES


class Noted(BaseModel):
    note: str | None = None


COLUMNS: dict[Format, tuple[str, ...]] = {
    "csv": (*EXPORTED, "profile.note", "hashed_password"),
    "ndjson": (*EXPORTED, "hashed_password"),
}
"""Without `profile`, which PostgreSQL writes in an order and with spaces of its own."""

SPECIAL = (
    "=+-@'\"`,;\t\r\n\\/%:{}<>& a0\x01\x08\x0b\x0c\x1f\x7f\x80\x85\xa0\u2028\u2029\ufeff\ufffd\U0001f451\u00e9e\u0301"
)
TEXT = st.text(st.sampled_from(SPECIAL), max_size=8) | st.text(
    st.characters(codec="utf-8", exclude_characters="\x00"), max_size=40
)
PLAIN = [*string.printable, *map(chr, range(1, 0x2C0)), *SPECIAL]


def account(number: int, text: str | None, *, others: Sequence[str | None] = (), at: str = "") -> Account:
    """An account whose names are any text at all: what may be a name is not asked here."""
    username, email, external_id, hashed = (*others, None, None, None, None)[:4]
    at = at or "2026-01-31T09:30:00.000000Z"
    return Account(
        id=str(new_id()),
        username=username,
        email=email if email is not None or username is not None else "",
        external_id=None if external_id is None else f"{external_id}{number}",
        full_name=text,
        hashed_password=hashed,
        is_active=number % 2 == 0,
        email_verified_at=at if number % 3 else None,
        created_at=at,
        updated_at=at,
        version=number + 1,
        email_key=None if email is None and username is not None else f"e{number}",
        username_key=None if username is None else f"u{number}",
        username_skeleton=None if username is None else f"u{number}",
        profile="{}" if text is None else write_json({"note": text}),
        found_by="",
        line=0,
        password=None,
    )


def value(row: Account, name: str) -> object:
    """What an export has of an account, of which every second is suspended."""
    if name in IGNORED:
        return row.created_at if row.version % 2 == 0 else None
    if name == "profile.note":
        return row.full_name
    return getattr(row, name)


async def assert_alike(accounts: Accounts, rows: Sequence[Account]) -> None:
    async with accounts.writing() as db:
        await db.execute(delete(User))
        assert len(await crud.insert_accounts(db, rows)) == len(rows)
        suspended = {"suspended_at": User.created_at, "suspended_until": User.updated_at}
        await db.execute(update(User).where(User.version % 2 == 0).values(suspended))
    profile = profile_of_model(Noted)
    for form, columns in COLUMNS.items():
        values = sorted(([value(row, name) for name in columns] for row in rows), key=lambda each: str(each[0]))
        writer = make_writer(form, columns)
        extract = replace(plan_export(UserFilter(), form, with_hashes=True, profile=profile), columns=columns)

        exported = b"".join([part.data async for part in export_users(accounts.database, extract, size=50)])

        assert exported == (writer.begin() + writer.write(values)).encode()


@pytest.mark.slow
async def test_every_character_is_written_alike(accounts: Accounts) -> None:
    shapes = ("{}", "{}x", "x{}y", "'{}", "''{}", "{0}{0}")
    texts = ["", *(shape.format(each) for each in PLAIN for shape in shapes)]

    await assert_alike(accounts, [account(number, text) for number, text in enumerate(texts)])


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_any_text_is_written_alike(settings: Settings) -> None:
    people = st.lists(st.tuples(st.none() | TEXT, st.lists(st.none() | TEXT, max_size=4), TIMES), max_size=6)

    async def check_all(people: Sequence[tuple[str | None, list[str | None], str]]) -> None:
        accounts = assemble(settings, (), hasher=NullHasher())
        try:
            rows = [account(n, text, others=others, at=at) for n, (text, others, at) in enumerate(people)]
            await assert_alike(accounts, rows)
        finally:
            await accounts.close()

    @how(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
    @given(people=people)
    def check(people: list[tuple[str | None, list[str | None], str]]) -> None:
        asyncio.run(check_all(people))

    check()
