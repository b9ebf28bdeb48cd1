"""Signing in by password: as JSON and as a form, by any spelling, and alike for whoever cannot."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import anyio
import pytest
from httpx import AsyncClient
from sqlalchemy import select, update

from denizen.core.accounts import Accounts
from denizen.core.hashers import Argon2Hasher, NullHasher
from denizen.sessions import crud
from denizen.sessions.models import Session
from denizen.users.models import User
from tests.conftest import PATIENT, Clock, MakeUser
from tests.sessions.conftest import PASSWORD, SignIn, bearer, login, works


@pytest.fixture
def overrides() -> dict[str, Any]:
    return dict(PATIENT)


async def set_user(accounts: Accounts, user_id: str, **values: Any) -> None:
    """Set columns of an account, as other rooms do."""
    async with accounts.writing() as db:
        await db.execute(update(User).where(User.id == UUID(user_id)).values(**values))


async def test_answer_has_the_token_and_says_what_it_is(client: AsyncClient, ada: dict[str, Any]) -> None:
    answer = await login(client, headers={"User-Agent": "test/1.0"})

    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert "set-cookie" not in answer.headers
    body = answer.json()
    assert body.keys() == {"access_token", "token_type", "expires_in", "session"}
    assert body["access_token"].startswith("dzs_")
    assert (body["token_type"], body["expires_in"]) == ("bearer", 90 * 86400)
    assert body["session"] == {
        "id": body["session"]["id"],
        "method": "password",
        "device": "test/1.0",
        "address": "127.0.0.1",
        "created_at": "2026-01-31T09:30:00.123456Z",
        "authenticated_at": "2026-01-31T09:30:00.123456Z",
        "last_used_at": "2026-01-31T09:30:00.123456Z",
        "expires_at": "2026-05-01T09:30:00.123456Z",
        "impersonator_id": None,
        "current": True,
    }
    shown = (await client.get("/auth/sessions/current", headers=bearer(body["access_token"]))).json()
    assert shown == body["session"]


async def test_form_of_oauth_signs_in(client: AsyncClient, ada: dict[str, Any]) -> None:
    """What the Authorize button of `/docs` and every OAuth 2.0 client sends."""
    form = {
        "grant_type": "password",
        "username": "ada",
        "password": PASSWORD,
        "scope": "",
        "client_id": "x",
        "client_secret": "",
    }

    answer = await client.post("/auth/login", data=form, headers={"Authorization": "Basic Og=="})

    assert answer.status_code == 200
    assert await works(client, bearer(answer.json()["access_token"]))


SPELLINGS = ("ada", "ADA", "Ada", "\uff21da", "Ada@example.org", "ada@EXAMPLE.org", "ADA@example.ORG", " ada ")
UNKNOWN = ("nobody", "nobody@example.org", "@", "a@b@c", "a b", "x" * 500, "\u202eada", "ada@example", "\ufffd")


async def test_any_spelling_of_username_and_address_signs_in(client: AsyncClient, ada: dict[str, Any]) -> None:
    for name in SPELLINGS:
        assert (await login(client, name)).status_code == 200, name


async def test_whoever_is_unknown_is_refused_alike(client: AsyncClient, ada: dict[str, Any]) -> None:
    for name in UNKNOWN:
        answer = await login(client, name)
        assert (answer.status_code, answer.json()["code"]) == (401, "sign_in_failed"), name


NO_SIGN_INS: list[dict[str, Any]] = [
    {},
    {"username": "ada"},
    {"username": "", "password": "x"},
    {"username": "ada", "password": "x\u0000"},
    {"username": "ada", "password": "x" * 4097},
    {"username": "x" * 513, "password": "x"},
    {"username": "ada", "password": "x", "grant_type": "refresh_token"},
    {"username": "ada", "password": "x", "is_admin": True},
    {"username": ["ada"], "password": {"$ne": None}},
]


async def test_what_is_no_sign_in_is_refused_without_being_repeated(client: AsyncClient) -> None:
    for body in NO_SIGN_INS:
        answer = await client.post("/auth/login", json=body)
        assert answer.status_code == 422, body
        assert "xxxx" not in answer.text


# ------------------------------------------------------------------------------------------------------- equal answers


class CountingHasher(NullHasher):
    """Counts what costs time in production."""

    def __init__(self) -> None:
        self.hashes = 0

    def hash(self, password: str) -> str:
        self.hashes += 1
        return super().hash(password)


AT = datetime(2026, 1, 1, tzinfo=UTC)
NOT_NOW: dict[str, dict[str, Any]] = {
    "suspended": {"suspended_at": AT},
    "suspended for some time": {"suspended_at": AT, "suspended_until": datetime(2027, 1, 1, tzinfo=UTC)},
    "inactive": {"is_active": False},
    "deleted": {"deleted_at": AT},
    "without a password": {"hashed_password": None},
}


async def test_answers_are_equal_whatever_is_wrong(
    client: AsyncClient, accounts: Accounts, make_user: MakeUser
) -> None:
    """Known, unknown, suspended, inactive, deleted, password-less: status, body, headers, statements, hashes."""
    hasher = accounts.hashing.hasher = CountingHasher()
    people = {"wrong password": "ada", "unknown": "nobody", "unknown address": "nobody@example.org"}
    await make_user(username="ada", email="ada@example.org")
    for number, (state, values) in enumerate(NOT_NOW.items()):
        made = await make_user(username=f"p{number}", email=f"p{number}@example.org")
        await set_user(accounts, made["id"], **values)
        people[state] = f"p{number}"
    ran: list[str] = []
    accounts.database.observers.append(ran.append)
    seen = {}

    for state, name in people.items():
        ran.clear()
        hasher.hashes = 0
        password = "no such password at all" if state == "wrong password" else PASSWORD
        answer = await login(client, name, password, headers={"X-Request-Id": "the-same-for-all"})
        work = [each.replace("username_key", "email_key") for each in ran]
        seen[state] = (answer.status_code, answer.headers.multi_items(), answer.content, work, hasher.hashes)

    first = seen["unknown"]
    assert first[0] == 401
    assert first[4] == 1
    assert [state for state, each in seen.items() if each != first] == []


async def test_whose_suspension_is_over_signs_in(
    client: AsyncClient, accounts: Accounts, ada: dict[str, Any], clock: Clock
) -> None:
    await set_user(accounts, ada["id"], suspended_at=AT, suspended_until=clock.at)

    assert (await login(client)).status_code == 200


async def test_sign_ins_at_once_all_pass_while_the_hash_is_made_anew(
    client: AsyncClient, accounts: Accounts, ada: dict[str, Any]
) -> None:
    """Correct parallel sign-ins all pass, also when one of them replaces the hash under the others."""
    await set_user(accounts, ada["id"], hashed_password=Argon2Hasher(memory=8, passes=1).hash(PASSWORD))
    accounts.hashing.hasher = Argon2Hasher(memory=16, passes=1)
    statuses: list[int] = []

    async def sign_in() -> None:
        statuses.append((await login(client)).status_code)

    async with anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(sign_in)

    assert statuses == [200] * 8


async def test_imported_hash_is_made_anew_at_sign_in(
    client: AsyncClient, accounts: Accounts, ada: dict[str, Any]
) -> None:
    """The effort stands in the hash and is raised at the next sign-in; the account's version stays."""
    weak = Argon2Hasher(memory=8, passes=1).hash(PASSWORD)
    await set_user(accounts, ada["id"], hashed_password=weak)
    accounts.hashing.hasher = hasher = Argon2Hasher(memory=16, passes=1)

    for _ in range(2):
        assert (await login(client)).status_code == 200

    async with accounts.database.read.session() as db:
        user = await db.get_one(User, UUID(ada["id"]))
    assert user.hashed_password is not None
    assert not hasher.needs_rehash(user.hashed_password)
    assert hasher.verify(PASSWORD, user.hashed_password)
    assert user.version == 1
    assert (await login(client, password="wrong")).status_code == 401


