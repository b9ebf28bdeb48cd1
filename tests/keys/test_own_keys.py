"""People make keys of their own: such a key names its maker, may do no more than he may now, and dies with him."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest
from httpx import AsyncClient
from sqlalchemy import select, update

from denizen.core.accounts import Accounts
from denizen.core.auth import CredentialsInvalid, ReauthenticationNeeded, Scope
from denizen.core.events import record
from denizen.core.tokens import digest, new_token
from denizen.keys.feature import FEATURE
from denizen.keys.models import Key
from denizen.keys.service import MOST_KEYS, issue_key
from denizen.sessions.models import Session
from denizen.users.events import EmailProved
from denizen.users.models import User
from tests.conftest import PATIENT, Clock, MakeKey, MakePerson, Person

HOUR = timedelta(hours=1)


@pytest.fixture
def overrides() -> dict[str, Any]:
    return PATIENT


async def _make(client: AsyncClient, maker: dict[str, str], *scopes: str) -> tuple[dict[str, Any], dict[str, str]]:
    answer = await client.post("/keys/", json={"name": "mine", "scopes": scopes}, headers=maker)
    assert answer.status_code == 201, answer.text
    made = answer.json()
    return made, {"Authorization": f"Bearer {made['token']}"}


async def _set(accounts: Accounts, person: Person, **values: Any) -> None:
    async with accounts.writing() as db:
        await db.execute(update(User).where(User.id == person.id).values(**values))


async def test_key_of_a_person_names_him_and_may_what_he_may(client: AsyncClient, make_person: MakePerson) -> None:
    person = await make_person("users:read", "notes:write")

    made, headers = await _make(client, person.headers, "users:read", "notes:write")

    assert (made["user_id"], made["maker_id"], made["expires_at"]) == (str(person.id), None, None)
    assert made["scopes"] == ["notes:write", "users:read"]
    assert (await client.get("/users/", headers=headers)).status_code == 200


@pytest.mark.parametrize("scope", ["users:write", "audit:read", "notes:read"])
async def test_nobody_gives_a_key_what_he_lacks(client: AsyncClient, make_person: MakePerson, scope: str) -> None:
    person = await make_person("users:read", "notes:write")

    refused = await client.post(
        "/keys/", json={"name": "mine", "scopes": ["users:read", scope]}, headers=person.headers
    )

    assert (refused.status_code, refused.json()["code"]) == (403, "key_beyond_maker")


async def test_keys_carry_no_star(client: AsyncClient, make_person: MakePerson) -> None:
    root = await make_person(roles=["admin"])

    refused = await client.post("/keys/", json={"name": "mine", "scopes": ["*"]}, headers=root.headers)

    assert refused.status_code == 422
    await _make(client, root.headers, *Scope, "anything:at-all")


async def test_key_may_no_more_than_its_owner_now(client: AsyncClient, make_person: MakePerson) -> None:
    """Role removal counts for keys at once, and so does what is given anew."""
    root, person = await make_person(roles=["admin"]), await make_person("users:read", "audit:read")
    _, headers = await _make(client, person.headers, "users:read")
    role = f"/users/{person.id}/roles/of-{person.username}"

    assert (await client.get("/users/", headers=headers)).status_code == 200
    await client.delete(role, headers=root.headers)
    assert (await client.get("/users/", headers=headers)).status_code == 403
    await client.put(role, headers=root.headers)
    assert (await client.get("/users/", headers=headers)).status_code == 200


@pytest.mark.parametrize("state", ["suspended", "deleted", "inactive"])
async def test_key_opens_nothing_while_its_owner_cannot_sign_in(
    client: AsyncClient, make_person: MakePerson, accounts: Accounts, clock: Clock, state: str
) -> None:
    person = await make_person("users:read", "keys:write")
    _, headers = await _make(client, person.headers, "users:read", "keys:write")
    _, child = await _make(client, headers, "users:read")
    states: dict[str, dict[str, Any]] = {
        "suspended": {"suspended_at": clock.at, "suspended_until": clock.at + HOUR},
        "deleted": {"deleted_at": clock.at},
        "inactive": {"is_active": False},
    }

    await _set(accounts, person, **states[state])

    for key in (headers, child):
        refused = await client.get("/users/", headers=key)
        assert (refused.status_code, refused.json()["code"]) == (401, "credentials_invalid")
    if state == "suspended":
        clock.turn(hours=1)
        assert (await client.get("/users/", headers=headers)).status_code == 200


async def test_key_dies_with_its_maker(client: AsyncClient, make_person: MakePerson, make_key: MakeKey) -> None:
    person = await make_person("users:read")
    made, headers = await _make(client, person.headers, "users:read")
    operator = await make_key()

    assert (await client.delete(f"/users/{person.id}", headers=operator)).status_code == 204
    assert (await client.get("/users/", headers=headers)).status_code == 401
    await client.post(f"/users/{person.id}/restore", headers=operator)
    assert (await client.get("/users/", headers=headers)).status_code == 401

    assert (await client.delete(f"/users/{person.id}?erase=true", headers=operator)).status_code == 204
    assert made["id"] not in {key["id"] for key in (await client.get("/keys/", headers=operator)).json()}


async def test_key_made_with_a_persons_key_is_his(client: AsyncClient, make_person: MakePerson) -> None:
    person = await make_person("users:read", "keys:write")
    parent, headers = await _make(client, person.headers, "users:read", "keys:write")

    child, _ = await _make(client, headers, "users:read")

    assert (child["user_id"], child["maker_id"]) == (str(person.id), parent["id"])
    refused = await client.post("/keys/", json={"name": "x", "scopes": ["audit:read"]}, headers=headers)
    assert refused.json()["code"] == "key_beyond_maker"


async def test_people_see_and_revoke_their_own_keys_alone(
    client: AsyncClient, make_person: MakePerson, make_key: MakeKey
) -> None:
    """Another person's key is a 404; the operator's too."""
    one, other = await make_person("users:read"), await make_person("users:read")
    mine, headers = await _make(client, one.headers, "users:read")
    theirs, _ = await _make(client, other.headers, "users:read")
    operators = (await client.get("/keys/current", headers=await make_key(Scope.USERS_READ))).json()

    listed = await client.get("/keys/", headers=one.headers)
    assert [key["id"] for key in listed.json()] == [mine["id"]]
    assert (await client.get(f"/keys/{mine['id']}", headers=one.headers)).json()["id"] == mine["id"]
    for key in (theirs["id"], operators["id"], "7", "019a5c1e-7f00-7a11-8b22-3c33d44e55f6"):
        for method in ("GET", "DELETE"):
            hidden = await client.request(method, f"/keys/{key}", headers=one.headers)
            assert (hidden.status_code, hidden.json()["code"]) == (404, "key_not_found")

    # His key sees itself and no others: whoever found it is not him.
    assert (await client.get("/keys/", headers=headers)).status_code == 403
    assert (await client.get(f"/keys/{mine['id']}", headers=headers)).status_code == 200
    second, _ = await _make(client, one.headers, "users:read")
    assert (await client.delete(f"/keys/{second['id']}", headers=headers)).status_code == 404

    assert (await client.delete(f"/keys/{mine['id']}", headers=one.headers)).status_code == 204
    assert (await client.get("/users/", headers=headers)).status_code == 401


async def test_own_keys_are_listed_by_cursors_of_their_own(
    client: AsyncClient, make_person: MakePerson, make_key: MakeKey
) -> None:
    person, other = await make_person("users:read"), await make_person("users:read")
    made = [(await _make(client, person.headers, "users:read"))[0]["id"] for _ in range(3)]
    await _make(client, other.headers, "users:read")

    first = await client.get("/keys/?limit=2", headers=person.headers)
    cursor = first.headers["x-next-cursor"]
    rest = await client.get(f"/keys/?cursor={cursor}", headers=person.headers)

    assert [key["id"] for key in [*first.json(), *rest.json()]] == made
    for stranger in (other.headers, await make_key()):
        assert (await client.get(f"/keys/?cursor={cursor}", headers=stranger)).json()["code"] == "cursor_invalid"


async def test_keys_of_people_beyond_the_caller_are_not_his_to_revoke(
    client: AsyncClient, make_person: MakePerson
) -> None:
    """No take-over, keys included; whoever holds as much as the person may."""
    root, clerk = await make_person(roles=["admin"]), await make_person("keys:write", "users:read")
    above, below = await make_person("users:read", "audit:read"), await make_person("users:read")
    key_above, _ = await _make(client, above.headers, "users:read")
    key_below, _ = await _make(client, below.headers, "users:read")

    refused = await client.delete(f"/keys/{key_above['id']}", headers=clerk.headers)
    assert (refused.status_code, refused.json()["code"]) == (403, "beyond_caller")
    assert (await client.delete(f"/keys/{key_below['id']}", headers=clerk.headers)).status_code == 204
    assert (await client.delete(f"/keys/{key_above['id']}", headers=root.headers)).status_code == 204


async def test_making_a_key_takes_a_fresh_sign_in_of_ones_own(
    client: AsyncClient, make_person: MakePerson, accounts: Accounts, clock: Clock
) -> None:
    """An impersonated session cannot touch keys; an old one has to prove anew who it is."""
    person, other = await make_person("users:read"), await make_person()
    body = {"name": "mine", "scopes": ["users:read"]}
    mine, _ = await _make(client, person.headers, "users:read")

    clock.turn(seconds=accounts.settings.reauthentication_timeout + 1)
    stale = await client.post("/keys/", json=body, headers=person.headers)
    assert (stale.status_code, stale.json()["code"]) == (403, "reauthentication_needed")

    async with accounts.writing() as db:
        await db.execute(update(Session).values(impersonator_id=other.id, authenticated_at=clock.at))
    for answer in (
        await client.post("/keys/", json=body, headers=person.headers),
        await client.delete(f"/keys/{mine['id']}", headers=person.headers),
    ):
        assert (answer.status_code, answer.json()["code"]) == (403, "not_while_impersonating")


async def test_keys_made_before_the_first_proof_of_an_address_end_with_it(
    client: AsyncClient, make_person: MakePerson, accounts: Accounts
) -> None:
    """Pre-hijacking: what a stranger made in somebody's name is gone when the owner proves the address."""
    stranger, bystander = await make_person("users:read", "keys:write"), await make_person("users:read")
    _, key = await _make(client, stranger.headers, "users:read", "keys:write")
    _, child = await _make(client, key, "users:read")
    _, other = await _make(client, bystander.headers, "users:read")

    async with accounts.writing() as db:
        await record(db, EmailProved(stranger.id, first=True))

    assert [(await client.get("/users/", headers=each)).status_code for each in (key, child, other)] == [401, 401, 200]


