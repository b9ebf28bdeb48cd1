"""What stands for an install where Denizen runs elsewhere: it asks who calls, and remembers for seconds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from operator import is_
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar
from urllib.parse import urlsplit
from uuid import UUID

from denizen.client import access, people
from denizen.client.calls import Call, Patience, T
from denizen.client.clients import AsyncClient
from denizen.core.accounts import bearer_token, utc_now
from denizen.core.auth import Caller, CredentialsInvalid
from denizen.core.errors import DenizenError, Unavailable
from denizen.core.home import add_home, homes_of
from denizen.core.problems import add_handlers
from denizen.core.tokens import digest, looks_like
from denizen.elsewhere.memory import Asking, Memory, Turns
from denizen.elsewhere.tokens import (
    CLOCKS_DIFFER,
    FETCH,
    LONGEST_LIFE,
    Checker,
    Keys,
    caller_of,
    invalid,
    looks_like_jwt,
)
from denizen.hosts import asked_by, check_routes
from denizen.refresh.schemas import IntrospectRead
from denizen.users.deps import UserBearer
from denizen.users.errors import UserNotFound
from denizen.users.schemas import UserRead

if TYPE_CHECKING:
    import httpx
    from fastapi import FastAPI

Kept = TypeVar("Kept")
MOST_SECONDS: Final = 60.0
"""For how long something may be remembered: whoever is suspended is kept out within a minute."""
_MINUTE: Final = timedelta(seconds=MOST_SECONDS)
_STRANGERS: Final = timedelta(seconds=10)
"""For how long it is remembered that a token opens nothing: it never comes to open something, but clocks differ."""
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_PATIENCE: Final = Patience(tries=2, within=1.0, pause=0.1)
"""Somebody waits for an answer to a request of his own meanwhile."""
_TRIES: Final = 3
"""How often something is asked where whom it is about is forgotten meanwhile."""
_MOST_TURNS: Final = 10_000
"""Of how many it is known that they were forgotten while a question was on its way, which takes seconds."""
_NO_KEY: Final = (
    "To read accounts elsewhere, `CurrentUser` needs an API key with the scopes users:read and tokens:introspect: "
    "denizen.remote(url, key). Without one, ask for `CurrentCaller`."
)


def remote(
    url: str,
    key: str | None = None,
    *,
    issuer: str | None = None,
    audience: str | None = None,
    keep: float = 30.0,
    most: int = 10_000,
    timeout: float = 3.0,
    reauthentication_timeout: float = 600.0,
    prefix: str = "",
    insecure: bool = False,
    clock: Callable[[], datetime] = utc_now,
    transport: httpx.AsyncBaseTransport | None = None,
) -> RemoteHome:
    """Stand for a Denizen that runs elsewhere: `remote(url, key).attach(app)`, where another would `install(app)`.

    Args:
        url: where it is.
        key: an API key of this service, with the scopes `tokens:introspect` and `users:read`. Without one only access
            tokens are known, until they end, and no accounts.
        issuer: as which it signs access tokens; `url` by default.
        audience: that access tokens have to be for: one of its `DENIZEN_ACCESS_TOKEN_AUDIENCES`; `issuer` by default.
        keep: seconds for which is remembered what it said, 60 at most.
        most: how many callers, and how many accounts, are remembered.
        timeout: seconds to wait for it, all tries of a question together: whoever calls is waiting meanwhile.
        reauthentication_timeout: seconds for which `FreshSession` holds.
        prefix: what tells this home from others in one application.
        insecure: take `http://` to another machine, where the network between is your own.
        clock: gives the present, in UTC.
        transport: of httpx, instead of its own.

    Raises:
        ValueError: a URL or a number that cannot be used.
    """
    client = AsyncClient(url, key, timeout=timeout, patience=_PATIENCE, transport=transport)
    parts = urlsplit(url)
    if parts.scheme != "https" and parts.hostname not in _LOOPBACK and not insecure:
        raise ValueError(
            "Over http:// anybody on the way can say who calls. Use https://, or insecure=True where the network "
            "between is your own."
        )
    if not 0 < keep <= MOST_SECONDS or most < 1:
        raise ValueError(f"keep is more than 0 and at most {MOST_SECONDS:.0f} seconds, and most at least 1.")
    named = (issuer or url).rstrip("/")
    keys = Keys(lambda: _asked(client, FETCH, timeout), clock)
    return RemoteHome(
        client=client,
        checker=Checker(keys, named, audience or named),
        has_key=key is not None,
        keep=timedelta(seconds=keep),
        most=most,
        timeout=timeout,
        prefix=prefix.rstrip("/"),
        clock=clock,
        reauthentication_timeout=reauthentication_timeout,
    )


@dataclass(slots=True, weakref_slot=True, kw_only=True, eq=False)
class RemoteHome:
    """A Denizen elsewhere, as the dependencies of routes see it (a `Home` of `core.home`).

    Tokens are not kept: what was found out is found again by their digests.
    """

    client: AsyncClient
    checker: Checker = field(repr=False)
    has_key: bool
    keep: timedelta
    most: int
    timeout: float
    prefix: str
    clock: Callable[[], datetime] = field(repr=False)
    reauthentication_timeout: float
    _callers: Memory[bytes, Caller] = field(init=False, repr=False)
    _strangers: Memory[bytes, bool] = field(init=False, repr=False)
    _users: Memory[UUID, UserRead] = field(init=False, repr=False)
    _forgotten: Memory[UUID, datetime] = field(init=False, repr=False)
    _all_forgotten: datetime | None = field(default=None, init=False, repr=False)
    _turns: Turns[UUID] = field(default_factory=lambda: Turns(_MOST_TURNS), init=False, repr=False)
    _asking: Asking = field(default_factory=Asking, init=False, repr=False)

    def __post_init__(self) -> None:
        self._callers, self._strangers = Memory(self.most), Memory(self.most)
        self._users, self._forgotten = Memory(self.most), Memory(self.most)

    def attach(self, app: FastAPI) -> Self:
        """Let the routes of `app` ask this home who calls. Its lifespan, where it runs, looks whether all that routes
        ask for can be had here, and closes the connections.

        Raises:
            ValueError: `app` has a home under this prefix already.
        """
        add_home(app, self)
        add_handlers(app, whole=False)
        inner = app.router.lifespan_context

        @asynccontextmanager
        async def lifespan(running: Any) -> AsyncIterator[Any]:
            try:
                self._check_routes(app)
                async with inner(running) as state:
                    yield state
            finally:
                await self.close()

        app.router.lifespan_context = lifespan
        return self

    async def close(self) -> None:
        """Close the connections."""
        await self.client.close()

    def forget(self, user_id: UUID | None = None) -> None:
        """Ask anew about somebody from now on, or about everybody: he was suspended, or may do something else now.

        What is being asked just now and turns out to be about him is asked once more; nobody else waits for that.
        An access token that he was given before is asked about too, and refused where this service has no key to ask
        with: the next one he is given tells what holds then.
        """
        at = self.clock()
        gone = at if user_id is None else self._forgotten.put(user_id, at, since=at, until=at + LONGEST_LIFE)
        if gone is not None:  # all of them, or more than are remembered: so everybody is asked about
            self._all_forgotten = max(gone, self._all_forgotten or gone)
        self._turns.forget(user_id)  # before what is kept is dropped: see `_up_to_date`
        self._callers.drop(lambda caller: user_id in {None, *_people_of(caller)})
        self._users.drop(lambda user: user_id in {None, user.id})

    async def recognise(self, authorization: str | None, at: datetime) -> Caller | None:
        """Find the caller that an `Authorization` header names; `None` where there is no header.

        Raises:
            CredentialsInvalid: it opens nothing.
            Unavailable: it has to be asked about, and cannot be.
        """
        if authorization is None:
            return None
        token = bearer_token(authorization)
        if looks_like_jwt(token):
            return await self._check(token, at)
        if looks_like(token, "dzs_") or looks_like(token, "dzk_"):
            if not self.has_key:
                raise CredentialsInvalid("Only access tokens are known here: get one at POST /auth/tokens.")
            return await self._introspect(token, at)
        raise invalid()

    async def find_user(self, caller: Caller) -> Mapping[str, Any] | None:
        """Give the account of a caller who is a person; `None` where there is none any more, or it is suspended.

        Raises:
            Unavailable: it has to be asked for, and cannot be.
            LookupError: there is no key to ask with.
        """
        user_id = caller.user_id
        if user_id is None:
            return None
        if not self.has_key:
            raise LookupError(_NO_KEY)
        user = self._users.get(user_id, self.clock())
        if user is None:
            user = await self._asking.once(user_id, lambda: self._read_user(user_id))
        return None if user is None or not _is_in_use(user, self.clock()) else user.model_dump()

    def _check_routes(self, app: FastAPI) -> None:
        """Refuse at the start what each request would be refused for.

        Raises:
            LookupError: with the routes, and what to do instead.
        """
        check_routes(app)
        found = [] if self.has_key else [where for where, call in asked_by(app) if isinstance(call, UserBearer)]
        if found and homes_of(app) == [self]:
            raise LookupError(f"{', '.join(dict.fromkeys(found))}: {_NO_KEY}")

    async def _check(self, token: str, at: datetime) -> Caller:
        """Check an access token, and ask about it where it tells of what may have changed."""
        caller, issued_at = await self.checker.check(token, at)
        assert caller.user_id is not None  # noqa: S101  (it was looked at)
        known = [self._forgotten.get(each, at) for each in _people_of(caller)]
        since = max(filter(None, [*known, self._all_forgotten]), default=None)
        # By the clock of the server, which may be ahead of this one.
        forgotten = since is not None and issued_at <= since + CLOCKS_DIFFER
        if self.has_key and (forgotten or not timedelta() <= at - issued_at <= _MINUTE):
            return await self._introspect(token, at)
        if forgotten:
            raise invalid()
        return caller

    async def _introspect(self, token: str, at: datetime) -> Caller:
        key = digest(token)
        known = self._callers.get(key, at)
        if known is not None:
            return known
        if self._strangers.get(key, at):
            raise invalid()
        return await self._asking.once(key, lambda: self._ask(token, key))

    async def _ask(self, token: str, key: bytes) -> Caller:
        return await self._up_to_date(access.introspect_token(token), lambda told: self._keep_caller(key, told))

    def _keep_caller(self, key: bytes, told: IntrospectRead) -> tuple[Caller, list[UUID]]:
        at = self.clock()
        if told.active and told.iss != self.checker.issuer:
            raise _cannot_tell(f"{self.client!r} calls itself {told.iss}: say so by remote(..., issuer=...).")
        caller = caller_of(told.model_dump()) if told.active else None
        if caller is None or (caller.expires_at is not None and caller.expires_at <= at):
            self._strangers.put(key, True, since=at, until=at + _STRANGERS)
            raise invalid()
        self._callers.put(key, caller, since=at, until=min(at + self.keep, caller.expires_at or at + self.keep))
        return caller, _people_of(caller)

    async def _read_user(self, user_id: UUID) -> UserRead | None:
        try:
            return await self._up_to_date(people.get_user(user_id), self._keep_user)
        except UserNotFound:
            return None

    def _keep_user(self, user: UserRead) -> tuple[UserRead, list[UUID]]:
        at = self.clock()
        self._users.put(user.id, user, since=at, until=at + self.keep)
        return user, [user.id]

    async def _up_to_date(self, call: Call[T], keep: Callable[[T], tuple[Kept, list[UUID]]]) -> Kept:
        """Ask, and ask again where whom the answer is about was forgotten meanwhile: it may be of before.

        It is kept first and looked at then, while `forget` counts first and drops then: whichever thread that runs in,
        one of the two sees the other.
        """
        for _ in range(_TRIES):
            began = self._turns.now
            kept, people_of_it = keep(await _asked(self.client, call, self.timeout))
            if not self._turns.forgotten(people_of_it, since=began):
                return kept
            for memory in (self._callers, self._users):
                memory.drop(partial(is_, kept))
        raise _cannot_tell("Whoever calls was forgotten again and again.")


def _people_of(caller: Caller) -> list[UUID]:
    """Give whom a caller stands for: himself, and whoever acts in his place."""
    return [each for each in (caller.user_id, caller.impersonator_id) if each is not None]


def _is_in_use(user: UserRead, at: datetime) -> bool:
    ended = user.suspended_until is not None and user.suspended_until <= at
    return user.is_active and (user.suspended_at is None or ended)


async def _asked(client: AsyncClient, call: Call[T], within: float) -> T:
    """Ask the server. What it refuses this service with is no matter of whoever calls this service.

    Raises:
        UserNotFound: Denizen says that there is no such account.
        Unavailable: anything else, the 404 of somebody in between included.
    """
    try:
        async with asyncio.timeout(within):
            return await client.run(call)
    except UserNotFound:
        raise
    except TimeoutError:
        raise _cannot_tell(f"{client!r} did not say within {within:g} seconds who calls.") from None
    except DenizenError as error:
        said = f"{client!r} did not say who calls: {error.code}: {error}"
        raise _cannot_tell(said, retry_after=error.retry_after) from error


def _cannot_tell(why: str, *, retry_after: int | None = None) -> Unavailable:
    """Give what a caller is told who cannot be known just now; the reason is for the operator."""
    return Unavailable("Who calls cannot be found out just now.", retry_after=retry_after or 1, private=why)
