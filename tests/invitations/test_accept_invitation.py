"""Whoever was asked in comes once, with the roles he was promised, as long as his inviter may give them."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from httpx import AsyncClient
from sqlalchemy import delete, func, select, update

from denizen.core.accounts import Accounts
from denizen.core.auth import Scope
from denizen.core.tokens import new_token
from denizen.invitations.service import invite as invite_by_hand
from denizen.roles.models import Role, UserRole
from denizen.users.models import User
from tests.account.conftest import Headers, Outbox, stored
from tests.conftest import PATIENT, Clock, MakeKey, MakeUser
from tests.invitations.conftest import Invite, MakeRole, person
from tests.sessions.conftest import MakeAdmin, bearer, login, works

ACCEPT = "/auth/accept-invitation"


class TestClosed:
    """It works where nobody signs up by himself."""

    @pytest.fixture
    def overrides(self) -> dict[str, Any]:
        return {"signup": "closed"}

    async def test_by_mail_it_makes_an_account_with_a_proved_address_and_signs_in(
        self, client: AsyncClient, accounts: Accounts, outbox: Outbox, clock: Clock
    ) -> None:
        async with accounts.writing() as db:
            await invite_by_hand(
                accounts, db, email="Grace@example.org", roles=["admin"], expires_at=None, caller=None, at=clock.at
            )
        (letter,) = await outbox()
        for _ in range(2):
            page = await client.get(letter.link)  # which spends nothing
            assert page.status_code == 200
            assert "Grace@example.org" in page.text
            assert 'name="email"' not in page.text
        clock.turn(days=6)
        answer = await client.post(ACCEPT, json=person(letter.token, full_name="Grace Hopper"))

        assert answer.status_code == 201
        headers = bearer(answer.json()["access_token"])
        (user,) = (await client.get("/users/", headers=headers)).json()
        assert (user["username"], user["email"], user["full_name"]) == ("grace", "Grace@example.org", "Grace Hopper")
        assert (await stored(accounts, user)).email_verified_at == clock.at
        assert (await client.get("/auth/sessions/current", headers=headers)).json()["method"] == "invitation"
        (shown,) = (await client.get("/invitations/", headers=headers)).json()
        assert (shown["user_id"], shown["accepted_at"] is not None) == (user["id"], True)


async def test_by_hand_the_address_is_given_by_whoever_comes_and_is_not_proved(
    client: AsyncClient, accounts: Accounts, invite: Invite, inviter: Headers
) -> None:
    made = await invite()
    answer = await client.post(ACCEPT, json=person(made["token"], email="grace@example.org"))

    assert answer.status_code == 201
    (user,) = (await client.get("/users/?email=grace@example.org", headers=inviter)).json()
    assert (await stored(accounts, user)).email_verified_at is None


async def test_address_of_the_invitation_stays(client: AsyncClient, invite: Invite, outbox: Outbox) -> None:
    await invite(email="grace@example.org")
    (letter,) = await outbox()

    refused = await client.post(ACCEPT, json=person(letter.token, email="eve@example.org"))
    assert (refused.status_code, refused.json()["code"]) == (422, "invitation_email_fixed")
    assert (await client.post(ACCEPT, json=person(letter.token, email="GRACE@example.org"))).status_code == 201


async def test_whose_address_has_an_account_is_told_once_the_token_is_known_to_be_valid(
    client: AsyncClient, invite: Invite, outbox: Outbox, make_user: MakeUser
) -> None:
    await make_user(email="grace@example.org")
    await invite(email="Grace@example.org")
    (letter,) = await outbox("invitation")

    refused = await client.post(ACCEPT, json=person(letter.token))
    assert (refused.status_code, refused.json()["code"]) == (409, "email_taken")
    unknown = await client.post(ACCEPT, json=person(new_token("dzi_"), email="grace@example.org"))
    assert (unknown.status_code, unknown.json()["code"]) == (422, "link_invalid")


async def test_what_is_refused_leaves_it_valid(client: AsyncClient, invite: Invite, make_user: MakeUser) -> None:
    await make_user(username="grace")
    token = (await invite())["token"]
    for fields, code in (({}, "username_taken"), ({"username": "g", "password": "password"}, "password_common")):
        assert (await client.post(ACCEPT, json=person(token, **fields))).json()["code"] == code

    form = person(token, username="hopper", email="", full_name="")
    weak = await client.post(ACCEPT, data=form | {"password": "short"}, headers={"Accept": "text/html"})
    assert (weak.status_code, 'value="hopper"' in weak.text, "at least 8 characters" in weak.text.lower()) == (
        422,
        True,
        True,
    )
    asked = await client.post(ACCEPT, data=form | {"cookie": "true"}, headers={"Accept": "text/html"})
    assert (asked.status_code, "set-cookie" in asked.headers) == (403, False)  # no cookies on plain http
    done = await client.post(ACCEPT, data=form, headers={"Accept": "text/html"})
    assert (done.status_code, "hopper" in done.text, "dzs_" in done.text) == (200, True, False)


async def test_it_gives_the_roles_that_were_promised(client: AsyncClient, invite: Invite, make_role: MakeRole) -> None:
    await make_role("reader", Scope.USERS_READ)
    made = await invite(roles=["reader"])
    headers = bearer((await client.post(ACCEPT, json=person(made["token"]))).json()["access_token"])

    assert (await client.get("/users/", headers=headers)).status_code == 200
    assert (await client.get("/invitations/", headers=headers)).status_code == 403


@pytest.mark.parametrize("change", ["role taken", "suspended", "deleted", "role changed", "role gone"])
async def test_what_the_inviter_may_not_give_any_more_is_not_given(
    client: AsyncClient, accounts: Accounts, invite: Invite, make_role: MakeRole, change: str
) -> None:
    """No take-over through ordinary rights: an old invitation gives nothing that its inviter lacks by now."""
    await make_role("reader", Scope.USERS_READ)
    made = await invite(roles=["reader"])
    at, owner = accounts.clock(), UUID(made["inviter_id"])
    changes: dict[str, Any] = {
        "suspended": update(User).where(User.id == owner).values(suspended_at=at),
        "deleted": update(User).where(User.id == owner).values(deleted_at=at),
    }
    changes["role taken"] = delete(UserRole).where(UserRole.user_id == owner)
    changes["role changed"] = update(Role).where(Role.name == "reader").values(permissions=["audit:read"])
    changes["role gone"] = delete(Role).where(Role.name == "reader")
    async with accounts.writing() as db:
        await db.execute(changes[change])

    refused = await client.post(ACCEPT, json=person(made["token"]))
    assert (refused.status_code, refused.json()["code"]) == (409, "invitation_beyond_inviter")
    async with accounts.database.read.session() as db:
        assert not (await db.scalars(select(User).where(User.username == "grace"))).all()


@pytest.mark.parametrize("owned", [True, False], ids=["a person's key", "the operator's key"])
@pytest.mark.parametrize("change", [None, "role changed", "revoked", "expired"])
async def test_what_a_key_invited_to_gives_no_more_than_the_key_may(
    client: AsyncClient,
    invite: Invite,
    make_role: MakeRole,
    make_admin: MakeAdmin,
    make_key: MakeKey,
    *,
    clock: Clock,
    change: str | None,
    owned: bool,
) -> None:
    """No take-over through ordinary rights: an invitation made with a key ends with it, and grows with no role."""
    await make_role("reader", Scope.USERS_READ)
    boss = await make_admin() if owned else await make_key()
    body = {
        "name": "x",
        "scopes": [Scope.INVITATIONS_WRITE, Scope.USERS_READ],
        "expires_at": (clock() + timedelta(hours=1)).isoformat(),
    }
    made = (await client.post("/keys/", json=body, headers=boss)).json()
    key = bearer(made["token"])
    with_roles, without = await invite(headers=key, roles=["reader"]), await invite(headers=key)
    if change == "role changed":
        more = {"permissions": [Scope.USERS_READ, Scope.USERS_EXPORT]}
        assert (await client.patch("/roles/reader", json=more, headers=boss)).status_code == 200
    elif change == "revoked":
        assert (await client.delete(f"/keys/{made['id']}", headers=boss)).status_code == 204
    elif change == "expired":
        clock.turn(hours=2)

    answers = [
        await client.post(ACCEPT, json=person(each["token"], username=name))
        for each, name in ((with_roles, "grace"), (without, "hopper"))
    ]

    refused = [answer.json().get("code") for answer in answers]
    ended = "invitation_beyond_inviter"
    assert refused == {None: [None, None], "role changed": [ended, None]}.get(change, [ended, ended])


class TestRace:
    @pytest.fixture
    def overrides(self) -> dict[str, Any]:
        return PATIENT

    @pytest.mark.slow
    async def test_of_twenty_that_accept_at_once_one_does(
        self, client: AsyncClient, accounts: Accounts, invite: Invite
    ) -> None:
        """Single use under parallel redemptions."""
        token = (await invite())["token"]
        async with accounts.database.read.session() as db:
            before = (await db.execute(select(func.count()).select_from(User))).scalar_one()
        answers = await asyncio.gather(
            *(client.post(ACCEPT, json=person(token, username=f"grace{n}")) for n in range(20))
        )

        assert sorted(answer.status_code for answer in answers) == [201] + [422] * 19
        async with accounts.database.read.session() as db:
            assert (await db.execute(select(func.count()).select_from(User))).scalar_one() == before + 1


async def test_it_expires_and_opens_nothing_else(client: AsyncClient, invite: Invite, clock: Clock) -> None:
    """A token of one purpose is refused at every other."""
    token = (await invite())["token"]
    for path, more in (
        ("/auth/verify", {}),
        ("/auth/magic-link/sign-in", {}),
        ("/auth/register/confirm", {"password": "correct horse battery"}),
    ):
        assert (await client.post(path, json={"token": token, **more})).json()["code"] == "link_invalid", path
    assert (await client.get("/users/", headers=bearer(token))).status_code == 401
    clock.turn(days=7, seconds=1)
    late = await client.post(ACCEPT, json=person(token))
    assert (late.status_code, late.json()["code"]) == (422, "link_invalid")
    assert (await client.get(ACCEPT, params={"token": token})).status_code == 422


@pytest.mark.parametrize("field", ["roles", "is_active", "email_verified_at", "id", "external_id"])
async def test_nobody_sets_more_of_himself(client: AsyncClient, invite: Invite, field: str) -> None:
    """Mass assignment is refused."""
    refused = await client.post(ACCEPT, json=person((await invite())["token"], **{field: True}))
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid")


class TestByCookie:
    @pytest.fixture
    def overrides(self) -> dict[str, Any]:
        return {"base_url": "https://accounts.example.org", "allowed_hosts": "testserver"}

    async def test_sign_in_that_the_browser_had_before_ends(
        self, client: AsyncClient, ada: dict[str, Any], invite: Invite
    ) -> None:
        """As at sign-in by password: nobody holds two, one of which he cannot see any more."""
        ((name, token),) = (await login(client, cookie=True)).cookies.items()
        body = person((await invite())["token"], cookie=True)

        answer = await client.post(ACCEPT, json=body, headers={"Cookie": f"{name}={token}"})

        assert answer.status_code == 201, answer.text
        assert not await works(client, bearer(token))
        assert await works(client, bearer(answer.cookies[name]))
