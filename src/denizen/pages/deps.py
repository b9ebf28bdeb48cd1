"""Answering people with pages: the forms that links in letters lead to, what became of them, and errors.

A path has two sides. GET shows the page and spends nothing; POST does it. A browser sends the form and is shown a page,
a program sends JSON, or the form, and is answered in JSON: `Accept` tells one from the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from fastapi import Depends, Request, Response
from starlette.responses import HTMLResponse

from denizen.core.accounts import Accounts
from denizen.core.deps import accounts_of
from denizen.core.errors import DenizenError, TooMany, Unavailable
from denizen.core.problems import FACE, status_of
from denizen.pages.templates import CSP, ENGLISH, choose_language, render

_HEADERS: Final = {
    "cache-control": "no-store",
    "content-security-policy": CSP,
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "x-robots-tag": "noindex",
}
"""Set here and not by middleware alone: pages have them inside a host too."""


FORM: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {"text/html": {"schema": {"type": "string"}}}, "description": "A page with a form."}
}
"""What OpenAPI says of a route that shows one."""


def render_page(
    accounts: Accounts, name: str, values: Mapping[str, Any], status: int = 200, *, language: str = ENGLISH
) -> Response:
    """Give a page as an answer.

    Args:
        accounts: where; what the site is called, and how long a password must be, is known to every page.
        name: which page: `pages/templates/LANGUAGE/NAME.html`.
        values: that stand in it, escaped.
        status: of the answer.
        language: the reader's.
    """
    settings = accounts.settings
    known = {"site": settings.site_name, "min_length": settings.password_min_length, "posted": frozenset[str]()}
    return HTMLResponse(render(name, {**known, **values}, language=language), status, _HEADERS)


def language_of(request: Request) -> str:
    """Give the language that whoever asks reads best, of those we have: for pages, and for letters to him."""
    return choose_language(request.headers.get("accept-language", ""))


def wants_page(request: Request) -> bool:
    """Whether a page is asked for by name, as browsers do: `*/*` is what programs send that do not care."""
    accepted = request.headers.get("accept", "").lower().split(",")
    return any(each.partition(";")[0].strip() == "text/html" for each in accepted)


@dataclass(frozen=True, slots=True)
class Page:
    """One page, and how whoever asks wants to be answered.

    Attributes:
        accounts: where.
        name: of the page.
        html: answer with pages, not with data.
        language: the reader's.
        sent: the fields of the form that came, for showing it again; without passwords.
        posted: the names of all of them.
    """

    accounts: Accounts
    name: str
    html: bool
    language: str
    sent: Mapping[str, str] = field(default_factory=dict, repr=False)
    posted: frozenset[str] = frozenset()

    def form(self, **values: Any) -> Response:
        """Show the form."""
        return render_page(self.accounts, self.name, values, language=self.language)

    def done(self, content: bytes, **values: Any) -> Response:
        """Answer that it is done: with the page, whose template is given `done`, or with `content`, which is JSON."""
        if self.html:
            return render_page(self.accounts, self.name, {**values, "done": True}, language=self.language)
        return Response(content, media_type="application/json")

    def refuse(self, error: DenizenError) -> Response:
        """Show what is wrong: on the form, where another try may do, or on a page of its own."""
        again = bool(self.posted) and (error.field in self.posted or isinstance(error, TooMany | Unavailable))
        values = {**self.sent, "posted": self.posted} if again else {}
        name = self.name if again else "problem"
        return render_page(self.accounts, name, {**values, "error": error}, status_of(error), language=self.language)


def page(name: str) -> Any:
    """Give a dependency on a page: a `Page`. Where a browser asks, what the route refuses is shown on it too."""

    async def find(request: Request) -> Page:
        reads = request.method in {"GET", "HEAD"}
        body = {} if reads or not await request.body() else await request.json()
        fields = {key: value for key, value in body.items() if isinstance(value, str)} if isinstance(body, dict) else {}
        found = Page(
            accounts_of(request),
            name,
            reads or wants_page(request),
            language_of(request),
            {key: value for key, value in fields.items() if "password" not in key},
            frozenset(fields),
        )
        if found.html:
            request.scope[FACE] = found.refuse
        return found

    return Depends(find)
