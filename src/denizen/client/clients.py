"""The two clients: how bytes are exchanged and time is waited, and all operations as methods."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from copy import copy
from http.cookiejar import CookieJar, DefaultCookiePolicy
from importlib.metadata import version
from typing import Any, Final, Self
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

try:
    import httpx
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError('This needs httpx: pip install "denizen[client]"', name="httpx") from missing

from denizen.client import access, files, people
from denizen.client.calls import Answer, Call, Patience, Steps, T, conduct
from denizen.client.errors import Unreachable
from denizen.client.methods import Awaiting, Listing, Operation, Stream, Streaming, Waiting
from denizen.core.errors import DenizenError

TIMEOUT: Final = 10.0
"""Seconds to connect, and to wait for each piece of an answer."""
_HEADERS: Final = {"accept": "application/json, */*;q=0.1", "user-agent": f"denizen/{version('denizen')}"}
_UNSENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)


def _checked(token: str | None) -> str | None:
    if token is not None and not (token.isascii() and token.isprintable() and " " not in token and token):
        raise ValueError("A token is one word of printable ASCII.")
    return token


def _no_cookies() -> CookieJar:
    """Give a jar that takes none: connections are shared by clients of several people."""
    return CookieJar(DefaultCookiePolicy(allowed_domains=[]))


class Operations:
    """What can be asked of a Denizen. Each is described once, and is a method of both clients."""

    list_users = Listing(people.list_users)
    list_users_page = Operation(people.list_users_page)
    search_users = Operation(people.search_users)
    run_user_batch = Operation(people.run_user_batch)
    create_user = Operation(people.create_user)
    get_user = Operation(people.get_user)
    update_user = Operation(people.update_user)
    delete_user = Operation(people.delete_user)
    suspend_user = Operation(people.suspend_user)
    unsuspend_user = Operation(people.unsuspend_user)
    restore_user = Operation(people.restore_user)
    send_password_link = Operation(people.send_password_link)
    get_me = Operation(people.get_me)
    update_me = Operation(people.update_me)
    delete_me = Operation(people.delete_me)
    download_own_data = Operation(people.download_own_data)
    register = Operation(people.register)
    confirm_sign_up = Operation(people.confirm_sign_up)
    request_verify_token = Operation(people.request_verify_token)
    verify_email = Operation(people.verify_email)
    forgot_password = Operation(people.forgot_password)
    reset_password = Operation(people.reset_password)
    change_password = Operation(people.change_password)
    change_email = Operation(people.change_email)
    confirm_email = Operation(people.confirm_email)
    undo_email = Operation(people.undo_email)
    export_users = Streaming(files.export_users)
    export_file = Streaming(files.export_file)
    import_users = Streaming(files.import_users)
    list_jobs = Listing(files.list_jobs)
    get_job = Operation(files.get_job)
    list_job_results = Streaming(files.list_job_results)
    sign_in = Operation(access.sign_in)
    sign_out = Operation(access.sign_out)
    reauthenticate_session = Operation(access.reauthenticate_session)
    impersonate_user = Operation(access.impersonate_user)
    list_sessions = Operation(access.list_sessions)
    get_current_session = Operation(access.get_current_session)
    delete_session = Operation(access.delete_session)
    delete_other_sessions = Operation(access.delete_other_sessions)
    list_user_sessions = Operation(access.list_user_sessions)
    delete_user_sessions = Operation(access.delete_user_sessions)
    ask_for_magic_link = Operation(access.ask_for_magic_link)
    sign_in_by_link = Operation(access.sign_in_by_link)
    ask_for_code = Operation(access.ask_for_code)
    sign_in_by_code = Operation(access.sign_in_by_code)
    create_first_administrator = Operation(access.create_first_administrator)
    create_tokens = Operation(access.create_tokens)
    refresh_tokens = Operation(access.refresh_tokens)
    introspect_token = Operation(access.introspect_token)
    list_public_keys = Operation(access.list_public_keys)
    create_key = Operation(access.create_key)
    list_keys = Listing(access.list_keys)
    get_key = Operation(access.get_key)
    get_current_key = Operation(access.get_current_key)
    revoke_key = Operation(access.revoke_key)
    list_permissions = Operation(access.list_permissions)
    list_roles = Operation(access.list_roles)
    create_role = Operation(access.create_role)
    get_role = Operation(access.get_role)
    update_role = Operation(access.update_role)
    delete_role = Operation(access.delete_role)
    list_user_roles = Operation(access.list_user_roles)
    set_user_roles = Operation(access.set_user_roles)
    grant_role = Operation(access.grant_role)
    revoke_role = Operation(access.revoke_role)
    create_invitation = Operation(access.create_invitation)
    list_invitations = Listing(access.list_invitations)
    get_invitation = Operation(access.get_invitation)
    resend_invitation = Operation(access.resend_invitation)
    revoke_invitation = Operation(access.revoke_invitation)
    accept_invitation = Operation(access.accept_invitation)
    list_audit = Listing(access.list_audit)


class _Base(Operations):
    """What both clients have: where the server is, and who asks."""

    _url: str
    _token: str | None
    _patience: Patience

    def _set_up(self, url: str, token: str | None, patience: Patience | None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("The URL of a Denizen begins with https:// or http://, and names a host.")
        if parts.query or parts.fragment or parts.username is not None:
            raise ValueError("The URL of a Denizen holds no query and no credentials: give the token as `token`.")
        self._url = url.rstrip("/")
        self._token = _checked(token)
        self._patience = patience or Patience()

    def with_token(self, token: str | None) -> Self:
        """Give a client for somebody else over the same connections; this one's `close` closes them."""
        other = copy(self)
        vars(other)["_token"] = _checked(token)
        return other

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._url!r})"

    def _request(self, client: httpx.Client | httpx.AsyncClient, call: Call[Any]) -> httpx.Request:
        headers = {**_HEADERS, **call.headers}
        if self._token is not None:
            headers["authorization"] = f"Bearer {self._token}"
        return client.build_request(call.method, self._url + call.target, headers=headers, content=call.body)

    def _failed(self, error: httpx.HTTPError | httpx.StreamError) -> Unreachable:
        """Tell of a failure of the network, without what was sent."""
        failed = Unreachable(
            f"{urlsplit(self._url).netloc} was not reached, or did not answer in time ({type(error).__name__}).",
            sent=not isinstance(error, _UNSENT),
        )
        failed.__cause__ = error
        return failed


