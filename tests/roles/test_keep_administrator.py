"""The last administrator who can sign in cannot be removed, in no way, and not by two requests at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from httpx import AsyncClient, Response
from sqlalchemy import update

from denizen.core.accounts import Accounts
from denizen.roles.errors import LastAdministrator
from denizen.roles.service import grant_roles
from denizen.users.models import User
from denizen.users.states import erase_user
from tests.conftest import PATIENT, Clock, MakePerson, Person

Remove = Callable[[AsyncClient, Person, Person], Awaitable[Response]]


@pytest.fixture
def overrides() -> dict[str, Any]:
    return PATIENT


async def _take(client: AsyncClient, who: Person, by: Person) -> Response:
    return await client.delete(f"/users/{who.id}/roles/admin", headers=by.headers)


async def _set(client: AsyncClient, who: Person, by: Person) -> Response:
    return await client.put(f"/users/{who.id}/roles", json={"roles": []}, headers=by.headers)


async def _deactivate(client: AsyncClient, who: Person, by: Person) -> Response:
    return await client.patch(f"/users/{who.id}", json={"is_active": False}, headers=by.headers)


async def _delete(client: AsyncClient, who: Person, by: Person) -> Response:
    return await client.delete(f"/users/{who.id}", headers=by.headers)


async def _erase(client: AsyncClient, who: Person, by: Person) -> Response:
    return await client.delete(f"/users/{who.id}?erase=true", headers=by.headers)


async def _suspend(client: AsyncClient, who: Person, by: Person) -> Response:
    return await client.post(f"/users/{who.id}/suspend", headers=by.headers)


WAYS = {"take": _take, "set": _set, "deactivate": _deactivate, "delete": _delete, "erase": _erase, "suspend": _suspend}


@pytest.mark.parametrize("way", WAYS)
async def test_last_administrator_stays(client: AsyncClient, make_person: MakePerson, way: str) -> None:
    one, other, by = await make_person(roles=["admin"]), await make_person(roles=["admin"]), await make_person("*")

    assert (await WAYS[way](client, other, by)).is_success
    refused = await WAYS[way](client, one, by)

    assert (refused.status_code, refused.json()["code"]) == (409, "last_administrator")
    assert (await client.get("/roles/", headers=one.headers)).status_code == 200


@pytest.mark.parametrize("way", WAYS)
async def test_of_two_who_remove_each_other_at_once_one_stays(
    client: AsyncClient, make_person: MakePerson, way: str
) -> None:
    """With two requests at once exactly one wins."""
    one, other, by = await make_person(roles=["admin"]), await make_person(roles=["admin"]), await make_person("*")

    answers = await asyncio.gather(WAYS[way](client, one, by), WAYS[way](client, other, by))

    assert sorted(answer.is_success for answer in answers) == [False, True]
    (lost,) = [answer for answer in answers if not answer.is_success]
    assert (lost.status_code, lost.json()["code"]) == (409, "last_administrator")


async def test_of_two_ways_at_once_one_wins(client: AsyncClient, make_person: MakePerson) -> None:
    people, by = [await make_person(roles=["admin"]) for _ in WAYS], await make_person("*")

    answers = await asyncio.gather(
        *(remove(client, who, by) for who, remove in zip(people, WAYS.values(), strict=True))
    )

    assert sum(answer.is_success for answer in answers) == len(people) - 1


async def test_batch_leaves_the_last_administrator(client: AsyncClient, make_person: MakePerson) -> None:
    people, by = [await make_person(roles=["admin"]) for _ in range(3)], await make_person("*")
    operations = [
        {"op": "delete", "id": str(people[0].id)},
        {"op": "patch", "id": str(people[1].id), "changes": {"is_active": False}},
        {"op": "delete", "id": str(people[2].id)},
    ]

    answer = await client.post("/users/batch", json={"operations": operations}, headers=by.headers)

    results = answer.json()["results"]
    assert [result.get("error", {}).get("code") for result in results] == [None, None, "last_administrator"]
    assert (await client.get("/roles/", headers=people[2].headers)).status_code == 200


@pytest.mark.parametrize("way", ["take", "set", "delete"])
async def test_nobody_goes_himself_who_is_the_last(client: AsyncClient, make_person: MakePerson, way: str) -> None:
    root = await make_person(roles=["admin"])

    refused = await WAYS[way](client, root, root)

    assert (refused.status_code, refused.json()["code"]) == (409, "last_administrator")
    assert (await client.get("/roles/", headers=root.headers)).status_code == 200


async def test_who_cannot_sign_in_does_not_count(
    client: AsyncClient, make_person: MakePerson, accounts: Accounts, clock: Clock
) -> None:
    root = await make_person(roles=["admin"])
    await make_person(roles=["admin"], is_active=False)
    suspended, deleted = await make_person(roles=["admin"]), await make_person(roles=["admin"])
    async with accounts.writing() as db:
        until = clock.at + timedelta(days=1)
        await db.execute(
            update(User).where(User.id == suspended.id).values(suspended_at=clock.at, suspended_until=until)
        )
        await db.execute(update(User).where(User.id == deleted.id).values(deleted_at=clock.at))

    assert (await _take(client, root, root)).json()["code"] == "last_administrator"

    clock.turn(days=1)  # the suspension is over
    assert (await _take(client, root, root)).status_code == 204


async def test_installations_without_an_administrator_delete_whom_they_like(
    admin: AsyncClient, make_person: MakePerson
) -> None:
    person = await make_person("users:read")

    assert (await admin.delete(f"/users/{person.id}")).status_code == 204


async def test_a_host_that_deletes_accounts_itself_is_told_too(accounts: Accounts, make_person: MakePerson) -> None:
    root = await make_person(roles=["admin"])

    with pytest.raises(LastAdministrator):
        async with accounts.writing() as db:
            await erase_user(db, root.id, versions=None)
    async with accounts.writing() as db:
        assert [role.name for role in await grant_roles(db, root.id, [], caller=None, at=accounts.clock())] == ["admin"]
