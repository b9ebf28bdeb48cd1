"""The cookie of a sign-in, and what protects requests that carry one.

A browser sends cookies by itself, whoever made it ask. So a request that changes something and is recognised by its
cookie must show that a page of ours made it: it repeats a token which only such a page can have read, and does not say
that it comes from another site. With a WebSocket a browser sends no headers of a page's choice, but always `Origin`:
that has to be ours.
"""

from __future__ import annotations

import base64
import hmac
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from denizen.core.accounts import Accounts
from denizen.core.errors import Forbidden

CSRF_HEADER: Final = "x-csrf-token"
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class CsrfFailed(Forbidden):
    """A request that changes something came with the cookie of a sign-in, and nothing shows that a page of ours sent
    it.
    """

    code = "csrf_failed"
    title = "Not sent by our own page"


class CookieRefused(Forbidden):
    """Sign-in by cookie is refused on plain http: anybody on the network could read the cookie."""

    code = "cookie_refused"
    title = "Cookies need https"


def cookie_name(accounts: Accounts) -> str:
    """Name the cookie of an install: on one host there may be several, on several ports, and cookies know no ports."""
    own = accounts.secret.digest("cookie name 1", accounts.settings.base_url.encode(), accounts.prefix.encode())
    name = f"denizen_session_{own.hex()[:8]}"
    return f"__Host-{name}" if _is_https(accounts) else name


def csrf_token(accounts: Accounts, token: str) -> str:
    """Give what a request has to repeat in `X-CSRF-Token`: it follows from the session's token alone, so that it is
    not stored, and an attacker who can set cookies cannot make it.
    """
    return base64.urlsafe_b64encode(accounts.secret.digest("csrf 1", token.encode())).rstrip(b"=").decode()


def credentials_of(request: HTTPConnection, accounts: Accounts) -> str | None:
    """Give the `Authorization` header, or what stands for it where there is the cookie of a sign-in.

    Raises:
        CsrfFailed: the request changes something, or is a WebSocket, and nothing shows that a page of ours sent it.
    """
    sent = request.headers.get("authorization")
    if sent is not None or "cookie" not in request.headers:
        return sent
    token = request.cookies.get(cookie_name(accounts))
    if token is None:
        return None
    if request.scope["type"] == "websocket":
        _check_socket(request, accounts)
    elif request.scope["method"] not in _SAFE:
        _check_csrf(request, accounts, token)
    return f"Bearer {token}"


def token_of(request: Request, accounts: Accounts) -> tuple[str, bool]:
    """Give the token by which the caller was recognised, and whether it came in a cookie.

    Args:
        request: of a caller who was recognised.
        accounts: where.
    """
    sent = request.headers.get("authorization")
    if sent is None:
        return cookie_of(request, accounts) or "", True
    return sent.partition(" ")[2].strip(), False


def cookie_of(request: Request, accounts: Accounts) -> str | None:
    """Give the token in the cookie of a sign-in, whether it opens anything or not."""
    return request.cookies.get(cookie_name(accounts))


def takes_cookies(accounts: Accounts) -> bool:
    """Whether people sign in by cookie here: on https, on their own machine, or because the operator said so."""
    return _is_https(accounts) or _is_loopback(accounts) or accounts.settings.insecure_cookies


def admit_cookie(request: Request, accounts: Accounts) -> None:
    """Let somebody sign in by cookie, or say why not; asked before his password is looked at.

    Raises:
        CookieRefused: people use this install over plain http, and not on their own machine.
        CsrfFailed: a page of another site asks, which would sign people in as somebody else.
    """
    if not takes_cookies(accounts):
        raise CookieRefused(
            "Cookies are for https. Set DENIZEN_BASE_URL to an https address, or sign in without a cookie."
        )
    _check_site(request, accounts)


def _check_socket(request: HTTPConnection, accounts: Accounts) -> None:
    """Let our own pages through, and those of no other origin that may call the API: they have no use of cookies."""
    if request.headers.get("origin", "").lower() != _origin_of(accounts.settings.base_url):
        raise CsrfFailed("By cookie a WebSocket is for our own pages. Any other sends a token.")


def _check_csrf(request: HTTPConnection, accounts: Accounts, token: str) -> None:
    _check_site(request, accounts)
    shown = request.headers.get(CSRF_HEADER, "")
    if not hmac.compare_digest(shown.encode(), csrf_token(accounts, token).encode()):
        raise CsrfFailed("Send the csrf_token of the sign-in as X-CSRF-Token.")


def _check_site(request: HTTPConnection, accounts: Accounts) -> None:
    headers = request.headers
    allowed = {_origin_of(accounts.settings.base_url), *accounts.settings.cors_origins}
    origin = headers.get("origin")
    if origin is not None and origin.lower() not in allowed:
        raise CsrfFailed("This request comes from a page of another site.")
    if origin is None and headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
        raise CsrfFailed("This request comes from a page of another site.")


def set_cookie(response: Response, accounts: Accounts, token: str, *, max_age: int) -> None:
    """Hand the token of a sign-in to a browser, out of the reach of scripts; `admit_cookie` was asked before.

    Args:
        max_age: seconds.
    """
    https = _is_https(accounts)
    response.set_cookie(
        cookie_name(accounts), token, max_age=max_age, path="/", secure=https, httponly=True, samesite="lax"
    )


def clear_cookie(response: Response, accounts: Accounts) -> None:
    """Take the cookie back."""
    response.delete_cookie(cookie_name(accounts), path="/", secure=_is_https(accounts), httponly=True, samesite="lax")


def _is_https(accounts: Accounts) -> bool:
    return urlsplit(accounts.settings.base_url).scheme == "https"


def _is_loopback(accounts: Accounts) -> bool:
    return urlsplit(accounts.settings.base_url).hostname in _LOOPBACK


def _origin_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()
