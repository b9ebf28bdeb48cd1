"""Finding people by any part of their names, in any script, on both databases."""

from __future__ import annotations

from uuid import UUID

import pytest
from httpx import AsyncClient
from hypothesis import HealthCheck, given
from hypothesis import settings as how
from hypothesis import strategies as st
from sqlalchemy import delete

from denizen.core.accounts import Accounts
from denizen.core.words import part_of_text, search_text, words_of
from denizen.search.crud import POOL
from denizen.transfer.adapters.formats import make_reader
from denizen.transfer.service import import_users
from denizen.users.errors import UserChanged
from denizen.users.models import User
from denizen.users.states import erase_user
from tests.conftest import MakeUser
from tests.search.conftest import Find
from tests.transfer.conftest import in_pieces

PEOPLE = {
    "ada": ("countess@example.org", "Ada Lovelace", "crm-1815"),
    "lovelyn": ("lyn@example.com", "Lyn Smith", None),
    "bo.li": ("bo.li@example.com", "Bo Li", None),
    "zhang": ("z@example.cn", "李明", None),
    "wang": ("w@example.cn", "王李明华", None),
    "nunez": ("jn@example.es", "José Núñez", None),
    "Щукин": ("olga@example.ru", "Ольга Щукина", "ff/77_x"),
    "thi": ("hoa@example.vn", "Đặng Thị Hòa", None),
}


@pytest.fixture
async def people(make_user: MakeUser, admin: AsyncClient) -> None:
    for username, (email, full_name, external_id) in PEOPLE.items():
        await make_user(username=username, email=email, full_name=full_name, external_id=external_id)


@pytest.mark.parametrize(
    ("q", "found"),
    [
        ("ada", ["ada"]),
        ("ADA", ["ada"]),
        ("lovel", ["lovelyn", "ada"]),  # the name that begins with it first
        ("velac", ["ada"]),
        ("love ada", ["ada"]),
        ("ada smith", []),
        ("countess@exam", ["ada"]),
        ("1815", ["ada"]),
        ("crm-1815", ["ada"]),
        ("CRM 18", ["ada"]),
        ("bo", ["bo.li"]),
        ("b", ["bo.li"]),
        ("li bo", ["bo.li"]),
        ("i", []),  # no word begins with it
        ("李明", ["zhang", "wang"]),
        ("明", ["zhang", "wang"]),
        ("王李", ["wang"]),
        ("nunez", ["nunez"]),
        ("NÚÑEZ jose", ["nunez"]),
        ("щук", ["Щукин"]),
        ("ЩУКИНА", ["Щукин"]),
        ("dang hoa", ["thi"]),
        ("77", ["Щукин"]),
        ("ff/77_x", ["Щукин"]),
        ("nobody", []),
        ("%", None),
        ("_", None),
        ('"', None),
        ("ada%", ["ada"]),
        ("ada' OR '1'='1", ["ada"]),
        ("ada NEAR lovelace", []),
        ("NOT ada", []),
        ("ada*", ["ada"]),
        ("text:ada", []),
        ("^ada", ["ada"]),
        ("\\ada", ["ada"]),
    ],
)
@pytest.mark.usefixtures("people")
async def test_people_are_found(admin: AsyncClient, q: str, found: list[str] | None) -> None:
    answer = await admin.get("/users/", params={"q": q})

    if found is None:
        assert answer.status_code == 422
        assert answer.json()["code"] == "search_invalid"
    else:
        assert answer.status_code == 200, answer.text
        assert [each["username"] for each in answer.json()] == found


async def test_a_long_name_is_found_by_all_of_it(make_user: MakeUser, find: Find) -> None:
    name = "uid=ada,ou=people,ou=engineering,ou=platform,dc=corp,dc=example,dc=co,dc=uk"
    await make_user(username="ada", external_id=name)

    assert await find(name) == ["ada"]


async def test_the_best_come_first(make_user: MakeUser, find: Find) -> None:
    for username, full_name in (
        ("x1", "Blacksmith"),
        ("x2", "Ann Smithson of Somewhere"),
        ("x3", "Ann Smith"),
        ("x4", "Ann Maria Smith"),
        ("smithy", "Ann"),
        ("smith", "Somebody with a very long name"),
    ):
        await make_user(username=username, email=f"{username}@example.org", full_name=full_name)

    assert await find("smith") == ["smith", "smithy", "x3", "x4", "x2", "x1"]
    assert await find("smith", limit=2) == ["smith", "smithy"]


async def test_somebody_is_found_by_the_names_they_have(admin: AsyncClient, make_user: MakeUser, find: Find) -> None:
    user = await make_user(username="ada", full_name="Ada Byron")
    path = f"/users/{user['id']}"

    assert (await admin.patch(path, json={"full_name": "Ada King", "external_id": "crm-7"})).status_code == 200
    assert [await find(q) for q in ("byron", "king", "crm 7")] == [[], ["ada"], ["ada"]]

    assert (await admin.patch(path, json={"username": "countess", "is_active": False})).status_code == 200
    assert [await find(q) for q in ("ada", "countess", "king")] == [["countess"]] * 3

    assert (await admin.patch(path, json={"full_name": None})).status_code == 200
    assert [await find(q) for q in ("ada", "king")] == [[], []]

    assert (await admin.delete(path)).status_code == 204
    assert [await find(q) for q in ("countess", "king")] == [[], []]


