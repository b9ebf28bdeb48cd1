"""People with accounts, their letters, and sign-ins of theirs."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from httpx import AsyncClient, Response
from sqlalchemy import select, update

from denizen.core.accounts import Accounts
from denizen.core.tokens import digest, new_token
from denizen.keys.models import Key
from denizen.mail.models import Mail
from denizen.sessions.service import open_session
from denizen.users.models import User
from tests.conftest import PATIENT, MakeUser

PASSWORD = "correct horse battery"
ANOTHER = "a staple of seven seas"

Headers = dict[str, str]
SignIn = Callable[..., Awaitable[Headers]]


@pytest.fixture
def overrides() -> dict[str, Any]:
    return dict(PATIENT)


@dataclass
class Letter:
    """One from the outbox."""

    template: str
    address: str
    text: str

    @property
    def token(self) -> str:
        """That of the link in it."""
        (found,) = set(re.findall(r"token=(\w{4}[\w-]{43})", self.text))
        return str(found)

    @property
    def link(self) -> str:
        """The address of the page."""
        return str(re.findall(r"https?://\S+token=[\w-]+", self.text)[0])


Outbox = Callable[..., Awaitable[list[Letter]]]


@pytest.fixture
def outbox(accounts: Accounts) -> Outbox:
    """All letters so far, the oldest first; of one template where it is named."""

    async def read(template: str | None = None) -> list[Letter]:
        async with accounts.database.read.session() as db:
            mails = (await db.scalars(select(Mail).order_by(Mail.id))).all()
        found = []
        for mail in mails:
            assert mail.content is not None
            text = json.loads(accounts.secret.unseal("mail", mail.content))["text"]
            found.append(Letter(mail.template, mail.address, text))
        return [each for each in found if template in {None, each.template}]

    return read


@pytest.fixture
async def ada(make_user: MakeUser) -> dict[str, Any]:
    """A person whose address nobody has proved."""
    return await make_user(username="ada", email="Ada@example.org")


@pytest.fixture
def sign_in(accounts: Accounts) -> SignIn:
    """Sign somebody in; gives the headers that carry the token."""

    async def act(user: dict[str, Any]) -> Headers:
        async with accounts.writing() as db:
            _, token = await open_session(accounts, db, UUID(user["id"]), method="password", at=accounts.clock())
        return {"Authorization": f"Bearer {token}"}

    return act


class Scene(NamedTuple):
    """What most tests here need, in one fixture."""

    client: AsyncClient
    accounts: Accounts
    outbox: Outbox
    sign_in: SignIn


@pytest.fixture
def scene(client: AsyncClient, accounts: Accounts, outbox: Outbox, sign_in: SignIn) -> Scene:
    return Scene(client, accounts, outbox, sign_in)


async def proved(accounts: Accounts, user: dict[str, Any], **values: Any) -> None:
    """Let an address count as proved, and set other columns of the account."""
    await set_columns(accounts, user, email_verified_at=accounts.clock(), **values)


async def set_columns(accounts: Accounts, user: dict[str, Any], **values: Any) -> None:
    async with accounts.writing() as db:
        await db.execute(update(User).where(User.id == UUID(user["id"])).values(**values))


async def stored(accounts: Accounts, user: dict[str, Any]) -> User:
    """The account as it is in the database."""
    async with accounts.database.read.session() as db:
        return (await db.scalars(select(User).where(User.id == UUID(user["id"])))).one()


async def give_key(accounts: Accounts, user: dict[str, Any]) -> Headers:
    """Give somebody an API key of his own."""
    token = new_token("dzk_")
    async with accounts.writing() as db:
        db.add(
            Key(
                name="own",
                hint=token[:8],
                token_digest=digest(token),
                scopes=["users:read"],
                created_at=accounts.clock(),
                user_id=UUID(user["id"]),
                expires_at=accounts.clock() + timedelta(days=1),
            )
        )
    return {"Authorization": f"Bearer {token}"}


async def fits(accounts: Accounts, user: dict[str, Any], password: str) -> bool:
    """Whether it is the account's password."""
    hashed = (await stored(accounts, user)).hashed_password
    return hashed is not None and accounts.hashing.hasher.verify(password, hashed)


async def opens(accounts: Accounts, headers: Headers) -> bool:
    """Whether credentials are those of anybody."""
    from denizen.core.auth import CredentialsInvalid

    try:
        return await accounts.recognise(headers["Authorization"], accounts.clock()) is not None
    except CredentialsInvalid:
        return False


async def ask(client: AsyncClient, path: str, email: str, **headers: str) -> Response:
    """Ask for a letter."""
    return await client.post(path, json={"email": email}, headers=headers)


def code(answer: Response) -> str:
    """What kind of error it is."""
    return str(answer.json()["code"])
