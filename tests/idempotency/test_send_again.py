"""The same request under the same Idempotency-Key is done once, whoever sends it again and wherever."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient, Response
from sqlalchemy import text

from denizen.app import install
from denizen.core.accounts import Accounts
from denizen.core.auth import Scope
from denizen.core.hashers import NullHasher
from denizen.housekeeping import service as housekeeping
from denizen.idempotency import service
from denizen.idempotency.errors import IdempotencyKeyInFlight
from denizen.idempotency.service import Answer
from denizen.settings import Settings
from tests.conftest import BASE_URL, Clock, MakeKey
from tests.faults.test_commit_before_answering import FAILS_AT_COMMIT
from tests.idempotency.conftest import ADA, EVE, kept, under

REPLAYED = "idempotency-replayed"


def told(answer: Response) -> tuple[int, dict[str, str], bytes]:
    """An answer, but for what names the request."""
    ours = {name: value for name, value in answer.headers.items() if name not in {"x-request-id", REPLAYED}}
    return answer.status_code, ours, answer.content


async def count_users(accounts: Accounts) -> int:
    async with accounts.database.read.session() as db:
        return int((await db.execute(text("SELECT count(*) FROM denizen_users"))).scalar_one())


async def test_second_answer_is_the_first_one_again(
    client: AsyncClient, other: AsyncClient, admin: AsyncClient
) -> None:
    first = await client.post("/users/", json=ADA, headers=under("k 1"))
    await admin.patch(f"/users/{first.json()['id']}", json={"full_name": "Augusta"})
    again = await client.post("/users", json=ADA, headers=under("k 1"))
    elsewhere = await other.post(
        "/users/", json=ADA, headers=under("k 1", Authorization=admin.headers["Authorization"])
    )

    assert first.status_code == 201
    assert REPLAYED not in first.headers
    assert told(again) == told(first) == told(elsewhere)
    assert again.headers[REPLAYED] == elsewhere.headers[REPLAYED] == "true"
    assert len((await admin.get("/users/")).json()) == 1


async def test_without_the_header_nothing_is_kept(client: AsyncClient, accounts: Accounts) -> None:
    assert (await client.post("/users/", json=ADA)).status_code == 201
    assert (await client.post("/users/", json=ADA)).status_code == 409
    assert await kept(accounts) == []


async def test_other_body_under_the_same_key_is_refused(client: AsyncClient, accounts: Accounts) -> None:
    await client.post("/users/", json=ADA, headers=under("k"))

    for body in (EVE, ADA | {"password": "another horse battery"}):
        refused = await client.post("/users/", json=body, headers=under("k"))

        assert (refused.status_code, refused.json()["code"]) == (422, "idempotency_key_reused")
        assert REPLAYED not in refused.headers
    assert await count_users(accounts) == 1


async def test_key_belongs_to_its_caller_and_route(
    client: AsyncClient, make_key: MakeKey, accounts: Accounts, app: FastAPI
) -> None:
    one, two = await make_key(), await make_key()
    body = {"name": "x", "scopes": ["users:read"]}
    neighbour = AsyncClient(transport=ASGITransport(app, client=("192.0.2.7", 1)), base_url=BASE_URL)

    answers = [
        await client.post("/users/", json=ADA, headers=under("k", **one)),
        await client.post("/users/", json=EVE, headers=under("k", **two)),
        await client.post("/users/", json=EVE | {"username": "e", "email": "e@example.org"}, headers=under("k")),
        await client.post("/keys/", json=body, headers=under("k", **one)),
        await client.post("/keys/", json=body, headers=under("k", **two)),
    ]
    stranger = await neighbour.post("/users/", json=ADA, headers=under("k"))
    await neighbour.aclose()

    assert [(answer.status_code, REPLAYED in answer.headers) for answer in answers] == [(201, False)] * 5
    assert (stranger.status_code, stranger.json()["code"]) == (409, "email_taken")
    assert len(await kept(accounts)) == 5


@pytest.mark.parametrize("key", ["", "x" * 256, "tab\tin it", "ü".encode("latin-1")])
async def test_key_that_is_none_is_refused(client: AsyncClient, accounts: Accounts, key: str | bytes) -> None:
    sent = key.encode() if isinstance(key, str) else key
    refused = await client.post("/users/", json=ADA, headers=[(b"Idempotency-Key", sent)])

    assert (refused.status_code, refused.json()["code"]) == (422, "idempotency_key_invalid")
    assert await count_users(accounts) == 0
    assert await kept(accounts) == []


async def test_two_keys_are_refused_and_long_ones_are_not(client: AsyncClient) -> None:
    twice = await client.post("/users/", json=ADA, headers=[("Idempotency-Key", "a"), ("Idempotency-Key", "a")])
    long = await client.post("/users/", json=ADA, headers=under("~" * 255))

    assert (twice.status_code, long.status_code) == (422, 201)


async def test_twenty_at_once_on_two_workers_make_one_account(
    client: AsyncClient, other: AsyncClient, accounts: Accounts
) -> None:
    answers = await asyncio.gather(
        *(each.post("/users/", json=ADA, headers=under("race")) for _ in range(10) for each in (client, other))
    )
    last = await other.post("/users/", json=ADA, headers=under("race"))

    made = [answer for answer in answers if answer.status_code == 201]
    early = [answer for answer in answers if answer.status_code != 201]
    assert sum(REPLAYED not in answer.headers for answer in made) == 1
    assert {answer.json()["id"] for answer in made} == {last.json()["id"]}
    assert {(answer.status_code, answer.json()["code"]) for answer in early} <= {(409, "idempotency_key_in_flight")}
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in early)
    assert await count_users(accounts) == 1


async def test_refused_request_leaves_the_key_free(client: AsyncClient, accounts: Accounts) -> None:
    await client.post("/users/", json=ADA)

    for body, status in (
        (ADA, 409),
        (EVE | {"email": "nobody"}, 422),
        (EVE | {"password": "short"}, 422),
        (EVE | {"nick": "e"}, 422),
    ):
        refused = await client.post("/users/", json=body, headers=under("k"))
        assert refused.status_code == status
        assert await kept(accounts) == []
    corrected = await client.post("/users/", json=EVE, headers=under("k"))

    assert (corrected.status_code, REPLAYED in corrected.headers) == (201, False)


async def test_commit_that_fails_leaves_the_key_free(client: AsyncClient, accounts: Accounts) -> None:
    async with accounts.database.write.begin() as db:
        for statement in FAILS_AT_COMMIT[accounts.database.kind]:
            await db.execute(text(statement))

    failed = await client.post("/users/", json=ADA, headers=under("k"))

    assert failed.status_code == 500
    assert await kept(accounts) == []
    assert await count_users(accounts) == 0


async def test_answer_is_forgotten_after_a_day(client: AsyncClient, accounts: Accounts, clock: Clock) -> None:
    await client.post("/users/", json=ADA, headers=under("k"))

    clock.turn(hours=23, minutes=59)
    assert REPLAYED in (await client.post("/users/", json=ADA, headers=under("k"))).headers
    clock.turn(minutes=1)
    anew = await client.post("/users/", json=EVE, headers=under("k"))

    assert (anew.status_code, REPLAYED in anew.headers) == (201, False)
    assert await count_users(accounts) == 2


async def test_forgotten_answers_are_deleted_in_batches(
    client: AsyncClient, accounts: Accounts, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(housekeeping, "BATCH", 2)
    people = [{**ADA, "username": f"p{number}", "email": f"p{number}@example.org"} for number in range(6)]
    for number, person in enumerate(people[:5]):
        await client.post("/users/", json=person, headers=under(f"k{number}"))
    clock.turn(hours=24)
    await client.post("/users/", json=people[5], headers=under("late"))

    await housekeeping.clean_all(accounts)

    assert len(await kept(accounts)) == 1
    assert REPLAYED in (await client.post("/users/", json=people[5], headers=under("late"))).headers


async def test_key_of_a_killed_attempt_is_free_again_when_its_lease_is_over(
    client: AsyncClient, other: AsyncClient, accounts: Accounts, clock: Clock
) -> None:
    """As a crash between claim and commit leaves it."""
    sent = service.sent_by(accounts, None, "127.0.0.1", route="POST /users", key="k", body=b"lost")
    claim, _ = await service.begin(accounts, sent, service.new_claim())

    early = await client.post("/users/", json=ADA, headers=under("k"))
    clock.turn(seconds=60)
    answers = await asyncio.gather(
        *(each.post("/users/", json=ADA, headers=under("k")) for each in (client, other) * 5)
    )

    assert (early.status_code, early.json()["code"]) == (422, "idempotency_key_reused")  # it was for another body
    assert [REPLAYED in answer.headers for answer in answers if answer.status_code == 201].count(False) == 1
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert await count_users(accounts) == 1
    with pytest.raises(IdempotencyKeyInFlight):  # the one that was slow, and not dead after all
        async with accounts.writing() as db:
            await service.keep(accounts, db, sent, claim, Answer(201, {}, b""), user_id=None)
    await service.let_go(accounts, sent, claim)
    assert REPLAYED in (await client.post("/users/", json=ADA, headers=under("k"))).headers


async def test_erased_account_leaves_no_answer_behind(
    client: AsyncClient, admin: AsyncClient, accounts: Accounts
) -> None:
    made = await client.post("/users/", json=ADA, headers=under("k"))
    assert b"ada@example.org" in (await kept(accounts))[0][6]

    await admin.delete(f"/users/{made.json()['id']}?erase=true")

    assert await kept(accounts) == []


async def test_nothing_kept_tells_the_password_or_who_asked(client: AsyncClient, accounts: Accounts) -> None:
    """Nor can it be tried out: what stands for the body is made with the secret of the install."""
    await client.post("/users/", json=ADA, headers=under("the client's own key"))

    (row,) = await kept(accounts)
    assert "horse" not in str(row)
    assert "127.0.0.1" not in str(row)
    assert "client's" not in str(row)


async def test_keys_hold_inside_a_host_as_well(settings: Settings) -> None:
    """Whose own errors keep their shape, and whose install has a prefix."""
    host = FastAPI()
    accounts = install(host, prefix="/accounts", settings=settings, hasher=NullHasher())
    async with AsyncClient(transport=ASGITransport(host), base_url=BASE_URL) as client:
        first = await client.post("/accounts/users/", json=ADA, headers=under("k"))
        again = await client.post("/accounts/users", json=ADA, headers=under("k"))
        refused = await client.post("/accounts/users/", json=EVE, headers=under("k"))
    await accounts.close()

    assert (first.status_code, again.content) == (201, first.content)
    assert again.headers[REPLAYED] == "true"
    assert refused.json()["code"] == "idempotency_key_reused"


class TestLimited:
    @pytest.fixture
    def overrides(self) -> dict[str, Any]:
        return {"signup_rate_per_address": 2}

    async def test_stranger_writes_nothing_beyond_his_limit(self, client: AsyncClient, accounts: Accounts) -> None:
        for _ in range(2):
            await client.post("/users/", json=ADA, headers=under("k"))
        ran: list[str] = []
        accounts.database.observers.append(ran.append)

        refused = await client.post("/users/", json=EVE, headers=under("other"))

        assert refused.status_code == 429
        assert [each for each in ran if "denizen_audit" not in each] == []


async def test_key_under_an_idempotency_key_is_made_once_and_shown_again(
    client: AsyncClient, other: AsyncClient, make_key: MakeKey, clock: Clock
) -> None:
    maker = await make_key(Scope.KEYS_WRITE, Scope.USERS_READ)
    body = {"name": "x", "scopes": ["users:read"]}

    first = await client.post("/keys/", json=body, headers=under("k", **maker))
    again = await other.post("/keys/", json=body, headers=under("k", **maker))
    different = await client.post("/keys/", json=body | {"name": "y"}, headers=under("k", **maker))
    opened = await client.get("/users/", headers={"Authorization": f"Bearer {first.json()['token']}"})
    clock.turn(hours=24)
    anew = await client.post("/keys/", json=body, headers=under("k", **maker))

    assert first.status_code == 201
    assert told(again) == told(first)
    assert again.headers[REPLAYED] == "true"
    assert different.json()["code"] == "idempotency_key_reused"
    assert opened.status_code == 200
    assert anew.status_code == 201
    assert anew.json()["token"] != first.json()["token"]
    assert len((await client.get("/keys/", headers=maker)).json()) == 3


async def test_token_of_such_a_key_is_stored_nowhere(
    client: AsyncClient, make_key: MakeKey, accounts: Accounts
) -> None:
    made = await client.post(
        "/keys/", json={"name": "x", "scopes": ["users:read"]}, headers=under("k", **await make_key())
    )
    token = made.json()["token"]

    assert len(token) == 47
    async with accounts.database.read.session() as db:
        for table in ("denizen_idempotency", "denizen_keys"):
            rows = (await db.execute(text(f"SELECT * FROM {table}"))).all()
            assert rows
            assert token.removeprefix(made.json()["hint"]) not in str(rows)
    path = accounts.settings.sqlite_path
    if path is not None:
        for file in path.parent.glob(f"{path.name}*"):
            assert token.removeprefix(made.json()["hint"]).encode() not in file.read_bytes()
