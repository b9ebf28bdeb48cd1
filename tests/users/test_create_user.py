from __future__ import annotations

from typing import Any

import anyio
import pytest
from httpx import ASGITransport, AsyncClient

from denizen.app import create_app
from denizen.core.accounts import Accounts
from denizen.core.auth import Scope
from denizen.core.deps import installs_of
from denizen.core.hashers import NullHasher
from denizen.core.hashing import Lane
from denizen.settings import Settings
from denizen.users import crud
from tests.conftest import BASE_URL, PATIENT, Clock, MakeKey, MakeUser

ADA = {
    "username": "ada",
    "email": "Ada@Example.org",
    "full_name": "Ada Lovelace",
    "password": "correct horse battery",
}


async def test_answer_is_the_account_without_secrets(client: AsyncClient, clock: Clock) -> None:
    answer = await client.post("/users/", json=ADA)

    made = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == f"{BASE_URL}/users/{made['id']}"
    assert answer.headers["etag"] == '"1"'
    assert answer.headers["cache-control"] == "no-store"
    assert made == {
        "id": made["id"],
        "username": "ada",
        "email": "Ada@example.org",
        "full_name": "Ada Lovelace",
        "external_id": None,
        "is_active": True,
        "email_verified_at": None,
        "profile": {},
        "suspended_at": None,
        "suspended_until": None,
        "created_at": "2026-01-31T09:30:00.123456Z",
        "updated_at": "2026-01-31T09:30:00.123456Z",
        "version": 1,
    }


async def test_password_is_stored_as_a_hash(client: AsyncClient, accounts: Accounts) -> None:
    await client.post("/users/", json=ADA)

    async with accounts.database.read.session() as db:
        user = await crud.get_user_by_email(db, "ADA@EXAMPLE.ORG")
    assert user.hashed_password is not None
    assert ADA["password"] not in user.hashed_password
    assert await accounts.hashing.verify(ADA["password"], user.hashed_password, lane=Lane.TRUSTED)


async def test_second_of_a_kind_is_a_conflict(client: AsyncClient) -> None:
    await client.post("/users/", json=ADA)
    elsewhere = {"email": "other@example.org"}

    for changes, code, field, detail in (
        ({"username": "other"}, "email_taken", "email", "Email already registered"),
        ({"username": "other", "email": "ADA@EXAMPLE.ORG"}, "email_taken", "email", "Email already registered"),
        (elsewhere, "username_taken", "username", "Username already registered"),
        (elsewhere | {"username": "ADA"}, "username_taken", "username", "Username already registered"),
        (elsewhere | {"username": "аda"}, "username_too_similar", "username", "This username looks"),
    ):
        answer = await client.post("/users/", json=ADA | changes)

        problem = answer.json()
        assert answer.status_code == 409
        assert answer.headers["content-type"] == "application/problem+json"
        assert (problem["code"], problem["field"]) == (code, field)
        assert problem["detail"].startswith(detail)


async def test_what_is_not_acceptable_is_refused(admin: AsyncClient) -> None:
    refused = {
        "email": {"nobody": "email_invalid"},
        "username": {"": "username_invalid", "a b": "username_invalid", "else@example.org": "username_invalid"},
        "password": {
            "tiny!9": "password_too_short",
            "password123": "password_common",
            "ada@example.org": "password_contextual",
            "y" * 1025: "password_too_long",
            "y" * 100_000: "password_too_long",
        },
        "id": {"019a5c1e-7f00-7a11-8b22-3c33d44e55f6": "invalid"},
        "hashed_password": {"$argon2id$planted": "invalid"},
        "created_at": {"2000-01-01T00:00:00Z": "invalid"},
        "full_name": {"x" * 201: "invalid", "nul\x00": "invalid"},
    }

    for field, values in refused.items():
        for value, code in values.items():
            answer = await admin.post("/users/", json=ADA | {field: value})

            problem = answer.json()
            assert (answer.status_code, problem["code"], problem["field"]) == (422, code, field), value
            assert ADA["password"] not in answer.text
            assert not value or value not in answer.text
    assert (await admin.get("/users/")).json() == []


@pytest.mark.parametrize("length", [65, 256, 257, 1017, 100_000])
async def test_names_that_are_too_long_are_told_the_limit_that_holds(
    admin: AsyncClient, make_user: MakeUser, length: int
) -> None:
    made = await make_user()
    names = {
        "username": ("x" * length, "username_invalid", "A username has at most 64 characters."),
        "email": (
            "x" * (190 + length) + "@example.org",
            "email_invalid",
            "The e-mail address is longer than 254 characters.",
        ),
    }

    for field, (name, code, detail) in names.items():
        answers = [
            await admin.post("/users/", json=ADA | {field: name}),
            await admin.patch(f"/users/{made['id']}", json={field: name}),
            *([await admin.get("/users/", params={field: name})] if length < 10_000 else []),
        ]
        for answer in answers:
            problem = answer.json()
            assert (answer.status_code, problem["code"], problem["detail"]) == (422, code, detail)
            assert problem["field"] == field