async def test_no_key_made_at_the_same_time_survives_the_first_proof(
    client: AsyncClient, make_person: MakePerson, accounts: Accounts, clock: Clock
) -> None:
    """A request that had begun before the proof makes no key after it."""
    stranger = await make_person("users:read")
    at = accounts.clock()
    caller = await accounts.recognise(stranger.headers["Authorization"], at)
    assert caller is not None
    clock.turn(seconds=1)

    async def prove() -> None:
        async with accounts.writing() as db:
            await db.execute(update(User).where(User.id == stranger.id).values(email_verified_at=clock.at))
            await asyncio.sleep(0)
            await record(db, EmailProved(stranger.id, first=True))

    async def make() -> str | None:
        try:
            async with accounts.writing() as db:
                _, token = await issue_key(
                    db, name="mine", scopes=["users:read"], maker=caller, expires_at=None, at=clock.at
                )
        except ReauthenticationNeeded:
            return None
        return token

    done = await asyncio.gather(*(make() for _ in range(5)), prove(), *(make() for _ in range(5)))

    for token in filter(None, done):
        answer = await client.get("/users/", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 401


async def test_recognising_a_persons_key_is_one_statement(
    client: AsyncClient, make_person: MakePerson, accounts: Accounts
) -> None:
    person = await make_person("users:read", "keys:write", roles=["admin"])
    _, headers = await _make(client, person.headers, "users:read")
    ran: list[str] = []
    accounts.database.observers.append(ran.append)

    caller = await accounts.recognise(headers["Authorization"], accounts.clock())

    assert caller is not None
    assert caller.kind == "key"
    assert caller.user_id == person.id
    assert caller.scopes == frozenset({"users:read"})
    assert len(ran) == 1


async def test_request_that_had_begun_leaves_no_key_on_a_deleted_account(
    client: AsyncClient, make_person: MakePerson, make_key: MakeKey, accounts: Accounts, clock: Clock
) -> None:
    """It would open the account again once that is restored, although deletion ends every key."""
    person, root = await make_person("users:read"), await make_key()
    _, headers = await _make(client, person.headers, "users:read")
    caller = await accounts.recognise(person.headers["Authorization"], clock())
    assert (await client.delete(f"/users/{person.id}", headers=root)).status_code == 204

    with pytest.raises(CredentialsInvalid):
        async with accounts.writing() as db:
            await issue_key(db, name="late", scopes=["users:read"], maker=caller, expires_at=None, at=clock())

    assert (await client.post(f"/users/{person.id}/restore", headers=root)).status_code == 200
    assert (await client.get("/users/", headers=headers)).status_code == 401


async def test_nobody_has_more_than_a_hundred_keys_and_those_that_ended_do_not_pile_up(
    client: AsyncClient, make_person: MakePerson, make_key: MakeKey, accounts: Accounts, clock: Clock
) -> None:
    person, other = await make_person("users:read"), await make_person("users:read")
    body = {"name": "mine", "scopes": ["users:read"]}
    first, _ = await _make(client, person.headers, "users:read")
    async with accounts.writing() as db:
        for number in range(2 * MOST_KEYS):
            ended = clock() if number > MOST_KEYS - 2 else None
            db.add(_key(person, clock(), revoked_at=ended if number % 2 else None, expires_at=ended))

    refused = await client.post("/keys/", json=body, headers=person.headers)
    assert (refused.status_code, refused.json()["code"]) == (409, "keys_too_many")
    await _make(client, other.headers, "users:read")
    assert (await client.delete(f"/keys/{first['id']}", headers=person.headers)).status_code == 204
    await _make(client, person.headers, "users:read")
    async with accounts.database.read.session() as db:
        owned = (await db.scalars(select(Key).where(Key.user_id == person.id))).all()
    assert len(owned) == 2 * MOST_KEYS
    for _ in range(MOST_KEYS + 1):  # an operator's keys are as many as he wants
        await make_key()


async def test_keys_that_ended_are_seen_for_ninety_days(
    client: AsyncClient, make_person: MakePerson, accounts: Accounts, clock: Clock
) -> None:
    person = await make_person("users:read")
    async with accounts.writing() as db:
        db.add(_key(person, clock(), revoked_at=clock()))
        db.add(_key(person, clock(), expires_at=clock()))
        db.add(_key(person, clock(), expires_at=clock() + timedelta(days=1)))
        db.add(_key(person, clock()))
    (cleaner,) = FEATURE.cleaners

    for days, left in ((89, 4), (1, 2), (1, 1), (1000, 1)):
        clock.turn(days=days)
        async with accounts.writing() as db:
            await cleaner.run(accounts, db, clock(), 1000)
            assert len((await db.scalars(select(Key).where(Key.user_id == person.id))).all()) == left


def _key(owner: Person, at: datetime, **values: Any) -> Key:
    token = new_token("dzk_")
    return Key(
        name="x",
        hint=token[:8],
        token_digest=digest(token),
        scopes=["users:read"],
        created_at=at,
        user_id=owner.id,
        **values,
    )
