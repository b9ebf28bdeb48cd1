"""People who may invite, and letters as those who are asked in get them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from httpx import AsyncClient

from denizen.core.accounts import Accounts
from denizen.core.auth import Scope
from denizen.roles.schemas import RoleCreate
from denizen.roles.service import define_role
from tests.account.conftest import Headers, outbox
from tests.cli.conftest import command, environment
from tests.sessions.conftest import MakeAdmin, ada, give_role, make_admin, sign_in

__all__ = ["ada", "command", "environment", "give_role", "make_admin", "outbox", "sign_in"]

Invite = Callable[..., Awaitable[dict[str, Any]]]
MakeRole = Callable[..., Awaitable[None]]


@pytest.fixture
def make_role(accounts: Accounts) -> MakeRole:
    """Define a role."""

    async def make(name: str, *permissions: str) -> None:
        async with accounts.writing() as db:
            data = RoleCreate(name=name, permissions=set(permissions))
            await define_role(db, data, caller=None, at=accounts.clock())

    return make


@pytest.fixture
async def inviter(make_admin: MakeAdmin) -> Headers:
    """Somebody who may invite, and see accounts."""
    return await make_admin(Scope.INVITATIONS_WRITE, Scope.USERS_READ)


@pytest.fixture
def invite(client: AsyncClient, inviter: Headers) -> Invite:
    """Invite somebody; gives the invitation as answered, and its token where there is a link in it."""

    async def act(**fields: Any) -> dict[str, Any]:
        headers = fields.pop("headers", inviter)
        answer = await client.post("/invitations/", json=fields, headers=headers)
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made | {"token": (made["link"] or "").partition("?token=")[2]}

    return act


def person(token: str, **fields: Any) -> dict[str, Any]:
    """What somebody sends who accepts."""
    return {"token": token, "username": "grace", "password": "correct horse battery", **fields}
