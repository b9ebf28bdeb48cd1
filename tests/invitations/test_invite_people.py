"""Asking people in: who may, with which roles, and what becomes of invitations."""

from __future__ import annotations

import pytest
from httpx import AsyncClient
from sqlalchemy import select

from denizen.core.accounts import Accounts
from denizen.core.auth import Scope
from denizen.core.tokens import digest
from denizen.invitations.feature import FEATURE
from denizen.invitations.models import Invitation
from tests.account.conftest import Headers, Outbox
from tests.cli.conftest import Command
from tests.conftest import Clock, MakeKey
from tests.invitations.conftest import Invite, MakeRole, person
from tests.sessions.conftest import MakeAdmin

ACCEPT = "/auth/accept-invitation"


async def test_invitation_is_mailed_and_the_answer_has_no_link(
    client: AsyncClient, invite: Invite, inviter: Headers, outbox: Outbox, accounts: Accounts
) -> None:
    made = await invite(email="Grace@example.org")

    assert made["link"] is None
    (letter,) = await outbox()
    assert (letter.template, letter.address) == ("invitation", "Grace@example.org")
    assert letter.link.startswith("http://testserver/auth/accept-invitation?token=dzi_")
    assert "boss1 invites you" in letter.text
    shown = (await client.get(f"/invitations/{made['id']}", headers=inviter)).json()
    assert shown.items() <= made.items()
    async with accounts.database.read.session() as db:
        (stored,) = (await db.scalars(select(Invitation))).all()
    assert stored.token_digest == digest(letter.token)
    assert letter.token not in repr(stored) + str(shown)


async def test_without_an_address_the_link_is_shown_once(client: AsyncClient, invite: Invite, inviter: Headers) -> None:
    made = await invite()

    assert made["token"].startswith("dzi_")
    assert "link" not in (await client.get(f"/invitations/{made['id']}", headers=inviter)).json()
    assert made["token"] not in (await client.get("/invitations/", headers=inviter)).text


async def test_sent_again_with_its_key_it_is_one_invitation_with_the_same_link(
    client: AsyncClient, inviter: Headers
) -> None:
    headers = inviter | {"Idempotency-Key": "k1"}
    first = await client.post("/invitations/", json={}, headers=headers)
    again = await client.post("/invitations/", json={}, headers=headers)

    assert again.json() == first.json()
    assert len((await client.get("/invitations/", headers=inviter)).json()) == 1


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"email": "nobody"}, 422, "email_invalid"),
        ({"roles": ["nothing"]}, 404, "role_not_found"),
        ({"roles": ["admin"]}, 403, "beyond_caller"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, 422, "invitation_expiry_invalid"),
        ({"expires_at": "2030-01-01T00:00:00Z"}, 422, "invitation_expiry_invalid"),
        ({"inviter_id": None}, 422, "invalid"),
    ],
)
async def test_what_is_refused(
    client: AsyncClient, inviter: Headers, fields: dict[str, object], status: int, code: str
) -> None:
    refused = await client.post("/invitations/", json=fields, headers=inviter)
    assert (refused.status_code, refused.json()["code"]) == (status, code)


async def test_only_those_who_may_invite_do(client: AsyncClient, make_key: MakeKey, invite: Invite) -> None:
    made, headers = await invite(), await make_key(Scope.USERS_READ, Scope.USERS_WRITE)
    for method, path in (
        ("POST", "/invitations/"),
        ("GET", "/invitations/"),
        ("GET", f"/invitations/{made['id']}"),
        ("POST", f"/invitations/{made['id']}/resend"),
        ("DELETE", f"/invitations/{made['id']}"),
    ):
        body: dict[str, str] | None = {} if path.endswith("/") and method == "POST" else None
        hidden = 403 if path == "/invitations/" else 404  # of single things nobody learns that they are there
        assert (await client.request(method, path, json=body, headers=headers)).status_code == hidden, path
        assert (await client.request(method, path, json=body)).status_code == 401, path