# ------------------------------------------------------------------------------------------------------------ meanwhile


class SlowHasher(NullHasher):
    """Lets something happen while a password is looked at."""

    def __init__(self) -> None:
        self.began, self.goes_on = asyncio.Event(), asyncio.Event()
        self.loop = asyncio.get_running_loop()

    def verify(self, password: str, encoded: str) -> bool:
        self.loop.call_soon_threadsafe(self.began.set)
        asyncio.run_coroutine_threadsafe(self.goes_on.wait(), self.loop).result(30)
        return super().verify(password, encoded)


@pytest.mark.parametrize("values", [*NOT_NOW.values(), {"hashed_password": "null$other"}], ids=[*NOT_NOW, "changed"])
async def test_what_changes_while_the_password_is_looked_at_counts(
    client: AsyncClient, accounts: Accounts, ada: dict[str, Any], values: dict[str, Any]
) -> None:
    hasher = accounts.hashing.hasher = SlowHasher()
    attempt = asyncio.create_task(login(client))
    await hasher.began.wait()

    await set_user(accounts, ada["id"], version=2, **values)  # as every change of an account does
    hasher.goes_on.set()

    answer = await attempt
    assert (answer.status_code, answer.json()["code"]) == (401, "sign_in_failed")
    async with accounts.database.read.session() as db:
        assert (await db.scalars(select(Session.id))).all() == []


async def test_no_writer_waits_while_a_password_is_looked_at(
    client: AsyncClient, accounts: Accounts, ada: dict[str, Any], make_user: MakeUser
) -> None:
    hasher = accounts.hashing.hasher = SlowHasher()
    attempt = asyncio.create_task(login(client))
    await hasher.began.wait()

    async with accounts.writing(timeout=5) as db:
        await db.execute(update(User).values(full_name="Somebody"))
    hasher.goes_on.set()

    assert (await attempt).status_code == 200


# --------------------------------------------------------------------------------------------------------------- bounds


class TestFew:
    @pytest.fixture
    def overrides(self) -> dict[str, Any]:
        return {"sessions_per_user": 3}

    async def test_one_more_ends_the_one_unused_for_longest(
        self, client: AsyncClient, accounts: Accounts, sign_in: SignIn, clock: Clock
    ) -> None:
        first, second, third = [await sign_in() for _ in range(3)]
        clock.turn(minutes=2)
        assert await works(client, first)
        await accounts.write_noticed("session", crud.note_last_uses)

        fourth = await sign_in()

        assert [await works(client, each) for each in (first, second, third, fourth)] == [True, False, True, True]


async def test_twenty_right_sign_ins_at_once_all_pass(client: AsyncClient, ada: dict[str, Any]) -> None:
    """Correct parallel sign-ins all pass."""
    answers = await asyncio.gather(*(login(client, name) for name in ["ada", "ada@example.org"] * 10))

    assert [answer.status_code for answer in answers] == [200] * 20
    assert len({answer.json()["access_token"] for answer in answers}) == 20
