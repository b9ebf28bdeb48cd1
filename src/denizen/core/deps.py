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

They mean the install that a request belongs to; `denizen.dependencies` has the same for one that is named. The caller
is known by whichever `Home` the application has, our tables only by an install in it. All but the sessions are for
WebSockets too.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import Depends
from fastapi.security import HTTPBearer, OAuth2PasswordBearer
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import HTTPConnection

from denizen.core.accounts import Accounts
from denizen.core.auth import Caller, CredentialsMissing, Scope, is_permission
from denizen.core.cookies import credentials_of
from denizen.core.database import Reader
from denizen.core.home import Home, homes_of
from denizen.core.origin import CALLER
from denizen.core.routing import ACCOUNTS

ELSEWHERE: Final = (
    "The accounts of this application are not in a database of its own: `Db`, `ReadDb`, `Here` and what else needs "
    "our tables want `denizen.install(app)`. `CurrentUser`, `CurrentCaller` and `requires` work here as well."
)

TOO_LONG: Final = (
    "A WebSocket lives for longer than a session may: `Db` and `ReadDb` are for requests. Ask for `Here`, and open "
    "`async with accounts.writing() as db` or `accounts.database.read.session()` for each message."
)

Which = Home | str | None
"""A home, the prefix of one, or the one that a request belongs to."""


def installs_of(app: Any) -> list[Accounts]:
    """Give what was installed in `app`."""
    return [home for home in homes_of(app) if isinstance(home, Accounts)]


def home_of(request: HTTPConnection, which: Which = None) -> Home:
    """Find who knows the caller of a request: the install for our routes, the only home for a host's, or the one that
    is named.

    Raises:
        LookupError: none is there, or several and none is named; the text says what to do.
    """
    if which is None:
        own: Home | None = request.scope.get(ACCOUNTS)
        if own is not None:
            return own
    elif not isinstance(which, str):
        return which
    homes = homes_of(request.app)
    found = homes if which is None else [each for each in homes if each.prefix == which]
    if len(found) != 1:
        raise LookupError(why_none(homes, which))
    return found[0]


def accounts_of(request: HTTPConnection, which: Which = None) -> Accounts:
    """Find the install that a request belongs to, as `home_of`.

    Raises:
        LookupError: as `home_of`; or the accounts are elsewhere, so that there is no database of theirs here.
    """
    found = home_of(request, which)
    if isinstance(found, Accounts):
        return found
    raise LookupError(ELSEWHERE)


def asks_home(dependency: object) -> bool:
    """Whether a dependency is one of these, and has a `which`."""
    return isinstance(dependency, _Value | _Instant | _Session | Bearer)


def asks_tables(dependency: object) -> bool:
    """Whether it wants an install, and no home without our tables will do."""
    return isinstance(dependency, _Value | _Session)


def asks_session(dependency: object) -> bool:
    """Whether it opens a session, which ends with the request."""
    return isinstance(dependency, _Session)


def why_none(installs: Sequence[Home], which: str | None) -> str:
    """Say why none of `installs` can be the one that a route means, and what to do about it.

    Args:
        installs: those of its application.
        which: the prefix that it names.
    """
    if not installs:
        return (
            "Denizen is not installed in the application that has this route: call `denizen.install(app)` on it. Where "
            "it is installed in another one, which mounts this one or is mounted in it, keep what `install` returned "
            "and take the dependencies of that: `Annotated[AsyncSession, accounts.db]`."
        )
    prefixes = " and ".join(repr(each.prefix) for each in installs)
    if which is not None:
        return f"Nothing is installed under {which!r} in this application, but under {prefixes}."
    return (
        f"Denizen is installed {len(installs)} times in this application, under {prefixes}: say which one you mean, "
        "by what `install` returned, `Annotated[AsyncSession, accounts.db]`, or by its prefix, "
        f"`Annotated[AsyncSession, Dependencies({installs[0].prefix!r}).db]`."
    )


# Each of these asks the request itself instead of depending on another: FastAPI takes 20 to 40 microseconds to solve
# a dependency, which is more than a read by key costs. They are equal where they mean the same, so that FastAPI gives a
# request one session, however often its install is named.


@dataclass(frozen=True, slots=True)
class _Value:
    """A dependency on something that an install has at hand."""

    which: Which
    get: Callable[[Accounts], Any]

    async def __call__(self, request: HTTPConnection) -> Any:
        return self.get(accounts_of(request, self.which))


@dataclass(frozen=True, slots=True)
class _Instant:
    """A dependency on the present, which any home knows."""

    which: Which

    async def __call__(self, request: HTTPConnection) -> datetime:
        return home_of(request, self.which).clock()


@dataclass(frozen=True, slots=True)
class _Session:
    """A dependency on a session of an install."""

    which: Which
    open: Callable[[Accounts], AbstractAsyncContextManager[AsyncSession]]

    async def __call__(self, request: HTTPConnection) -> AsyncIterator[AsyncSession]:
        if request.scope["type"] == "websocket":
            raise LookupError(TOO_LONG)
        async with self.open(accounts_of(request, self.which)) as db:
            yield db


