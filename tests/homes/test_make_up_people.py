"""What tests of hosts do with people who are made up, and with an install of their own."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient
from pydantic import BaseModel

from denizen import Db, Settings, install, remote
from denizen.core.home import homes_of
from denizen.core.ids import new_id
from denizen.core.profiles import ProfileInvalid
from denizen.testing import Clock, FakeHome, NullHasher, faked, letters, make_person, make_settings
from tests.homes.sample import make_app


def reach(app: FastAPI) -> AsyncClient:
    return AsyncClient(transport=ASGITransport(app, raise_app_exceptions=False), base_url="http://host")


async def test_a_fake_stands_in_for_what_is_installed_and_goes(settings: Settings) -> None:
    app = make_app()
    remote("http://localhost", prefix="/x").attach(app)
    install(app, settings=settings, hasher=NullHasher())
    before = homes_of(app)

    with faked(app) as accounts:
        ada = accounts.make_person(username="ada")
        async with reach(app) as client:
            assert (await client.get("/greeting", headers=ada.headers)).json() == "Hello, ada"

    assert homes_of(app) == before
    with faked(FastAPI()) as accounts:
        assert accounts.make_person().user is not None


async def test_everything_that_can_happen_to_a_person_can_be_made_up() -> None:
    app, clock = make_app(), Clock()
    accounts = FakeHome(clock=clock).attach(app)
    ada = accounts.make_person("*", username="ada")
    soon = accounts.make_person(expires_in=timedelta(minutes=5))
    acting = accounts.make_person("notes:write", impersonator_id=new_id())
    key = accounts.make_key("notes:write", of=ada)

    async def status(who: Any, method: str = "GET", path: str = "/profile") -> int:
        async with reach(app) as client:
            return (await client.request(method, path, headers=who.headers)).status_code

    assert await status(ada, "POST", "/notes") == 201
    assert await status(key, "POST", "/notes") == 201
    assert await status(key, "DELETE", "/notes") == 403
    assert await status(acting, "DELETE", "/notes") == 403
    assert await status(soon) == 200
    clock.turn(minutes=5)
    assert await status(soon) == 401
    accounts.change(ada, suspended_at=clock(), suspended_until=clock() + timedelta(hours=1))
    assert (await status(ada), await status(key)) == (401, 401)
    clock.turn(hours=1)
    assert await status(ada) == 200
    accounts.change(ada, is_active=False)
    assert await status(ada) == 401
    with accounts.acting_as(acting):
        async with reach(app) as client:
            assert (await client.get("/greeting")).json() == "Hello, person3"
    accounts.remove(acting)
    assert await status(acting) == 401


async def test_a_key_goes_alone_and_an_account_with_its_keys() -> None:
    app = make_app()
    accounts = FakeHome().attach(app)
    ada, operator = accounts.make_person(), accounts.make_key()
    first, second = accounts.make_key(of=ada), accounts.make_key(of=ada)

    async def statuses() -> list[int]:
        async with reach(app) as client:
            asked = [await client.get("/caller", headers=who.headers) for who in (ada, first, second, operator)]
        return [answer.status_code for answer in asked]

    accounts.remove(first)
    assert await statuses() == [200, 401, 200, 200]
    accounts.remove(operator)
    accounts.remove(ada)
    assert await statuses() == [401, 401, 401, 401]


class Staff(BaseModel):
    department: str
    level: int | None = None


async def test_people_have_own_fields(settings: Settings) -> None:
    app = make_app()
    install(app, settings=settings, hasher=NullHasher(), profile=Staff)

    with faked(app) as accounts:
        ada = accounts.make_person(profile={"department": "sales"})
        accounts.change(ada, profile={"level": 7})
        told = await accounts.find_user(ada.caller)
        with pytest.raises(ProfileInvalid):
            accounts.make_person(profile={"level": 7})

        assert told is not None
        assert told["profile"] == {"department": "sales", "level": 7}
    anybody = FakeHome().make_person(profile={"shoe": 42})
    assert anybody.user is not None
    assert anybody.user.profile == {"shoe": 42}


def test_what_cannot_be_is_refused() -> None:
    accounts = FakeHome()

    with pytest.raises(ValueError, match="'notes' is not a permission"):
        accounts.make_person("notes")
    with pytest.raises(ValueError, match="An account has no surname"):
        accounts.make_person(surname="Lovelace")
    assert "dzs_" not in repr(accounts.make_person())


async def test_routes_that_need_a_database_say_so() -> None:
    app = FastAPI()

    @app.get("/")
    async def read(db: Db) -> None: ...

    with faked(app):
        async with AsyncClient(transport=ASGITransport(app), base_url="http://host") as client:
            with pytest.raises(LookupError, match=r"want `denizen\.install\(app\)`"):
                await client.get("/")


async def test_an_install_of_its_own_has_people_and_letters(tmp_path: Path) -> None:
    app, clock = make_app(), Clock()
    accounts = install(app, settings=make_settings(tmp_path), hasher=NullHasher(), clock=clock)
    ada = await make_person(accounts, "notes:write", email="ada@example.org")
    await make_person(accounts)

    async with reach(app) as client:
        assert (await client.post("/notes", headers=ada.headers)).status_code == 201
        await client.post("/auth/forgot-password", json={"email": "ada@example.org"})
        await client.post("/auth/magic-link", json={"email": "nobody@example.org"})

    (letter,) = await letters(accounts)
    assert (letter.to, letter in await letters(accounts, "ada@example.org")) == ("ada@example.org", True)
    assert await letters(accounts, "nobody@example.org") == []
    assert letter.links
    await accounts.close()
