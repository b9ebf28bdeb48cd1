"""What a server elsewhere said is remembered for seconds and within bounds, and forgotten when somebody says so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from denizen import ReadDb, Settings, Unavailable, remote
from denizen.core.ids import new_id
from denizen.elsewhere.memory import Asking, Memory, Turns
from denizen.elsewhere.tokens import FETCH
from denizen.keys.service import revoke_key
from denizen.refresh.service import issue_tokens
from denizen.sessions.service import impersonate
from denizen.testing import Clock
from denizen.users.states import suspend_user
from tests.conftest import BASE_URL
from tests.homes.conftest import issue
from tests.homes.sample import make_app
from tests.homes.servers import Elsewhere, bearer, elsewhere

ASK = "/auth/introspect"
JWKS = "/.well-known/jwks.json"


@pytest.fixture
async def there(settings: Settings, clock: Clock) -> AsyncIterator[Elsewhere]:
    async with elsewhere(settings, clock) as made:
        yield made


async def suspend(there: Elsewhere, user_id: Any) -> None:
    async with there.accounts.writing() as db:
        await suspend_user(db, user_id, reason=None, until=None, at=there.clock(), caller=None)


async def test_a_sign_in_is_asked_about_once_in_a_while(there: Elsewhere) -> None:
    who, _ = await there.make_person()

    async with there.reach(keep=30) as client:
        for _ in range(3):
            assert (await client.get("/profile", headers=who.headers)).status_code == 200
        assert there.line.asked == [ASK, f"/users/{who.id}"]
        there.clock.turn(seconds=30)
        await client.get("/profile", headers=who.headers)

    assert len(there.line.asked) == 4


async def test_a_suspension_is_known_within_a_minute_though_nobody_told(there: Elsewhere) -> None:
    who, token = await there.make_person()

    async with there.reach(keep=60) as client:
        for headers in (who.headers, bearer(token)):
            assert (await client.get("/profile", headers=headers)).status_code == 200
        await suspend(there, who.id)
        there.clock.turn(seconds=60)
        for headers in (who.headers, bearer(token)):
            assert (await client.get("/profile", headers=headers)).status_code == 401
            assert (await client.get("/caller", headers=headers)).status_code == 401


async def test_an_account_that_is_suspended_is_nobodys_current_one(there: Elsewhere) -> None:
    who, token = await there.make_person()
    await suspend(there, who.id)

    async with there.reach() as client:
        assert (await client.get("/profile", headers=bearer(token))).status_code == 401


async def test_an_access_token_that_lives_longer_is_asked_about_after_a_minute(
    settings: Settings, clock: Clock
) -> None:
    async with elsewhere(settings.model_copy(update={"access_token_lifetime": 3600.0}), clock) as there:
        who, token = await there.make_person()
        async with there.reach() as client, there.reach(key=None) as without:
            await suspend(there, who.id)
            assert (await client.get("/caller", headers=bearer(token))).status_code == 200
            clock.turn(seconds=61)
            assert (await client.get("/caller", headers=bearer(token))).status_code == 401
            assert (await without.get("/caller", headers=bearer(token))).status_code == 200
            there.homes[1].forget(who.id)
            assert (await without.get("/caller", headers=bearer(token))).status_code == 401


async def test_who_is_forgotten_is_asked_about_at_once(there: Elsewhere) -> None:
    who, token = await there.make_person()
    other, _ = await there.make_person()

    async with there.reach() as client:
        (home,) = there.homes
        for headers in (who.headers, other.headers, bearer(token)):
            await client.get("/caller", headers=headers)
        await suspend(there, who.id)
        home.forget(who.id)
        there.line.asked.clear()

        assert (await client.get("/caller", headers=bearer(token))).status_code == 401
        assert (await client.get("/caller", headers=who.headers)).status_code == 401
        assert (await client.get("/caller", headers=other.headers)).status_code == 200
        assert there.line.asked == [ASK, ASK]
        home.forget()
        assert (await client.get("/caller", headers=other.headers)).status_code == 200
        assert len(there.line.asked) == 3


async def test_who_acts_in_anothers_place_is_forgotten_with_that(there: Elsewhere) -> None:
    (boss, _), (ada, _) = await there.make_person("users:impersonate"), await there.make_person()
    caller = await there.accounts.recognise(boss.headers["Authorization"], there.clock())
    assert caller is not None
    async with there.accounts.writing() as db:
        _, opaque = await impersonate(there.accounts, db, ada.id, caller=caller, at=there.clock())
    acting = await there.accounts.recognise(f"Bearer {opaque}", there.clock())
    assert acting is not None
    token = (await issue_tokens(there.accounts, acting, at=there.clock())).access_token

    async with there.reach() as client:
        for headers in (bearer(opaque), bearer(token)):
            assert (await client.get("/caller", headers=headers)).json()["user"] == str(ada.id)
        await suspend(there, boss.id)
        there.homes[0].forget(boss.id)
        for headers in (bearer(opaque), bearer(token), boss.headers):
            assert (await client.get("/caller", headers=headers)).status_code == 401


async def test_an_answer_of_before_is_not_believed(there: Elsewhere) -> None:
    who, _ = await there.make_person()

    async with there.reach() as client:
        there.line.held = asyncio.Event()
        asking = asyncio.create_task(client.get("/caller", headers=who.headers))
        await there.line.answered.wait()
        await suspend(there, who.id)
        there.homes[0].forget(who.id)
        there.line.held.set()

        assert (await asking).status_code == 401


async def test_whoever_else_is_forgotten_meanwhile_costs_nobody_anything(there: Elsewhere) -> None:
    who, _ = await there.make_person()
    key = bearer(await issue(there.accounts, "notes:write"))

    async with there.reach() as client:
        there.line.held = asyncio.Event()
        asking = []
        for _ in range(5):
            asking += [asyncio.create_task(client.get("/caller", headers=each)) for each in (who.headers, key)]
            await there.line.answered.wait()
            there.homes[0].forget(new_id())
        there.line.held.set()
        answers = await asyncio.gather(*asking)
        profile = await client.get("/profile", headers=who.headers)

    assert {each.status_code for each in (*answers, profile)} == {200}
    assert there.line.asked == [ASK, ASK, f"/users/{who.id}"]


async def test_many_at_once_ask_once(there: Elsewhere) -> None:
    who, _ = await there.make_person()

    async with there.reach() as client:
        answers = await asyncio.gather(*(client.get("/profile", headers=who.headers) for _ in range(20)))

    assert {answer.status_code for answer in answers} == {200}
    assert there.line.asked == [ASK, f"/users/{who.id}"]


async def test_without_a_network_nobody_is_let_in_by_guess(there: Elsewhere) -> None:
    who, _ = await there.make_person()

    async with there.reach() as client:
        await client.get("/profile", headers=who.headers)
        there.line.is_cut = True
        assert (await client.get("/profile", headers=who.headers)).status_code == 200
        there.clock.turn(seconds=30)
        refused = await client.get("/profile", headers=who.headers)
        stranger = await client.get("/greeting")

    assert (refused.status_code, refused.json()["code"], refused.headers["retry-after"]) == (503, "unavailable", "1")
    assert stranger.json() == "Hello, stranger"


async def test_a_server_that_does_not_answer_is_waited_for_once(there: Elsewhere) -> None:
    who, token = await there.make_person()
    there.line.held = asyncio.Event()

    async with there.reach(timeout=0.05) as client:
        refused = [await client.get("/caller", headers=headers) for headers in (who.headers, bearer(token))]

    assert [answer.status_code for answer in refused] == [503, 503]
    assert there.line.asked == [ASK, JWKS]


async def test_a_service_whose_key_is_no_good_blames_nobody_else(there: Elsewhere) -> None:
    who, _ = await there.make_person()
    at = there.clock()
    caller = await there.accounts.recognise(f"Bearer {there.key}", at)
    assert caller is not None
    async with there.accounts.writing() as db:
        await revoke_key(db, caller.id, by=None, at=at)

    async with there.reach() as client:
        refused = await client.get("/caller", headers=who.headers)
    with pytest.raises(Unavailable) as raised:
        await there.homes[0].recognise(who.headers["Authorization"], at)

    assert refused.status_code == 503
    assert "credentials_invalid" in str(raised.value)
    assert "credentials" not in refused.json()["detail"]


async def test_an_address_where_denizen_is_not_is_the_operators_matter(there: Elsewhere) -> None:
    """A 404 of whoever answers there is no answer to whoever calls, and no reason to ask for each token."""
    who, token = await there.make_person()

    async with there.reach(url=f"{BASE_URL}/elsewhere", issuer=BASE_URL) as client:
        refused = [await client.get("/caller", headers=each) for each in (who.headers, bearer(token), bearer(token))]

    assert [each.status_code for each in refused] == [503, 503, 503]
    assert sum(path.endswith(JWKS) for path in there.line.asked) == 1


async def test_a_server_of_another_name_is_the_operators_matter(there: Elsewhere) -> None:
    who, _ = await there.make_person()

    async with there.reach(issuer="https://accounts.example.org") as client:
        refused = await client.get("/caller", headers=who.headers)
    with pytest.raises(Unavailable, match=r"calls itself http://testserver: say so by remote\(\.\.\., issuer=\.\.\.\)"):
        await there.homes[0].recognise(who.headers["Authorization"], there.clock())

    assert refused.status_code == 503


async def test_no_token_is_kept_or_told(there: Elsewhere) -> None:
    who, token = await there.make_person()
    opaque = who.headers["Authorization"].removeprefix("Bearer ")

    async with there.reach() as client:
        for headers in (who.headers, bearer(token), bearer("dzs_" + "A" * 43)):
            await client.get("/profile", headers=headers)
    (home,) = there.homes
    shown = [repr(home), repr(home.client), repr(home.checker)]
    kept = [repr(vars(memory)) for memory in (home._callers, home._strangers, home._users)]

    for secret in (opaque, token, there.key):
        assert not any(secret in text for text in shown + kept)


async def test_what_is_remembered_is_bounded(there: Elsewhere) -> None:
    people = [(await there.make_person())[0] for _ in range(3)]

    async with there.reach(most=2) as client:
        for who in people:
            assert (await client.get("/profile", headers=who.headers)).status_code == 200
        (home,) = there.homes
        for who in people:
            home.forget(who.id)
        assert (len(home._callers), len(home._users), len(home._forgotten)) == (0, 0, 2)
        assert home._all_forgotten == there.clock()  # so that the one who had no room is asked about as well


def test_a_memory_ends_and_knows_no_future(clock: Clock) -> None:
    memory: Memory[str, int] = Memory(2)
    memory.put("a", 1, since=clock(), until=clock() + timedelta(seconds=5))

    assert memory.get("a", clock()) == 1
    assert memory.get("a", clock() - timedelta(seconds=1)) is None
    memory.put("a", 1, since=clock(), until=clock() + timedelta(seconds=5))
    assert memory.get("a", clock() + timedelta(seconds=5)) is None


def test_who_was_forgotten_meanwhile_is_bounded() -> None:
    turns: Turns[str] = Turns(2)
    began = turns.now
    turns.forget("a")
    assert [turns.forgotten(who, since=began) for who in ("a", "ba", "b", "")] == [True, True, False, False]
    between = turns.now
    for who in ("b", "c"):
        turns.forget(who)

    assert len(turns) == 2
    assert turns.forgotten("d", since=began)  # as "a" was, of whom nothing is known any more
    assert not turns.forgotten("d", since=between)
    turns.forget(None)
    assert turns.forgotten("", since=between)
    assert not turns.forgotten("a", since=turns.now)


async def test_who_goes_away_takes_the_answer_from_nobody() -> None:
    asking, go = Asking(), asyncio.Event()

    async def ask() -> int:
        await go.wait()
        return 7

    first = asyncio.create_task(asking.once("x", ask))
    second = asyncio.create_task(asking.once("x", ask))
    await asyncio.sleep(0)
    first.cancel()
    go.set()

    assert await second == 7
    assert not asking.asks("x")


@pytest.mark.parametrize("url", ["http://accounts.example.org", "https://ada:pw@example.org"])
def test_an_address_that_cannot_be_trusted_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"Over http://|credentials"):
        remote(url)


@pytest.mark.parametrize("options", [{"keep": 0}, {"keep": 61}, {"most": 0}])
def test_bounds_that_are_none_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="keep is"):
        remote("https://accounts.example.org", **options)


def test_two_homes_under_one_prefix_are_refused() -> None:
    app = FastAPI()
    remote("http://127.0.0.1:8000").attach(app)
    with pytest.raises(ValueError, match="already installed"):
        remote(BASE_URL, insecure=True).attach(app)


async def test_what_cannot_be_had_elsewhere_is_told_at_the_start() -> None:
    with_database, without_key = FastAPI(), make_app()
    remote("http://localhost", "dzk_key").attach(with_database)
    remote("http://localhost").attach(without_key)

    @with_database.get("/pets")
    async def list_pets(db: ReadDb) -> None: ...

    for app, told in (
        (with_database, r"GET /pets: .* want `denizen\.install"),
        (without_key, r"GET /profile.*: .*API key"),
    ):
        with pytest.raises(LookupError, match=told):
            async with app.router.lifespan_context(app):
                pass


@pytest.mark.parametrize("closes", [True, False])
def test_a_home_goes_on_in_another_event_loop(closes: bool) -> None:
    """As with one application and a `TestClient` for each test."""
    server = FastAPI()

    @server.get(JWKS)
    async def show_keys() -> dict[str, list[str]]:
        return {"keys": []}

    home = remote("https://accounts.example.org", transport=httpx.ASGITransport(server))

    async def look() -> None:
        assert await home.client.run(FETCH) == {}
        if closes:
            await home.close()

    for _ in range(2):
        asyncio.run(look())