class Client(_Base, Waiting):
    """Asks a Denizen, and waits for its answers.

    Args:
        url: of the server: its `DENIZEN_BASE_URL`, with the prefix where there is one.
        token: an API key, or the token of a sign-in; without one the client is a stranger.
        timeout: seconds to connect, and to wait for each piece of an answer.
        patience: how often a call is tried. A call that may not be sent twice is tried again only if it was not sent.
        transport: of httpx, instead of its own.

    Raises:
        ValueError: the URL is none of http, or holds more than an address and a path; the token is no word of ASCII.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        timeout: float = TIMEOUT,
        patience: Patience | None = None,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._set_up(url, token, patience)
        self._sleep = sleep
        self._http = httpx.Client(timeout=timeout, transport=transport, cookies=_no_cookies())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def run(self, call: Call[T]) -> T:
        """Bring a call to its end; what every operation does."""
        return self._drive(conduct(call, self._patience), self._exchange)

    def stream(self, stream: Stream[T]) -> Iterator[T]:
        """Bring a call to its end piece by piece; what operations with long answers do."""
        response: httpx.Response = self._drive(conduct(stream.call, self._patience), self._open).stream
        decoder = stream.decoder()
        try:
            for piece in response.iter_bytes():
                yield from decoder.feed(piece)
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise self._failed(error) from error
        finally:
            response.close()
        yield from decoder.finish()

    def _drive(self, steps: Steps[T], exchange: Callable[[Call[Any]], Answer | DenizenError]) -> T:
        outcome: Answer | DenizenError | None = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as end:
                done: T = end.value
                return done
            if isinstance(step, float):
                self._sleep(step)
                outcome = None
            else:
                outcome = exchange(step)

    def _exchange(self, call: Call[Any]) -> Answer | DenizenError:
        try:
            response = self._http.send(self._request(self._http, call))
        except (httpx.HTTPError, httpx.StreamError) as error:
            return self._failed(error)
        return Answer(response.status_code, response.headers, response.content)

    def _open(self, call: Call[Any]) -> Answer | DenizenError:
        try:
            response = self._http.send(self._request(self._http, call), stream=True)
            if response.status_code >= 300:
                response.read()
        except (httpx.HTTPError, httpx.StreamError) as error:
            return self._failed(error)
        content = response.content if response.is_closed else b""
        return Answer(response.status_code, response.headers, content, response)


class _Connections:
    """The connections of an `AsyncClient`, which belong to the event loop that opened them: another loop gets others,
    and so does the next use after `close`. A host's tests run one loop after the other with one application.
    """

    def __init__(self, make: Callable[[], httpx.AsyncClient]) -> None:
        self._make = make
        self._made: WeakKeyDictionary[asyncio.AbstractEventLoop, httpx.AsyncClient] = WeakKeyDictionary()

    def here(self) -> httpx.AsyncClient:
        """Give those of the running loop."""
        loop = asyncio.get_running_loop()
        found = self._made.get(loop)
        if found is None:
            found = self._made[loop] = self._make()
        return found

    async def close(self) -> None:
        """Close those of the running loop."""
        found = self._made.pop(asyncio.get_running_loop(), None)
        if found is not None:
            await found.aclose()


class AsyncClient(_Base, Awaiting):
    """Asks a Denizen from asyncio: the same operations as `Client`, to be awaited, and the same arguments."""

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        timeout: float = TIMEOUT,
        patience: Patience | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._set_up(url, token, patience)
        self._sleep = sleep
        self._connections = _Connections(
            lambda: httpx.AsyncClient(timeout=timeout, transport=transport, cookies=_no_cookies())
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections; the next call opens others."""
        await self._connections.close()

    async def run(self, call: Call[T]) -> T:
        """Bring a call to its end; what every operation does."""
        return await self._drive(conduct(call, self._patience), self._exchange)

    async def stream(self, stream: Stream[T]) -> AsyncIterator[T]:
        """Bring a call to its end piece by piece; what operations with long answers do."""
        response: httpx.Response = (await self._drive(conduct(stream.call, self._patience), self._open)).stream
        decoder = stream.decoder()
        try:
            async for piece in response.aiter_bytes():
                for each in decoder.feed(piece):
                    yield each
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise self._failed(error) from error
        finally:
            await response.aclose()
        for each in decoder.finish():
            yield each

    async def _drive(self, steps: Steps[T], exchange: Callable[[Call[Any]], Awaitable[Answer | DenizenError]]) -> T:
        outcome: Answer | DenizenError | None = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as end:
                done: T = end.value
                return done
            if isinstance(step, float):
                await self._sleep(step)
                outcome = None
            else:
                outcome = await exchange(step)

    async def _exchange(self, call: Call[Any]) -> Answer | DenizenError:
        try:
            http = self._connections.here()
            response = await http.send(self._request(http, call))
        except (httpx.HTTPError, httpx.StreamError) as error:
            return self._failed(error)
        return Answer(response.status_code, response.headers, response.content)

    async def _open(self, call: Call[Any]) -> Answer | DenizenError:
        try:
            http = self._connections.here()
            response = await http.send(self._request(http, call), stream=True)
            if response.status_code >= 300:
                await response.aread()
        except (httpx.HTTPError, httpx.StreamError) as error:
            return self._failed(error)
        content = response.content if response.is_closed else b""
        return Answer(response.status_code, response.headers, content, response)
