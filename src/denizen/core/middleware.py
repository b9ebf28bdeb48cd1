"""What stands around the application that `serve` runs. Pure ASGI, each a few microseconds; never put into a host.

Outermost first: `RequestId`, `TrustedProxies`, `AccessLog` (where asked for), `SecurityHeaders`, `AllowedHosts`, CORS.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars

from denizen.core.accounts import Watcher
from denizen.core.logs import logger
from denizen.core.origin import REQUEST_ID
from denizen.core.problems import ProblemResponse, document, is_request_id, new_request_id, request_id_of

log = logger(__name__)

API_CSP: Final = "default-src 'none'; frame-ancestors 'none'"
"""For answers that are data: nothing may be loaded, run or framed, whatever a browser takes them for."""


def surround(app: FastAPI, *layers: Callable[[ASGIApp], ASGIApp]) -> None:
    """Put `layers` around everything of `app`, the outermost first.

    `app.add_middleware` would leave the answer to an unexpected error outside: without its id and its headers.
    """
    inner = app.build_middleware_stack

    def build() -> ASGIApp:
        stack = inner()
        for layer in reversed(layers):
            stack = layer(stack)
        return stack

    app.build_middleware_stack = build  # type: ignore[method-assign]  # of this one application


class RequestId:
    """Gives every request an id: the client's `X-Request-Id` if it is well-formed, else a new one.

    It stands in the scope, in the answer's header and in every log line of the request. Since every answer comes by
    here, those who keep figures are told of it: a layer for that alone would cost a twentieth of a read.

    Args:
        app: what to wrap.
        watchers: told of each request when it has been answered.
    """

    def __init__(self, app: ASGIApp, watchers: Sequence[Watcher] = ()) -> None:
        self.app = app
        self._watchers = watchers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stamp a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = None
        for name, value in scope["headers"]:
            if name == b"x-request-id":
                request_id = value.decode("latin-1")
                break
        if request_id is None or not is_request_id(request_id):
            request_id = new_request_id()
        scope[REQUEST_ID] = request_id
        bind_contextvars(request_id=request_id)
        header = (b"x-request-id", request_id.encode("ascii"))
        begun, status = time.perf_counter(), 500

        async def stamped(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), header]
            await send(message)

        try:
            await self.app(scope, receive, stamped)
        finally:
            for tell in self._watchers:
                tell(scope, status, time.perf_counter() - begun)


class SecurityHeaders:
    """Adds the headers that every answer should carry, where the answer does not set them itself.

    Args:
        app: what to wrap.
        https: the public address is https: browsers are told to use nothing else for a year.
    """

    def __init__(self, app: ASGIApp, *, https: bool = False) -> None:
        self.app = app
        defaults = {
            "x-content-type-options": "nosniff",
            "referrer-policy": "no-referrer",
            "x-frame-options": "DENY",
            "content-security-policy": API_CSP,
            "cross-origin-opener-policy": "same-origin",
            "cross-origin-resource-policy": "same-origin",
            "cache-control": "no-store",
        }
        if https:
            defaults["strict-transport-security"] = "max-age=31536000"
        self._defaults = [(name.encode(), value.encode()) for name, value in defaults.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and complete the headers of its answer."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def completed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = message.get("headers", ())
                present = {name for name, _ in headers}
                message["headers"] = [*headers, *[pair for pair in self._defaults if pair[0] not in present]]
            await send(message)

        await self.app(scope, receive, completed)


class AllowedHosts:
    """Refuses requests for a host that is not ours, so that no answer can be built from a hostile `Host`.

    Args:
        app: what to wrap.
        hosts: names without port, `*.example.com` for all below a domain; `*` alone lets everything through.
        exempt: paths that answer under any name: probes come by address.
    """

    def __init__(self, app: ASGIApp, *, hosts: Iterable[str], exempt: Iterable[str] = ("/healthz", "/readyz")) -> None:
        self.app = app
        names = {f"[{name}]" if name.count(":") > 1 and name[0] != "[" else name.lower().rstrip(".") for name in hosts}
        self._any = "*" in names
        self._exact = frozenset(name.encode() for name in names if not name.startswith("*."))
        self._below = tuple(name[1:].encode() for name in names if name.startswith("*."))
        self._exempt = frozenset(exempt)
        self._allowed = lru_cache(maxsize=256)(self._judge)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer 400."""
        if scope["type"] != "http" or self._any or scope["path"] in self._exempt:
            await self.app(scope, receive, send)
            return
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        if len(hosts) == 1 and len(hosts[0]) < 300 and self._allowed(hosts[0]):
            await self.app(scope, receive, send)
            return
        content = document(
            status=400,
            code="host_not_allowed",
            title="Unknown host",
            detail="This server does not answer under that name; DENIZEN_ALLOWED_HOSTS lists those it does.",
            request_id=request_id_of(scope),
        )
        await ProblemResponse(content, status_code=400)(scope, receive, send)

    def _judge(self, host: bytes) -> bool:
        name = host.lower()
        bare = name.partition(b"]")[0] + b"]" if name.startswith(b"[") else name.partition(b":")[0].removesuffix(b".")
        return bare in self._exact or any(bare.endswith(domain) for domain in self._below)


