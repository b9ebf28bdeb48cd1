from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import anyio
import pytest
from httpx import AsyncClient, Response

from denizen.core.accounts import Accounts
from denizen.core.auth import Scope
from denizen.core.events import Event
from denizen.users import crud
from denizen.users.errors import EmailTaken, UserChanged
from denizen.users.events import EmailChanged, UserUpdated
from denizen.users.schemas import UserUpdate
from denizen.users.service import change_user
from tests.conftest import PATIENT, Clock, MakeKey, MakeUser

LATER = "2026-01-31T09:31:00.123456Z"


@pytest.fixture
def overrides() -> dict[str, Any]:
    return dict(PATIENT)


async def change(client: AsyncClient, user: dict[str, Any], **changes: Any) -> Response:
    # In ASCII, so that half a surrogate pair can be sent too.
    return await client.patch(
        f"/users/{user['id']}", content=json.dumps(changes), headers={"Content-Type": "application/json"}
    )


async def test_what_is_named_is_set_and_the_rest_stays(
    admin: AsyncClient, make_user: MakeUser, clock: Clock, accounts: Accounts
) -> None:
    made = await make_user(full_name="Ada", external_id="crm-1")
    before = await stored(accounts, made)
    clock.turn(minutes=1)

    answer = await change(admin, made, full_name="Ada Lovelace")

    assert answer.status_code == 200
    assert answer.headers["etag"] == '"2"'
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json() == made | {"full_name": "Ada Lovelace", "updated_at": LATER, "version": 2}
    assert (await admin.get(f"/users/{made['id']}")).json() == answer.json()
    assert (await stored(accounts, made)).hashed_password == before.hashed_password


async def test_all_that_can_be_set_is_set_at_once(admin: AsyncClient, make_user: MakeUser, clock: Clock) -> None:
    made = await make_user()
    wanted = {
        "username": "Ｏther",
        "email": "Other@Example.ORG",
        "full_name": "🙂",
        "external_id": "crm 1",
        "is_active": False,
    }
    clock.turn(minutes=1)

    answer = await change(admin, made, **wanted)

    assert answer.json() == made | wanted | {
        "username": "Other",
        "email": "Other@example.org",
        "updated_at": LATER,
        "version": 2,
    }
    found = await admin.get("/users/", params={"username": "OTHER"})
    assert [each["id"] for each in found.json()] == [made["id"]]


async def test_null_empties_but_never_both_names(admin: AsyncClient, make_user: MakeUser) -> None:
    made = await make_user(full_name="Ada", external_id="crm-1")

    emptied = await change(admin, made, full_name=None, external_id=None, username=None)
    nameless = await change(admin, made, email=None)
    both = await change(admin, await make_user(), email=None, username=None)
    stateless = await change(admin, made, is_active=None)

    assert emptied.json() | {"username": None, "full_name": None, "external_id": None} == emptied.json()
    assert emptied.json()["version"] == 2
    assert (nameless.status_code, nameless.json()["code"]) == (422, "identity_missing")
    assert (both.status_code, both.json()["code"]) == (422, "identity_missing")
    assert (stateless.status_code, stateless.json()["field"]) == (422, "is_active")
    assert (await admin.get(f"/users/{made['id']}")).json() == emptied.json()


async def test_nothing_named_changes_nothing(
    admin: AsyncClient, make_user: MakeUser, clock: Clock, accounts: Accounts
) -> None:
    made = await make_user()
    heard = listen(accounts)
    clock.turn(minutes=1)

    answer = await change(admin, made)
    stale = await admin.patch(f"/users/{made['id']}", json={}, headers={"If-Match": '"2"'})

    assert (answer.status_code, answer.headers["etag"], answer.json()) == (200, '"1"', made)
    assert stale.status_code == 412
    assert heard == []


async def test_who_listens_hears_what_was_set(admin: AsyncClient, make_user: MakeUser, accounts: Accounts) -> None:
    made = await make_user()
    heard = listen(accounts)

    await change(admin, made, full_name="Ada", email="ada@example.org")
    await change(admin, made, email="nobody")

    before = {"full_name": made["full_name"], "email": made["email"]}
    after = {"full_name": "Ada", "email": "ada@example.org"}
    assert heard == [
        UserUpdated(UUID(made["id"]), ("email", "full_name"), before=before, after=after),
        EmailChanged(
            UUID(made["id"]),
            "administrator",
            before={"email": made["email"]},
            after={"email": "ada@example.org"},
        ),
    ]