class Bearer(HTTPBearer):
    """Recognises the caller in one dependency, which documents itself in OpenAPI.

    Args:
        scopes: all of which the caller must hold.
        which: the install whose caller it is.
        optional: let somebody without credentials through, as `None`; bad credentials are a 401 all the same.
    """

    def __init__(self, *scopes: str, which: Which = None, optional: bool = False) -> None:
        for scope in scopes:
            if not is_permission(scope):
                raise ValueError(f"{scope!r} is not a permission: take one of Scope, or a name like notes:write.")
        super().__init__(scheme_name="APIKey", description=_ABOUT_KEYS, auto_error=False)
        self.which = which
        self._scopes = scopes
        self._optional = optional

    async def __call__(self, request: HTTPConnection) -> Caller | None:  # type: ignore[override]  # a caller, not the header's parts
        """Recognise the caller, or refuse.

        Raises:
            CredentialsMissing, CredentialsInvalid: nobody, or nobody known.
            ScopeMissing: somebody who lacks a scope.
        """
        home = home_of(request, self.which)
        # A cookie is signed and named by the install that set it, which alone knows it again.
        sent = credentials_of(request, home) if isinstance(home, Accounts) else request.headers.get("authorization")
        caller = await home.recognise(sent, home.clock())
        if caller is None:
            if self._optional:
                return None
            raise CredentialsMissing("This needs credentials: send `Authorization: Bearer` and a token.")
        request.scope[CALLER] = caller
        self.judge(caller, home)
        return caller

    def judge(self, caller: Caller, home: Home) -> None:
        """Refuse a caller who is known and may not.

        Raises:
            ScopeMissing: he lacks a scope.
        """
        caller.must(*self._scopes)

    def beside(self, prefix: str, path: str) -> OAuth2PasswordBearer:
        """Give the scheme that OpenAPI names beside this one: the same header, with a token that a password is traded
        for.

        Args:
            prefix: of the install.
            path: of the address at which people reach its application, `""` or `/api`.
        """
        # Of what a key of OpenAPI's components may have, and for each prefix another.
        word = re.sub(r"[^A-Za-z0-9-]", _escaped, prefix.strip("/"))
        return OAuth2PasswordBearer(
            f"{path}{prefix}/auth/login",
            scheme_name=f"Sign-in-{word}" if word else "Sign-in",
            description="The token of a sign-in, `dzs_...`, by username or e-mail address, and password.",
        )


def _escaped(found: re.Match[str]) -> str:
    return "." if found[0] == "/" else f"_{ord(found[0]):x}_"


_ABOUT_KEYS = (
    "An API key, `dzk_...`, which `POST /keys/` or `denizen keys create` makes, or the token of a sign-in, `dzs_...`."
)


def _itself(accounts: Accounts) -> Accounts:
    return accounts


def _reading(accounts: Accounts) -> AbstractAsyncContextManager[AsyncSession]:
    return accounts.database.read.session()


def _reader(accounts: Accounts) -> Reader:
    return accounts.database.read


def here_of(which: Which = None) -> Any:
    """Give a dependency on an install, as `Here`."""
    return Depends(_Value(which, _itself))


def db_of(which: Which = None) -> Any:
    """Give a dependency on a session that writes, as `Db`."""
    # scope="function": FastAPI's default would commit only after the client has its answer.
    return Depends(_Session(which, Accounts.writing), scope="function")


def read_db_of(which: Which = None) -> Any:
    """Give a dependency on a session that reads, as `ReadDb`."""
    return Depends(_Session(which, _reading), scope="function")


def reads_of(which: Which = None) -> Any:
    """Give a dependency on the hot path, as `Reads`."""
    return Depends(_Value(which, _reader))


def now_of(which: Which = None) -> Any:
    """Give a dependency on the instant of the request, as `Now`."""
    return Depends(_Instant(which))


def caller_of(which: Which = None, *scopes: str, optional: bool = False) -> Any:
    """Give a dependency on the caller, as `CurrentCaller`, `OptionalCaller` and `requires`."""
    return Depends(Bearer(*scopes, which=which, optional=optional))


Here = Annotated[Accounts, here_of()]
Db = Annotated[AsyncSession, db_of()]
ReadDb = Annotated[AsyncSession, read_db_of()]
Reads = Annotated[Reader, reads_of()]
Now = Annotated[datetime, now_of()]
OptionalCaller = Annotated[Caller | None, caller_of(optional=True)]
CurrentCaller = Annotated[Caller, caller_of()]


def requires(*scopes: str) -> Any:
    """Give a dependency that lets through only callers who hold all of `scopes`.

    Args:
        scopes: of `Scope`, or a host's own: any name such as `notes:write`, which roles and keys then may carry.

    Raises:
        ValueError: one of them is no permission, so that nobody could hold it: it is misspelt.
    """
    return caller_of(None, *scopes)


CanReadUsers = Annotated[Caller, requires(Scope.USERS_READ)]
CanWriteUsers = Annotated[Caller, requires(Scope.USERS_WRITE)]
CanImportUsers = Annotated[Caller, requires(Scope.USERS_IMPORT)]
CanWriteKeys = Annotated[Caller, requires(Scope.KEYS_WRITE)]
CanReadAudit = Annotated[Caller, requires(Scope.AUDIT_READ)]
CanReadMetrics = Annotated[Caller, requires(Scope.METRICS_READ)]
