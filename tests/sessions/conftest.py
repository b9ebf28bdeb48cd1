"""People who have signed in, as clients sign them in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest
from httpx import AsyncClient, Response

from denizen.core.accounts import Accounts
from denizen.roles.models import ADMIN_ID, Role, UserRole
from tests.conftest import MakeUser

PASSWORD = "correct horse battery"
Headers = dict[str, str]
SignIn = Callable[..., Awaitable[Headers]]
MakeAdmin = Callable[..., Awaitable[Headers]]


def bearer(token: str) -> Headers:
    return {"Authorization": f"Bearer {token}"}


async def login(client: AsyncClient, name: str = "ada", password: str = PASSWORD, **fields: Any) -> Response:
    """Send a sign-in, as JSON."""
    headers = fields.pop("headers", None)
    return await client.post("/auth/login", json={"username": name, "password": password, **fields}, headers=headers)


@pytest.fixture
async def ada(client: AsyncClient, make_user: MakeUser) -> dict[str, Any]:
    """A person with an account."""
    return await make_user(username="ada", email="Ada@example.org")


@pytest.fixture
def sign_in(client: AsyncClient, ada: dict[str, Any]) -> SignIn:
    """Sign somebody in, Ada unless said otherwise; gives the headers that carry the token."""

    async def act(name: str = "ada", **fields: Any) -> Headers:
        answer = await login(client, name, **fields)
        assert answer.status_code == 200, answer.text
        return bearer(answer.json()["access_token"])

    return act


@pytest.fixture
def give_role(accounts: Accounts) -> Callable[..., Awaitable[None]]:
    """Give somebody a role: the built-in administrator's, or one of some permissions."""

    async def give(user_id: str, *permissions: str) -> None:
        at: datetime = accounts.clock()
        async with accounts.writing() as db:
            role_id = ADMIN_ID
            if permissions:
                name = "role-" + "-".join(permissions).replace(":", ".")
                role = Role(name=name, description="", permissions=list(permissions), created_at=at, updated_at=at)
                db.add(role)
                await db.flush()
                role_id = role.id
            db.add(UserRole(user_id=UUID(user_id), role_id=role_id, granted_at=at))

    return give


@pytest.fixture
def make_admin(make_user: MakeUser, sign_in: SignIn, give_role: Callable[..., Awaitable[None]]) -> MakeAdmin:
    """Make somebody with permissions, all of them unless named, and sign him in."""
    count = iter(range(1, 1000))

    async def make(*permissions: str) -> Headers:
        name = f"boss{next(count)}"
        made = await make_user(username=name, email=f"{name}@example.org")
        await give_role(made["id"], *permissions)
        return await sign_in(name)

    return make


async def works(client: AsyncClient, headers: Headers) -> bool:
    """Whether a sign-in opens anything."""
    answer = await client.get("/auth/sessions/current", headers=headers)
    assert answer.status_code in {200, 401}, answer.text
    return answer.status_code == 200