class TrustedProxies:
    """Believes `X-Forwarded-For` and `-Proto` of the configured proxies, and of nobody else.

    The client is the right-most address that is not a proxy of ours: what stands left of it anybody can have written.

    Args:
        app: what to wrap.
        proxies: addresses or networks, `10.0.0.0/8`; `unix` for whoever connects through a UNIX socket.
    """

    def __init__(self, app: ASGIApp, *, proxies: Iterable[str]) -> None:
        self.app = app
        names = {name.strip() for name in proxies}
        self._unix = "unix" in names
        self._networks: list[IPv4Network | IPv6Network] = [
            ip_network(name, strict=False) for name in sorted(names - {"unix"})
        ]
        self._trusted = lru_cache(maxsize=1024)(self._judge)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Put the real client and scheme into the scope of a request."""
        if scope["type"] == "http" and self._is_proxy(scope.get("client")):
            hops, scheme = [], None
            for name, value in scope["headers"]:
                if name == b"x-forwarded-for":
                    hops.extend(value.decode("latin-1").split(","))
                elif name == b"x-forwarded-proto":
                    scheme = value.decode("latin-1").rpartition(",")[2].strip().lower()
            client = self._client(hops)
            if client is not None:
                scope["client"] = (client, 0)
            if scheme in ("http", "https"):
                scope["scheme"] = scheme
        await self.app(scope, receive, send)

    def _is_proxy(self, client: tuple[str, int] | None) -> bool:
        return self._unix if client is None or not client[0] else self._trusted(client[0])

    def _client(self, hops: list[str]) -> str | None:
        """Give the client by the chain of hops; what stands left of an unreadable hop is not believed."""
        found = None
        for hop in reversed(hops):
            address = _address(hop)
            if address is None:
                break
            found = address
            if not self._trusted(address):
                break
        return found

    def _judge(self, host: str) -> bool:
        address = _address(host)
        return address is not None and any(ip_address(address) in network for network in self._networks)


def _address(hop: str) -> str | None:
    """Give the IP address of a hop in one form: no port, no brackets, IPv4 in its own form; `None` if it is none."""
    return _parse_address(hop) if len(hop) < 100 else None


@lru_cache(maxsize=4096)
def _parse_address(hop: str) -> str | None:
    text = hop.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return str(address)


class AccessLog:
    """Logs one line a request: method, path without the query, status, milliseconds. Off unless asked for."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and log it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun, status = time.perf_counter(), 500

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, noted)
        finally:
            client = scope.get("client")
            log.info(
                "request",
                method=scope["method"],
                path=scope["path"],
                status=status,
                ms=round((time.perf_counter() - begun) * 1000, 1),
                client=client[0] if client else None,
            )
