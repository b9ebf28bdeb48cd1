"""From sign-up to sign-in as a person does it: a letter, a page in a real browser, a password of one's own."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.browser import Browser, find_chromium
from tests.server.running import free_port

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(240),
    pytest.mark.skipif(find_chromium() is None, reason="no Chromium on this machine"),
]

ADA = {"username": "ada", "email": "ada@example.org", "password": "correct horse battery"}
ANOTHER = "a staple of seven seas"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[httpx.Client]:
    """Run `denizen serve` in an empty folder; gives a client of it."""
    port = free_port()
    with (tmp_path / "server.log").open("w") as log:
        command = [sys.executable, "-m", "denizen", "serve", "--port", str(port)]
        process = subprocess.Popen(command, cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as client:
            deadline = time.monotonic() + 60
            while not is_up(client):
                assert process.poll() is None, (tmp_path / "server.log").read_text()
                assert time.monotonic() < deadline, (tmp_path / "server.log").read_text()
            yield client
    finally:
        process.terminate()
        process.wait(15)


def is_up(client: httpx.Client) -> bool:
    try:
        return client.get("/healthz").status_code == 200
    except httpx.TransportError:
        time.sleep(0.05)
        return False


def link(folder: Path, template: str) -> str:
    """Read the newest letter of a kind as the operator does, and give the link in it."""
    mails = [json.loads(line) for line in denizen(folder, "mail", "list", "--json").splitlines()]
    (newest,) = [mail["id"] for mail in mails if mail["template"] == template][:1]
    return str(re.findall(r"http\S+\?token=[\w-]+", denizen(folder, "mail", "show", newest, "--json"))[0])


def denizen(folder: Path, *words: str) -> str:
    command = [sys.executable, "-m", "denizen", *words]
    return subprocess.run(command, cwd=folder, env={**os.environ}, capture_output=True, text=True, check=True).stdout


def sign_in(client: httpx.Client, password: str) -> httpx.Response:
    return client.post("/auth/login", json={"username": "ada", "password": password})


def test_a_person_signs_up_proves_the_address_chooses_a_password_and_signs_in(
    served: httpx.Client, tmp_path: Path
) -> None:
    made: dict[str, Any] = served.post("/users/", json=ADA).json()
    served.post("/auth/request-verify-token", json={"email": ADA["email"]})
    address = link(tmp_path, "verify")
    with Browser(width=420, height=800) as browser:
        browser.open(address)
        browser.wait_for("document.title.startsWith('Confirm your address')")
        assert "ada@example.org" in browser.run("document.body.innerText")
        assert browser.run("document.documentElement.scrollWidth <= window.innerWidth"), "it fits a phone"
        assert served.post("/auth/verify", json={"token": "dzv_of-nobody"}).status_code == 422
        browser.type_into("#password", "short")
        browser.click("button")
        browser.wait_for("document.querySelector('.error') !== null")
        browser.type_into("#password", ANOTHER)
        browser.click("button")
        browser.wait_for("document.title.startsWith('Address confirmed')")

        assert sign_in(served, ADA["password"]).status_code == 401
        signed_in = sign_in(served, ANOTHER)
        assert signed_in.status_code == 200
        headers = {"Authorization": f"Bearer {signed_in.json()['access_token']}"}
        assert served.get("/users/me", headers=headers).json()["id"] == made["id"]

        browser.open(address)
        browser.wait_for("document.title.startsWith('This did not work')")
        refused = [each for each in browser.complaints if "422" not in each]
        assert refused == [], "the policy lets in what the page needs"
        assert all(url.startswith(str(served.base_url)) for url in browser.requested)