async def test_length_of_a_username_is_counted_as_it_is_stored(admin: AsyncClient) -> None:
    decomposed = "e\u0301" * 64

    made = await admin.post("/users/", json=ADA | {"username": decomposed})
    refused = await admin.post("/users/", json=ADA | {"username": decomposed + "x"})

    assert (made.status_code, made.json()["username"]) == (201, "\u00e9" * 64)
    assert (refused.status_code, refused.json()["code"]) == (422, "username_invalid")


async def test_state_and_external_id_are_not_for_everybody_to_set(client: AsyncClient, make_key: MakeKey) -> None:
    ignored = await client.post("/users/", json=ADA | {"is_active": False})
    refused = await client.post("/users/", json=ADA | {"email": "b@example.org", "username": "b", "external_id": "1"})
    allowed = await client.post(
        "/users/",
        json=ADA | {"email": "c@example.org", "username": "c", "external_id": "1", "is_active": False},
        headers=await make_key(Scope.USERS_WRITE),
    )

    assert ignored.json()["is_active"] is True
    assert refused.status_code == 401
    assert (allowed.json()["is_active"], allowed.json()["external_id"]) == (False, "1")


async def test_hundred_at_once_with_one_address_make_one_account(
    client: AsyncClient, accounts: Accounts, admin: AsyncClient
) -> None:
    statuses: list[int] = []

    async def sign_up(number: int) -> None:
        email = "".join(c.upper() if number >> i & 1 else c for i, c in enumerate("race@example.org"))
        answer = await client.post("/users/", json=ADA | {"username": f"racer{number}", "email": email})
        statuses.append(answer.status_code)

    async with anyio.create_task_group() as group:
        for number in range(100):
            group.start_soon(sign_up, number)

    assert sorted(set(statuses)) in ([201, 409], [201, 409, 503])
    assert statuses.count(201) == 1
    listed = await admin.get("/users/", params={"email": "race@example.org"})
    assert len(listed.json()) == 1


async def test_both_forms_of_the_path_answer_directly(client: AsyncClient) -> None:
    assert (await client.post("/users", json=ADA)).status_code == 201


class TestClosed:
    @pytest.fixture
    def overrides(self) -> dict[str, Any]:
        return {"signup": "closed"}

    async def test_only_who_may_creates(self, client: AsyncClient, make_key: MakeKey) -> None:
        anybody = await client.post("/users/", json=ADA)
        reader = await client.post("/users/", json=ADA, headers=await make_key(Scope.USERS_READ))
        writer = await client.post("/users/", json=ADA, headers=await make_key(Scope.USERS_WRITE))

        assert (anybody.status_code, anybody.headers["www-authenticate"]) == (401, "Bearer")
        assert (reader.status_code, reader.json()["code"]) == (403, "sign_up_closed")
        assert writer.status_code == 201


class TestLimited:
    @pytest.fixture
    def overrides(self) -> dict[str, Any]:
        return {"signup_rate_per_address": 3}

    async def test_one_address_signs_up_only_so_often(
        self, client: AsyncClient, make_user: MakeUser, make_key: MakeKey, clock: Clock
    ) -> None:
        for _ in range(3):
            await make_user()
        refused = await client.post("/users/", json=ADA)
        with_right = await client.post("/users/", json=ADA, headers=await make_key(Scope.USERS_WRITE))
        clock.turn(minutes=1)

        assert refused.status_code == 429
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert with_right.status_code == 201
        await make_user()

    @pytest.mark.parametrize("limit", ["signup_rate_per_address", "signup_rate_total"])
    async def test_all_processes_agree_how_often(self, settings: Settings, clock: Clock, limit: str) -> None:
        """Another process, or the same one after a restart, does not begin to count anew."""
        limits = {**PATIENT, "signup_rate_per_address": 0, "signup_rate_total": 0, limit: 2}
        statuses = []
        for number in range(3):
            app = create_app(settings.model_copy(update=limits), hasher=NullHasher(), clock=clock)
            async with AsyncClient(transport=ASGITransport(app), base_url=BASE_URL) as process:
                body = ADA | {"username": f"ada{number}", "email": f"ada{number}@example.org"}
                statuses.append((await process.post("/users/", json=body)).status_code)
            await installs_of(app)[0].close()

        assert statuses == [201, 201, 429]