async def test_list_is_paged(client: AsyncClient, invite: Invite, inviter: Headers) -> None:
    made = [(await invite())["id"] for _ in range(3)]
    first = await client.get("/invitations/?limit=2", headers=inviter)
    rest = await client.get(
        "/invitations/", params={"limit": 2, "cursor": first.headers["x-next-cursor"]}, headers=inviter
    )

    assert [each["id"] for each in first.json() + rest.json()] == made
    assert "x-next-cursor" not in rest.headers
    assert (await client.get("/invitations/?cursor=x", headers=inviter)).json()["code"] == "cursor_invalid"


async def test_one_taken_back_opens_nothing(client: AsyncClient, invite: Invite, inviter: Headers) -> None:
    made = await invite()
    path = f"/invitations/{made['id']}"
    for _ in range(2):
        assert (await client.delete(path, headers=inviter)).status_code == 204

    assert (await client.get(path, headers=inviter)).json()["revoked_at"] is not None
    assert (await client.post(ACCEPT, json=person(made["token"]))).json()["code"] == "link_invalid"
    assert (await client.post(f"{path}/resend", headers=inviter)).json()["code"] == "invitation_used"
    for missing in ("019a5c1e-7f00-7a11-8b22-3c33d44e55f6", "7"):
        gone = await client.delete(f"/invitations/{missing}", headers=inviter)
        assert (gone.status_code, gone.json()["code"]) == (404, "invitation_not_found")


async def test_one_sent_again_has_another_link_and_more_time(
    client: AsyncClient, invite: Invite, inviter: Headers, outbox: Outbox, clock: Clock
) -> None:
    made = await invite(email="grace@example.org")
    clock.turn(days=8)
    again = await client.post(f"/invitations/{made['id']}/resend", headers=inviter)

    assert (again.status_code, again.json()["link"]) == (200, None)
    old, new = [letter.token for letter in await outbox("invitation")]
    assert (await client.post(ACCEPT, json=person(old))).json()["code"] == "link_invalid"
    assert (await client.post(ACCEPT, json=person(new))).status_code == 201
    used = await client.post(f"/invitations/{made['id']}/resend", headers=inviter)
    assert (used.status_code, used.json()["code"]) == (409, "invitation_used")
    assert (await client.delete(f"/invitations/{made['id']}", headers=inviter)).json()["code"] == "invitation_used"


async def test_roles_beyond_ones_own_are_not_sent_again(
    client: AsyncClient, invite: Invite, inviter: Headers, make_admin: MakeAdmin, make_role: MakeRole
) -> None:
    """No take-over through ordinary rights."""
    await make_role("writer", Scope.USERS_WRITE)
    made = await invite(roles=["writer"], headers=await make_admin())

    refused = await client.post(f"/invitations/{made['id']}/resend", headers=inviter)
    assert (refused.status_code, refused.json()["code"]) == (403, "beyond_caller")


async def test_those_that_ended_are_kept_for_a_month(accounts: Accounts, invite: Invite, clock: Clock) -> None:
    await invite()
    (cleaner,) = FEATURE.cleaners
    for days, deleted in ((36, 0), (2, 1)):
        clock.turn(days=days)
        async with accounts.writing() as db:
            assert await cleaner.run(accounts, db, clock.at, 10) == deleted


@pytest.mark.slow
def test_operator_invites_lists_and_takes_back(command: Command) -> None:
    made = command("invitations", "create", "--role", "admin", "--expires", "12h", "--json").row
    assert made["roles"] == ["admin"]
    assert "?token=dzi_" in made["link"]
    mailed = command("invitations", "create", "--email", "grace@example.org", "--json").row
    assert mailed["link"] is None
    assert [row["id"] for row in command("invitations", "list", "--json").rows] == [made["id"], mailed["id"]]
    assert command("invitations", "revoke", made["id"], "--json").row["revoked"] is True
    assert [row["id"] for row in command("invitations", "list", "--json").rows] == [mailed["id"]]
    assert len(command("invitations", "list", "--ended", "--json").rows) == 2
    for arguments in (("--expires", "soon"), ("--expires", "0d"), ("--role", "nothing"), ("--email", "x")):
        assert command("invitations", "create", *arguments, "--json").code == 1, arguments
    assert command("invitations", "revoke", "7", "--json").problem["code"] == "invitation_not_found"