async def test_what_was_refused_leaves_no_trace(admin: AsyncClient, make_user: MakeUser, find: Find) -> None:
    ada = await make_user(username="ada")
    await make_user(username="eve")

    assert (await admin.patch(f"/users/{ada['id']}", json={"username": "eve"})).status_code == 409
    assert (await admin.delete(f"/users/{ada['id']}", headers={"If-Match": '"9"'})).status_code == 412
    taken = {"username": "new", "email": ada["email"], "password": "correct horse battery", "full_name": "New Name"}
    assert (await admin.post("/users/", json=taken)).status_code == 409

    assert [await find(q) for q in ("ada", "eve", "new")] == [["ada"], ["eve"], []]


async def test_a_caught_refusal_does_not_take_somebody_out_of_the_index(
    accounts: Accounts, make_user: MakeUser, find: Find
) -> None:
    """A host may go on after an error that it caught, and commit."""
    ada = await make_user(username="ada")
    async with accounts.writing() as db:
        with pytest.raises(UserChanged):
            await erase_user(db, UUID(ada["id"]), versions={9})

    assert await find("ada") == ["ada"]


@pytest.mark.slow
async def test_imported_people_are_found(accounts: Accounts, make_user: MakeUser, find: Find) -> None:
    await make_user(username="ada", email="ada@example.org")
    rows = "username,email,full_name\nada,x@example.org,Taken Name\ngrace,g@example.org,Grace Hopper\n李,,李明\n"
    async for _ in import_users(accounts, in_pieces(rows.encode()), make_reader("csv")):
        pass

    assert [await find(q) for q in ("hopper", "明", "taken", "ada")] == [["grace"], ["李"], [], ["ada"]]


async def test_somebody_a_host_erased_behind_our_back_is_not_found(
    accounts: Accounts, make_user: MakeUser, find: Find
) -> None:
    for name in ("ada", "eve"):
        await make_user(username=name, full_name="Same Name")
    async with accounts.writing() as db:
        await db.execute(delete(User).where(User.username == "ada"))

    assert await find("same name") == ["eve"]
    await make_user(username="new", full_name="Other Person")  # may get the number that became free
    assert await find("same") == ["eve"]
    assert await find("other") == ["new"]


async def test_more_than_are_shown_is_said(admin: AsyncClient, make_user: MakeUser) -> None:
    for number in range(3):
        await make_user(full_name=f"Same {number}")

    some = await admin.get("/users/", params={"q": "same", "limit": 2})
    every = await admin.get("/users/", params={"q": "same", "limit": 3})

    assert (len(some.json()), some.headers["x-results-cut"]) == (2, "true")
    assert (len(every.json()), every.headers.get("x-results-cut")) == (3, None)
    assert "link" not in some.headers


async def test_a_thousand_are_found_at_most_and_the_exact_name_among_them(
    accounts: Accounts, admin: AsyncClient, find: Find
) -> None:
    names = [f"same{number:04}" for number in range(POOL + 200)] + ["same"]
    rows = "username,full_name\n" + "".join(f"{name},Somebody Same\n" for name in names)
    async for _ in import_users(accounts, in_pieces(rows.encode(), 100_000), make_reader("csv")):
        pass

    answer = await admin.get("/users/", params={"q": "same", "limit": 1000})

    assert len({each["id"] for each in answer.json()}) == 1000
    assert answer.json()[0]["username"] == "same"
    assert answer.headers["x-results-cut"] == "true"
    assert await find("same", limit=1) == ["same"]


@pytest.mark.parametrize(
    ("beside", "field"),
    [
        ({"order_by": "id"}, "order_by"),
        ({"skip": 0}, "skip"),
        ({"is_active": True}, "is_active"),
        ({"count": "exact"}, "count"),
        ({"cursor": "x"}, "cursor"),
        ({"email": "a@example.org"}, "email"),
    ],
)
async def test_a_search_goes_with_limit_alone(admin: AsyncClient, beside: dict[str, str], field: str) -> None:
    answer = await admin.get("/users/", params={"q": "ada", **beside})

    assert answer.status_code == 422
    assert (answer.json()["code"], answer.json()["field"]) == ("listing_unsupported", field)


@pytest.mark.parametrize("q", ["", " ", "@ - .", "\u0301", "x" * 256, "a\x00b"])
async def test_what_cannot_be_looked_for_is_refused(admin: AsyncClient, q: str) -> None:
    answer = await admin.get("/users/", params={"q": q})

    assert answer.status_code == 422
    assert "x" * 256 not in answer.text


NAMES = st.text(st.sampled_from("aábBcß 1.-李明щЩ"), min_size=1, max_size=12)


@pytest.mark.slow
@given(names=st.lists(NAMES, min_size=1, max_size=6), asked=NAMES)
@how(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_found_is_whoever_has_every_word_and_nobody_else(
    accounts: Accounts, admin: AsyncClient, find: Find, names: list[str], asked: str
) -> None:
    async with accounts.writing() as db:
        await db.execute(delete(User))
    if not words_of(asked):
        return
    rows = "external_id,username,full_name\n" + "".join(f",u{n},{name}\n" for n, name in enumerate(names))
    async for _ in import_users(accounts, in_pieces(rows.encode()), make_reader("csv")):
        pass

    expected = {
        f"u{number}"
        for number, name in enumerate(names)
        if all(part_of_text(word) in search_text(f"u{number}", name) for word in words_of(asked))
    }
    assert set(await find(asked)) == expected
