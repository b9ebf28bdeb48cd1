"""What routes ask for by annotation: sessions, the caller, the time.

| annotation | gives |
| --- | --- |
| `Here` | this request's `Accounts` |
| `Db` | a session that writes; committed after the answer is built and before it is sent |
| `ReadDb` | a session that reads, on a connection that refuses writes |
| `Reads` | the hot path: compiled statements on the driver |
| `Now` | the instant of the request, UTC |
| `OptionalCaller` | the caller, or `None` for an anonymous one; bad credentials are a 401 all the same |
| `CurrentCaller` | the caller, or a 401 |
| `requires(...)` | the caller, or a 401 or 403 |
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.security import HTTPBearer
from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.accounts import Accounts
from denizen.core.auth import Caller, CredentialsMissing, Scope, recognise
from denizen.core.database import Reader

STATE = "denizen_installs"
"""The name in `app.state` under which an application keeps what was installed in it."""

_bearer = HTTPBearer(
    scheme_name="API key",
    description="An API key, `dzk_...`. `denizen serve` shows the first one; `denizen keys create` makes more.",
    auto_error=False,
)


ACCOUNTS = "denizen.accounts"
"""The key in an ASGI scope under which our own routes find their install; see `Router.bound`."""


def installs_of(app: Any) -> list[Accounts]:
    """Give what was installed in `app`."""
    found: list[Accounts] = getattr(app.state, STATE, [])
    return found


async def accounts_of(request: Request) -> Accounts:
    """Find the install that a request belongs to: its own for our routes, the only one for a host's."""
    own: Accounts | None = request.scope.get(ACCOUNTS)
    if own is not None:
        return own
    installs = installs_of(request.app)
    if len(installs) != 1:
        raise LookupError(f"{len(installs)} installs of Denizen in this application: name the one you mean")
    return installs[0]


Here = Annotated[Accounts, Depends(accounts_of)]


async def write_session(accounts: Here) -> AsyncIterator[AsyncSession]:
    """Open a transaction, commit it when the answer is built, roll it back when anything raises."""
    async with accounts.writing() as db:
        yield db


async def read_session(accounts: Here) -> AsyncIterator[AsyncSession]:
    """Open a reading session."""
    async with accounts.database.read.session() as db:
        yield db


async def reader(accounts: Here) -> Reader:
    """Give the hot path."""
    return accounts.database.read


async def now(accounts: Here) -> datetime:
    """Give this instant by the install's clock."""
    return accounts.clock()


# scope="function": FastAPI's default would commit only after the client has its answer.
Db = Annotated[AsyncSession, Depends(write_session, scope="function")]
ReadDb = Annotated[AsyncSession, Depends(read_session, scope="function")]
Reads = Annotated[Reader, Depends(reader)]
Now = Annotated[datetime, Depends(now)]


async def optional_caller(
    request: Request, accounts: Here, at: Now, _: Annotated[Any, Depends(_bearer)]
) -> Caller | None:
    """Recognise the caller, if there are credentials."""
    return await recognise(accounts, request.headers.get("authorization"), at)


OptionalCaller = Annotated[Caller | None, Depends(optional_caller)]


async def current_caller(caller: OptionalCaller) -> Caller:
    """Recognise the caller."""
    if caller is None:
        raise CredentialsMissing("This needs credentials: send `Authorization: Bearer` and an API key.")
    return caller


CurrentCaller = Annotated[Caller, Depends(current_caller)]


def requires(*scopes: Scope) -> Callable[..., Awaitable[Caller]]:
    """Give a dependency that lets through only callers who hold all of `scopes`."""

    async def check(caller: CurrentCaller) -> Caller:
        caller.must(*scopes)
        return caller

    return check


CanReadUsers = Annotated[Caller, Depends(requires(Scope.USERS_READ))]
CanWriteUsers = Annotated[Caller, Depends(requires(Scope.USERS_WRITE))]
CanWriteKeys = Annotated[Caller, Depends(requires(Scope.KEYS_WRITE))]