async def test_what_is_nobodys_to_set_is_refused(admin: AsyncClient, make_user: MakeUser) -> None:
    made = await make_user()
    wanted: dict[str, Any] = {
        "id": "019a5c1e-7f00-7a11-8b22-3c33d44e55f6",
        "password": "correct horse battery",
        "hashed_password": None,
        "created_at": "2000-01-01T00:00:00Z",
        "updated_at": "2000-01-01T00:00:00Z",
        "version": 7,
        "email_key": "root@example.org",
        "username_skeleton": "root",
        "scopes": ["users:write"],
        "is_admin": True,
    }

    for field, value in wanted.items():
        answer = await change(admin, made, full_name="Ada", **{field: value})

        [error] = answer.json()["errors"]
        assert answer.status_code == 422
        assert (error["field"], error["code"]) == (field, "extra_forbidden")
    assert (await admin.get(f"/users/{made['id']}")).json() == made


async def test_what_is_not_acceptable_is_refused(admin: AsyncClient, make_user: MakeUser) -> None:
    made = await make_user()
    refused: dict[str, list[Any]] = {
        "username": ["", "a b", "x" * 65, "x" * 300, "nul\x00", "else@example.org", 7, ["a"], "\u202eabc"],
        "email": ["", "nobody", "a@localhost", "x" * 250 + "@example.org", "a\x00@example.org", 7, {}],
        "full_name": ["x" * 201, "nul\x00", 7, "half \ud83d"],
        "external_id": ["", "x" * 256, "nul\x00", 7],
        "is_active": ["maybe", 2, [], "null"],
    }

    for field, values in refused.items():
        for value in values:
            answer = await change(admin, made, **{field: value})
            assert (answer.status_code, answer.json()["field"]) == (422, field), value
            assert not isinstance(value, str) or len(value) < 4 or value not in answer.text
    assert (await admin.get(f"/users/{made['id']}")).json() == made


async def test_first_of_several_conflicts_is_named_alike_everywhere(admin: AsyncClient, make_user: MakeUser) -> None:
    await make_user(username="ada", email="ada@example.org", external_id="crm-1")
    made = await make_user(username="bob", email="bob@example.org", external_id="crm-2")
    all_at_once = {"external_id": "crm-1", "username": "ADA", "email": "Ada@Example.org"}
    expected: list[tuple[dict[str, Any], str, str, str]] = [
        (all_at_once, "email_taken", "email", "Email already registered"),
        (all_at_once | {"email": "new@example.org"}, "username_taken", "username", "Username already registered"),
        ({"external_id": "crm-1", "username": "аdа"}, "username_too_similar", "username", "This username looks"),
        ({"external_id": "crm-1"}, "external_id_taken", "external_id", "External id already registered"),
        ({"full_name": "x", "email": "ADA@EXAMPLE.ORG"}, "email_taken", "email", "Email already registered"),
    ]

    for changes, code, field, detail in expected:
        answer = await change(admin, made, **changes)
        problem = answer.json()
        assert (answer.status_code, problem["code"], problem["field"]) == (409, code, field)
        assert problem["detail"].startswith(detail)
    assert (await admin.get(f"/users/{made['id']}")).json() == made


async def test_nobody_is_in_his_own_way(admin: AsyncClient, make_user: MakeUser, accounts: Accounts) -> None:
    made = await make_user(username="ada", email="ada@example.org", external_id="crm-1")
    key = (await stored(accounts, made)).email_key

    answer = await change(admin, made, username="Ada", email="ADA@Example.org", external_id="crm-1")

    assert answer.json()["username"] == "Ada"
    assert answer.json()["email"] == "ADA@example.org"
    assert (await stored(accounts, made)).email_key == key == "ada@example.org"


