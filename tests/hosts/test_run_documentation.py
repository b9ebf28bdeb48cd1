"""The code in `docs/embedding.md` runs as it stands there, and passes `mypy --strict`."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest
from fastapi import FastAPI

from denizen import create_account, get_user
from denizen.core.deps import installs_of
from denizen.keys.service import issue_key
from denizen.migrations import runner
from denizen.sessions.service import open_session
from tests.conftest import SECRET
from tests.hosts.conftest import connect, issue, reach, texts

Load = Callable[..., ModuleType]

PASSWORD = "correct horse battery"
PAGE = Path(__file__).parents[2] / "docs" / "embedding.md"
SECTION = re.compile(r"^## (.+)\n((?:(?!^## ).*\n)*)", re.MULTILINE)
CODE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)

EXAMPLES = {
    "pets": ("Install", "In your routes", "Your rows and ours in one transaction", "Tables of your own"),
    "hooks": ("Install", "When something happens to an account"),
    "notes": ("Install", "Permissions of your own"),
    "sockets": ("Install", "WebSockets"),
    "several": ("Several installs in one application",),
}
"""Programs by name, each with the sections whose code it is."""


def sections() -> dict[str, str]:
    """The code of each section that has some."""
    text = PAGE.read_text(encoding="utf-8")
    return {title: "\n".join(code) for title, body in SECTION.findall(text) if (code := CODE.findall(body))}


def written(name: str, folder: Path) -> Path:
    """A program of the page as a file."""
    path = folder / f"{name}.py"
    path.write_text("\n".join(sections()[title] for title in EXAMPLES[name]), encoding="utf-8")
    return path


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Run a program of the page in a folder of its own, with databases that are migrated."""

    def run(name: str, *databases: str) -> ModuleType:
        for database in databases:
            runner.create(f"sqlite:///{tmp_path / database}")
        monkeypatch.setenv("DENIZEN_SECRET_KEY", SECRET)
        spec = spec_from_file_location(f"example_{name}", written(name, tmp_path))
        assert spec is not None
        assert spec.loader is not None
        module = module_from_spec(spec)
        monkeypatch.setitem(sys.modules, spec.name, module)  # where annotations are looked up
        spec.loader.exec_module(module)
        return module

    return run


def test_every_piece_of_code_is_in_a_program() -> None:
    assert sections().keys() == {title for titles in EXAMPLES.values() for title in titles}


async def test_a_pet_and_its_owner_are_stored_together(load: Load) -> None:
    example = load("pets", "denizen.db")
    app: FastAPI = example.app
    (accounts,) = installs_of(app)
    async with accounts.writing() as db:
        await (await db.connection()).run_sync(example.Base.metadata.tables["pets"].create)

    async with reach(app) as client:
        adopted = await client.post("/pets/", params={"email": "ada@example.org", "name": "Byron"})
        listed = await client.get("/accounts/users/", headers=await issue(accounts))

    assert adopted.status_code == 201
    assert [person["id"] for person in listed.json()] == [adopted.json()["owner"]]


async def test_an_address_of_somebody_elses_is_refused_and_nobody_is_welcomed(
    load: Load, capsys: pytest.CaptureFixture[str]
) -> None:
    app: FastAPI = load("hooks", "denizen.db").app
    (accounts,) = installs_of(app)

    async with reach(app) as client:
        answers = [
            await client.post("/accounts/users/", json={"username": name, "email": address, "password": PASSWORD})
            for name, address in (("eve", "eve@example.com"), ("ada", "ada@example.org"))
        ]
        await accounts.told()

    assert [answer.status_code for answer in answers] == [403, 201]
    assert answers[0].json()["code"] == "not_our_domain"
    assert capsys.readouterr().out == f"{answers[1].json()['id']} is here\n"


async def test_whoever_calls_is_greeted(load: Load) -> None:
    app: FastAPI = load("pets", "denizen.db").app
    ada = {"username": "ada", "email": "ada@example.org", "password": PASSWORD}

    async with reach(app) as client:
        await client.post("/accounts/users/", json=ada)
        signed_in = await client.post("/accounts/auth/login", json={"username": "ada", "password": PASSWORD})
        as_ada = {"Authorization": f"Bearer {signed_in.json()['access_token']}"}
        greeted = await client.get("/hello", headers=as_ada)

    assert greeted.json() == "Hello ada"


async def test_a_websocket_takes_messages_of_whoever_opened_it(load: Load) -> None:
    app: FastAPI = load("sockets", "denizen.db").app
    (accounts,) = installs_of(app)
    async with accounts.writing() as db:
        ada = await create_account(accounts, db, username="ada", email=None)
        _, token = await open_session(accounts, db, ada.id, method="code", at=accounts.clock())

    told = await connect(app, "/names", "Ada", "Ada Lovelace", authorization=f"Bearer {token}")
    async with accounts.database.read.session() as read:
        renamed = await get_user(read, ada.id)
    await accounts.close()

    assert texts(told) == ["ada is Ada", "ada is Ada Lovelace"]
    assert renamed.full_name == "Ada Lovelace"


async def test_a_guest_becomes_a_member_of_the_team(load: Load) -> None:
    app: FastAPI = load("several", "team.db", "guests.db").app
    team, guests = installs_of(app)
    ada = {"username": "ada", "email": "ada@example.org", "password": PASSWORD}

    async with reach(app) as client:
        guest = (await client.post("/guests/users/", json=ada)).json()["id"]
        refused = await client.post("/team-members/", params={"guest_id": guest}, headers=await issue(guests))
        taken_in = await client.post("/team-members/", params={"guest_id": guest}, headers=await issue(team))
        listed = await client.get("/team/users/", headers=await issue(team))

    assert (refused.status_code, taken_in.status_code) == (401, 201)
    assert [(person["id"], person["email"]) for person in listed.json()] == [(taken_in.json()["id"], "ada@example.org")]


async def test_a_permission_of_the_host_is_asked_for(load: Load) -> None:
    app: FastAPI = load("notes", "denizen.db").app
    (accounts,) = installs_of(app)
    at = accounts.clock()
    async with accounts.writing() as db:
        _, token = await issue_key(db, name="x", scopes=["notes:write"], maker=None, expires_at=None, at=at)

    async with reach(app) as client:
        refused = await client.post("/notes/", params={"text": "Hello"}, headers=await issue(accounts))
        written = await client.post("/notes/", params={"text": "Hello"}, headers={"Authorization": f"Bearer {token}"})

    assert (refused.status_code, refused.json()["detail"]) == (403, "This needs the scope notes:write.")
    assert (written.status_code, written.json()) == (201, {"text": "Hello", "author": None})


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_code_is_typed(tmp_path: Path) -> None:
    paths = [str(written(name, tmp_path)) for name in EXAMPLES]
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={tmp_path}", *paths]

    checked = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    found = [line for line in checked.stdout.splitlines() if line.startswith(tuple(EXAMPLES))]
    assert found == [], checked.stdout + checked.stderr
