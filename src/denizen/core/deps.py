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

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.security import HTTPBearer
from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.accounts import Accounts
from denizen.core.auth import Caller, CredentialsMissing, Scope
from denizen.core.database import Reader

STATE = "denizen_installs"
"""The name in `app.state` under which an application keeps what was installed in it."""

ACCOUNTS = "denizen.accounts"
"""The key in an ASGI scope under which our own routes find their install; see `Router.bound`."""


def installs_of(app: Any) -> list[Accounts]:
    """Give what was installed in `app`."""
    found: list[Accounts] = getattr(app.state, STATE, [])
    return found


def accounts_of(request: Request) -> Accounts:
    """Find the install that a request belongs to: its own for our routes, the only one for a host's."""
    own: Accounts | None = request.scope.get(ACCOUNTS)
    if own is not None:
        return own
    installs = installs_of(request.app)
    if len(installs) != 1:
        raise LookupError(f"{len(installs)} installs of Denizen in this application: name the one you mean")
    return installs[0]


# Each of these asks the request itself instead of depending on another: FastAPI takes 20 to 40 microseconds to solve
# a dependency, which is more than a read by key costs.


async def here(request: Request) -> Accounts:
    """Give the install."""
    return accounts_of(request)


async def write_session(request: Request) -> AsyncIterator[AsyncSession]:
    """Open a transaction, commit it when the answer is built, roll it back when anything raises."""
    async with accounts_of(request).writing() as db:
        yield db


async def read_session(request: Request) -> AsyncIterator[AsyncSession]:
    """Open a reading session."""
    async with accounts_of(request).database.read.session() as db:
        yield db


async def reader(request: Request) -> Reader:
    """Give the hot path."""
    return accounts_of(request).database.read


async def now(request: Request) -> datetime:
    """Give this instant by the install's clock."""
    return accounts_of(request).clock()


Here = Annotated[Accounts, Depends(here)]
# scope="function": FastAPI's default would commit only after the client has its answer.
Db = Annotated[AsyncSession, Depends(write_session, scope="function")]
ReadDb = Annotated[AsyncSession, Depends(read_session, scope="function")]
Reads = Annotated[Reader, Depends(reader)]
Now = Annotated[datetime, Depends(now)]


class Bearer(HTTPBearer):
    """Recognises the caller in one dependency, which documents itself in OpenAPI.

    Args:
        scopes: all of which the caller must hold.
        optional: let somebody without credentials through, as `None`; bad credentials are a 401 all the same.
    """

    def __init__(self, *scopes: Scope, optional: bool = False) -> None:
        super().__init__(scheme_name="API key", description=_ABOUT_KEYS, auto_error=False)
        self._scopes = scopes
        self._optional = optional

    async def __call__(self, request: Request) -> Caller | None:  # type: ignore[override]  # a caller, not the header's parts
        """Recognise the caller, or refuse.

        Raises:
            CredentialsMissing, CredentialsInvalid: nobody, or nobody known.
            ScopeMissing: somebody who lacks a scope.
        """
        accounts = accounts_of(request)
        caller = await accounts.recognise(request.headers.get("authorization"), accounts.clock())
        if caller is None:
            if self._optional:
                return None
            raise CredentialsMissing("This needs credentials: send `Authorization: Bearer` and an API key.")
        caller.must(*self._scopes)
        return caller


_ABOUT_KEYS = "An API key, `dzk_...`. `denizen serve` shows the first one; `denizen keys create` makes more."


def requires(*scopes: Scope) -> Any:
    """Give a dependency that lets through only callers who hold all of `scopes`."""
    return Depends(Bearer(*scopes))


OptionalCaller = Annotated[Caller | None, Depends(Bearer(optional=True))]
CurrentCaller = Annotated[Caller, requires()]
CanReadUsers = Annotated[Caller, requires(Scope.USERS_READ)]
CanWriteUsers = Annotated[Caller, requires(Scope.USERS_WRITE)]
CanWriteKeys = Annotated[Caller, requires(Scope.KEYS_WRITE)]
