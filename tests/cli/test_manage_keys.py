"""`denizen keys create | list | revoke`, on both databases."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from secrets import token_bytes, token_urlsafe

import pytest
from anyio import to_thread
from sqlalchemy import insert

from denizen.core.accounts import Accounts
from denizen.core.ids import new_id
from denizen.keys.models import Key
from tests.cli.conftest import Command, Run
from tests.cli.test_serve import URL, get, serving
from tests.postgres import Postgres


def test_key_is_shown_once_listed_and_revoked(command: Command) -> None:
    made = command("keys", "create", "--name", "nightly", "--scopes", "users:read,users:import", "--json").row

    token = made.pop("token")
    assert token.startswith("dzk_")
    assert sorted(made["scopes"]) == ["users:import", "users:read"]
    listed = command("keys", "list", "--json")
    assert listed.row["id"] == made["id"]
    assert token not in listed.out

    assert command("keys", "revoke", made["id"], "--json").row["revoked"] == 1
    assert command("keys", "list", "--json").rows == []
    assert command("keys", "list", "--ended", "--json").row["revoked_at"] is not None


async def test_list_is_never_cut(command: Command, accounts: Accounts) -> None:
    rows = [
        {"id": new_id(), "name": f"{n}", "hint": "dzk_", "token_digest": token_bytes(), "scopes": []}
        for n in range(2001)
    ]
    async with accounts.writing(timeout=60) as db:
        await db.execute(insert(Key).values(created_at=accounts.clock()), rows)

    listed = await to_thread.run_sync(command, "keys", "list", "--json")

    assert [row["name"] for row in listed.rows] == [row["name"] for row in rows]


def test_person_sees_the_whole_key(command: Command) -> None:
    shown = command("keys", "create", "--name", "mine", "--scopes", "all", "--expires", "never")

    (token,) = [word for word in shown.out.split() if word.startswith("dzk_") and len(word) > 20]
    assert len(token) == 47


REFUSED = (
    ("create", "--name", "x", "--scopes", "users:everything"),
    ("create", "--name", "x", "--scopes", "all", "--expires", "soon"),
    ("create", "--name", "", "--scopes", "all"),
    ("revoke", "not-an-id"),
    ("revoke", "019a5c1e-7f00-7a11-8b22-3c33d44e55f6"),
)


def test_refused_key_is_a_problem_and_none_is_made(command: Command) -> None:
    for arguments in REFUSED:
        assert command("keys", *arguments, "--json").problem["detail"], arguments

    assert command("keys", "list", "--json").rows == []


def test_key_lives_as_long_as_asked(command: Command) -> None:
    def life(*asked: str) -> timedelta | None:
        made = command("keys", "create", "--name", "x", "--scopes", " users:read , users:read", *asked, "--json").row
        assert made["scopes"] == ["users:read"]
        begins, ends = made["created_at"], made["expires_at"]
        return datetime.fromisoformat(ends) - datetime.fromisoformat(begins) if ends else None

    assert life() == timedelta(days=90)
    assert life("--expires", "30m") == timedelta(minutes=30)
    assert life("--expires", "12h") == timedelta(hours=12)
    assert life("--expires", "4w") == timedelta(weeks=4)
    assert life("--expires", "never") is None


def test_what_a_key_cannot_be_is_said(command: Command) -> None:
    for arguments, field in {
        ("--scopes", ""): "scopes",
        ("--scopes", "users:read,root"): "scopes",
        ("--scopes", "all,users:read"): "scopes",
        ("--scopes", "all", "--expires", "0d"): "expires",
        ("--scopes", "all", "--expires", "-1d"): "expires",
        ("--scopes", "all", "--expires", "999999w"): "expires",
        ("--scopes", "all", "--expires", "1y"): "expires",
        ("--scopes", "all", "--name", "x" * 101): "name",
        ("--scopes", "all", "--name", "half \udcff"): "name",
    }.items():
        refused = command("keys", "create", "--name", "x", *arguments, "--json")
        assert (refused.problem["code"], refused.problem["field"]) == ("invalid", field), arguments
    assert command("keys", "create", "--name", "x").code == 2
    assert command("keys", "list", "--ended", "--json").rows == []


@pytest.mark.slow
def test_key_on_postgresql_is_made_by_hand(denizen: Run, environment: dict[str, str], postgres: Postgres) -> None:
    settings = {
        "DATABASE_URL": postgres.create_database("keys_by_hand"),
        "SECRET_KEY": token_urlsafe(32),
    }
    refused = denizen("keys", "create", "--name", "x", "--scopes", "all", **settings)
    assert (refused.returncode, "denizen migrate up" in refused.stderr) == (1, True)

    assert denizen("migrate", "up", **settings).returncode == 0
    made = json.loads(denizen("keys", "create", "--name", "x", "--scopes", "all", "--json", **settings).stdout)

    environment |= {f"DENIZEN_{name}": value for name, value in settings.items()}
    with serving(environment) as server:
        url = server.wait_for(URL)
        assert get(f"{url}/keys/current", made["token"])["id"] == made["id"]
        assert server.stop() == 0
