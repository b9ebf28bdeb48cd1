"""Pages are whole in every language, escape everything, and have a policy under which nothing runs."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest

from denizen.core.accounts import Accounts
from denizen.pages.deps import render_page
from denizen.pages.templates import CSP, LANGUAGES, OURS, choose_language, render

ENGLISH = sorted(path.stem for path in (OURS / "en").glob("*.html") if path.stem != "words")
NASTY = """"><script>alert('1')</script>"""


class Refusal:
    code = "something_else"
    detail = NASTY


@pytest.fixture
def database_kind() -> str:
    """Pages ask no database."""
    return "sqlite"


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_page_is_there_in_every_language(language: str) -> None:
    assert sorted(path.stem for path in (OURS / language).glob("*.html") if path.stem != "words") == ENGLISH


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", ENGLISH)
@pytest.mark.parametrize("state", [{}, {"choose": True}, {"done": True}, {"error": Refusal, "posted": {"password"}}])
def test_a_page_is_whole_and_escapes_what_stands_in_it(language: str, name: str, state: dict[str, object]) -> None:
    values = {
        "posted": set(),
        "min_length": 8,
        "site": NASTY,
        "email": NASTY,
        "token": NASTY,
        "username": NASTY,
        **state,
    }

    page = render(name, values, language=language)

    assert page.startswith("<!doctype html>")
    assert f'<html lang="{language}">' in page
    assert page.count("<h1>") == page.count("</main>") == 1
    assert "<script" not in page
    assert "style=" not in page
    assert not re.search(r"(src|href|action)=\"?https?:", page)


class Inputs(HTMLParser):
    """Finds the fields of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[dict[str, str | None]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "input":
            self.found.append(dict(attrs))


ASKING = {"accept_invitation", "confirm_sign_up", "first_administrator", "reset_password", "verify"}
"""Pages that ask for a password."""


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("state", [{"choose": True}, {"error": Refusal, "posted": {"password"}}])
def test_passwords_are_masked_and_password_managers_know_them(language: str, state: dict[str, object]) -> None:
    """On every page that asks for one; what was typed is not shown again, and nothing hinders pasting."""
    asking = set[str]()
    for name in ENGLISH:
        values = {
            "posted": set(),
            "min_length": 8,
            "password": NASTY,
            "email": "ada@example.org",
            "token": "t",
            **state,
        }
        fields = Inputs(render(name, values, language=language)).found
        for field in fields:
            if field.get("type") == "password" or "password" in (field.get("name") or ""):
                asking.add(name)
                assert (field["name"], field["type"], field["autocomplete"]) == ("password", "password", "new-password")
                assert field.keys() <= {"id", "name", "type", "autocomplete", "required", "aria-describedby"}
        if name in asking:
            assert any(field.get("autocomplete") == "username" for field in fields), "whose it is"

    assert asking == ASKING


def test_the_policy_lets_in_the_one_style_and_nothing_else() -> None:
    page = render("problem", {"posted": set(), "error": Refusal}, language="en")
    (style,) = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)

    assert f"style-src 'sha256-{base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()}'" in CSP
    assert "default-src 'none'" in CSP
    assert "unsafe" not in CSP


async def test_a_page_has_its_headers_wherever_it_is_installed(accounts: Accounts) -> None:
    answer = render_page(accounts, "problem", {"error": Refusal}, 409)

    assert answer.status_code == 409
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-security-policy"] == CSP
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("", "en"),
        ("de", "de"),
        ("de-AT,de;q=0.9,en;q=0.8", "de"),
        ("fr-FR, de;q=0.3, en;q=0.4", "en"),
        ("fr, de;q=0", "en"),
        ("DE-de", "de"),
        ("*", "en"),
        ("de;q=nan,;;;=,", "en"),
        ("../../etc", "en"),
    ],
)
def test_the_language_is_the_one_that_is_liked_best(accepted: str, language: str) -> None:
    assert choose_language(accepted) == language