async def test_username_that_is_an_address_is_its_owners(admin: AsyncClient, make_user: MakeUser) -> None:
    ada = await make_user(username="ada", email="ada@example.org")
    bob = await make_user(username="bob", email="bob@example.org")

    async def refused(user: dict[str, Any], **changes: Any) -> tuple[int, str, str]:
        answer = await change(admin, user, **changes)
        return answer.status_code, answer.json()["code"], answer.json()["field"]

    assert await refused(bob, username="ada@example.org") == (422, "username_invalid", "username")
    assert (await change(admin, ada, username="ADA@example.org")).status_code == 200
    assert await refused(ada, email="else@example.org") == (422, "username_invalid", "username")
    assert await refused(ada, email=None) == (422, "username_invalid", "username")
    assert (await change(admin, ada, email="Ada@example.org")).status_code == 200
    assert (await change(admin, ada, email="else@example.org", username="else@EXAMPLE.org")).status_code == 200
    assert (await change(admin, bob, email="ada@example.org")).status_code == 200


async def test_only_the_version_that_was_read_is_changed(admin: AsyncClient, make_user: MakeUser) -> None:
    made = await make_user()
    path = f"/users/{made['id']}"

    async def under(if_match: str, **changes: Any) -> Response:
        return await admin.patch(path, json=changes, headers={"If-Match": if_match})

    assert (await under('"1"', full_name="A")).headers["etag"] == '"2"'
    assert (await under("*", full_name="B")).headers["etag"] == '"3"'
    for stale in ('"1"', '"2"', 'W/"3"', "3", '"03"', '"-3"', '""', "", "garbage", '"1", "2"', '"' + "9" * 40 + '"'):
        answer = await under(stale, full_name="C")
        assert (answer.status_code, answer.json()["code"]) == (412, "user_changed"), stale
        assert answer.headers["content-type"] == "application/problem+json"
    assert (await under('"2"', username="c", email=None)).status_code == 412
    assert (await under('"2"', username=None, email=None)).status_code == 412
    assert (await under('"3"', username="c")).headers["etag"] == '"4"'
    assert (await admin.get(path)).json()["full_name"] == "B"


async def test_any_of_several_versions_may_be_changed(admin: AsyncClient, make_user: MakeUser) -> None:
    path = f"/users/{(await make_user())['id']}"
    matching = ['"1", "3"', '"7","2"', ' , "3" ,, "99"\t', 'W/"4", "4"', '"of,another", "5"', '"6", "6", W/"x"']

    for version, tags in enumerate(matching, 1):
        answer = await admin.patch(path, json={"full_name": tags}, headers={"If-Match": tags})
        assert (answer.status_code, answer.headers["etag"]) == (200, f'"{version + 1}"'), tags
    several_lines = [("If-Match", '"1"'), ("If-Match", '"7"')]
    assert (await admin.patch(path, json={"username": "ada"}, headers=several_lines)).headers["etag"] == '"8"'
    hundred = ", ".join(f'"{version}"' for version in range(8, 108))
    assert (await admin.patch(path, json={}, headers={"If-Match": hundred})).status_code == 200
    assert (await admin.delete(path, headers={"If-Match": '"7", "8"'})).status_code == 204


@pytest.mark.slow
async def test_list_of_versions_that_names_no_present_one_changes_nothing(
    admin: AsyncClient, make_user: MakeUser
) -> None:
    made = await make_user()
    path = f"/users/{made['id']}"
    stale = [
        '"2", "3"',
        'W/"1", "2"',
        'W/"1", W/"1"',
        '"1", 1',
        '"1" "1"',
        '"1", "',
        '"1", *',
        '*, "1"',
        "*, *",
        '"1"; "1"',
        'w/"1"',
        ",",
        ", ,\t",
        '"1" ' + " " * 5000,
        ", ".join(f'"{version}"' for version in range(1, 102)),
        "," * 4097,
        '"' * 4000,
        '"1",' * 4000,
        '"1" , "\x7f"',
        '"\xff"',
        '"' + "9" * 4000 + '"',
    ]

    for tags in stale:
        for method, body in (("PATCH", {"full_name": "x"}), ("PATCH", {}), ("DELETE", None)):
            answer = await admin.request(method, path, json=body, headers={b"If-Match": tags.encode("latin-1")})
            assert (answer.status_code, answer.json()["code"]) == (412, "user_changed"), tags[:50]
    assert (await admin.get(path)).json() == made


