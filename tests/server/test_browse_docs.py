"""`/docs` as a person uses it: a real browser, a server started by hand, the key that its first start made."""

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.browser import Browser, BrowserFailed, find_chromium
from tests.cli.test_serve import become_administrator
from tests.server.running import free_port

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(120),
    pytest.mark.skipif(find_chromium() is None, reason="no Chromium on this machine"),
]

SECONDS, TRIES = 40.0, 8
PASSWORD_FORM = (
    "[...document.querySelectorAll('.dialog-ux .auth-container')].find((box) => /password/.test(box.innerText))"
)
AUTHORIZE = ".swagger-ui .auth-wrapper button.authorize"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """Run `denizen serve` in an empty folder; gives its address."""
    port = free_port()
    with (tmp_path / "server.log").open("w") as log:
        command = [sys.executable, "-m", "denizen", "serve", "--port", str(port)]
        process = subprocess.Popen(command, cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        address = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 60
        while not answers(f"{address}/healthz"):
            assert process.poll() is None, (tmp_path / "server.log").read_text()
            assert time.monotonic() < deadline, (tmp_path / "server.log").read_text()
        yield address
    finally:
        process.terminate()
        process.wait(15)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return bool(answer.status == 200)
    except OSError:
        time.sleep(0.05)
        return False


def test_a_person_authorizes_creates_and_lists_in_the_browser(served: str, tmp_path: Path) -> None:
    key = become_administrator(served, tmp_path / "denizen.admin-link")
    with Browser() as browser:
        browser.open(f"{served}/docs")
        browser.click(AUTHORIZE)
        browser.type_into(".dialog-ux input", key)
        browser.click(".dialog-ux button.authorize")
        browser.click(".dialog-ux button.btn-done")

        assert status_after_execution(browser, "post", "/users/") == "201"
        assert status_after_execution(browser, "get", "/users/") == "200"
        listed = browser.run(response_of("get", "/users/", ".highlight-code"))

        assert '"username"' in listed
        assert "password" not in listed
        assert browser.complaints == []
        elsewhere = [url for url in browser.requested if not url.startswith((served, "data:", "about:", "blob:"))]
        assert elsewhere == []


def test_a_person_authorizes_by_username_and_password(served: str) -> None:
    """As the OAuth2 password form of `/auth/login`, which Swagger UI sends and whose token it goes on with."""
    person = {"username": "ada", "email": "ada@example.org", "password": "correct horse battery"}
    asked = urllib.request.Request(
        f"{served}/users/", json.dumps(person).encode(), {"content-type": "application/json"}
    )
    urllib.request.urlopen(asked, timeout=30).close()
    with Browser() as browser:
        browser.open(f"{served}/docs")
        browser.click(AUTHORIZE)
        browser.type_into("#oauth_username", "Ada@Example.org")
        browser.type_into("#oauth_password", person["password"])
        browser.run(f"{PASSWORD_FORM}.querySelector('button.authorize').click()")
        browser.wait_for(f"{PASSWORD_FORM}.innerText.includes('Logout')")
        browser.click(".dialog-ux button.btn-done")

        assert status_after_execution(browser, "get", "/users/me") == "200"
        assert '"username": "ada"' in browser.run(response_of("get", "/users/me", ".highlight-code"))
        assert browser.complaints == []


def status_after_execution(browser: Browser, verb: str, path: str) -> str:
    """Open one operation, send what its example says, and return the status that is shown."""
    browser.wait_for(f"{operation(verb, path)} !== undefined")
    browser.run(f"{operation(verb, path)}.querySelector('button.opblock-summary-control').click()")
    browser.wait_for(f"{operation(verb, path)}.querySelector('button.execute') !== null")
    if verb == "post":  # the button is there before the example is
        browser.wait_for(f"{operation(verb, path)}.querySelector('textarea.body-param__text')?.value.length > 2")
    # While the page draws itself anew a click can be lost. A GET changes nothing, and may be sent again.
    tries = TRIES if verb == "get" else 1
    for _ in range(tries):
        browser.run(f"{operation(verb, path)}.querySelector('button.execute').click()")
        with suppress(BrowserFailed):
            status: str = browser.wait_for(response_of(verb, path, ".response-col_status"), seconds=SECONDS / tries)
            return status.split(maxsplit=1)[0]
    shown = browser.run("document.body.innerText")
    pytest.fail(f"No answer to {verb} {path}. The page requested {browser.requested[-20:]} and shows: {shown[:2000]}")


def operation(verb: str, path: str) -> str:
    """Return JavaScript for the box of one operation."""
    is_it = f"box.querySelector('.opblock-summary-path').dataset.path === '{path}'"
    return f"[...document.querySelectorAll('.opblock-{verb}')].find((box) => {is_it})"


def response_of(verb: str, path: str, selector: str) -> str:
    """Return JavaScript for the text of a part of the live response of one operation."""
    return f"{operation(verb, path)}.querySelector('.live-responses-table tbody {selector}')?.innerText"