async def test_who_holds_a_transaction_can_catch_a_conflict_and_go_on(accounts: Accounts, make_user: MakeUser) -> None:
    ada, bob = [UUID((await make_user(username=name, email=f"{name}@example.org"))["id"]) for name in ("ada", "bob")]

    async with accounts.writing() as db:
        await change_user(db, bob, UserUpdate(full_name="Bob"), versions={1}, at=accounts.clock())
        with pytest.raises(EmailTaken):
            await change_user(db, bob, UserUpdate(email="ada@example.org"), versions=None, at=accounts.clock())
        with pytest.raises(UserChanged):
            await change_user(db, ada, UserUpdate(full_name="Ada"), versions={2, 3}, at=accounts.clock())
        await change_user(db, bob, UserUpdate(external_id="crm-2"), versions={2}, at=accounts.clock())

    found = await stored(accounts, {"id": str(bob)})
    assert (found.full_name, found.email, found.external_id, found.version) == ("Bob", "bob@example.org", "crm-2", 3)


@pytest.mark.parametrize("field", ["full_name", "username"])
async def test_of_twenty_at_once_under_one_version_one_wins(
    admin: AsyncClient, make_user: MakeUser, field: str
) -> None:
    path = f"/users/{(await make_user())['id']}"
    answers: list[Response] = []

    async def attempt(number: int) -> None:
        answers.append(await admin.patch(path, json={field: f"try{number}"}, headers={"If-Match": '"1"'}))

    async with anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(attempt, number)

    [won] = [answer for answer in answers if answer.status_code == 200]
    assert [answer.status_code for answer in answers].count(412) == 19
    assert won.json() == (await admin.get(path)).json()
    assert won.json()["version"] == 2


async def test_of_twenty_at_once_without_a_version_all_count(admin: AsyncClient, make_user: MakeUser) -> None:
    path = f"/users/{(await make_user())['id']}"
    versions: list[int] = []

    async def attempt(number: int) -> None:
        field = "email" if number % 2 else "username"
        value = f"try{number}@example.org" if number % 2 else f"try{number}"
        versions.append((await admin.patch(path, json={field: value})).json()["version"])

    async with anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(attempt, number)

    assert sorted(versions) == list(range(2, 22))


async def test_of_many_who_want_one_name_one_gets_it(admin: AsyncClient, make_user: MakeUser) -> None:
    people = [await make_user() for _ in range(10)]
    codes: list[str] = []

    async def attempt(user: dict[str, Any], number: int) -> None:
        wanted = "".join(letter.upper() if number >> place & 1 else letter for place, letter in enumerate("wanted"))
        answer = await change(admin, user, username=wanted)
        codes.append("won" if answer.status_code == 200 else answer.json()["code"])

    async with anyio.create_task_group() as group:
        for number, user in enumerate(people):
            group.start_soon(attempt, user, number)

    assert sorted(codes) == ["username_taken"] * 9 + ["won"]


async def test_changing_needs_the_right_to(client: AsyncClient, make_user: MakeUser, make_key: MakeKey) -> None:
    made = await make_user()
    every_other = [scope for scope in Scope if scope is not Scope.USERS_WRITE]

    anybody = await change(client, made, full_name="x")
    client.headers.update(await make_key(*every_other))
    reader = await change(client, made, full_name="x")

    assert (anybody.status_code, anybody.json()["code"]) == (401, "credentials_missing")
    assert (reader.status_code, reader.json()["code"]) == (403, "scope_missing")
    assert (await client.get(f"/users/{made['id']}")).json() == made


def listen(accounts: Accounts) -> list[Event]:
    """Hear what happens from now on."""
    heard: list[Event] = []

    async def hear(_: Any, event: Event) -> None:
        heard.append(event)

    accounts.listeners = (hear,)
    return heard


async def stored(accounts: Accounts, user: dict[str, Any]) -> Any:
    async with accounts.database.read.session() as db:
        return await crud.get_user(db, UUID(user["id"]))
