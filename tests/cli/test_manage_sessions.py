"""`denizen sessions list | end`, on both databases."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from anyio import to_thread

from denizen.core.accounts import Accounts, utc_now
from denizen.core.origin import Origin, coming_from
from denizen.sessions.service import open_session
from tests.cli.conftest import Command


async def test_operator_lists_and_ends_sign_ins(command: Command, accounts: Accounts) -> None:
    def run(*arguments: str) -> Any:
        return command(*arguments, "--json")

    made = await to_thread.run_sync(run, "users", "create", "--username", "ada", "--no-password")
    user_id = UUID(made.row["id"])
    assert (await to_thread.run_sync(run, "sessions", "list", "ada")).rows == []
    for device in ("telephone", "typewriter", "abacus"):
        with coming_from(Origin("request", address="192.0.2.1", device=device)):
            async with accounts.writing() as db:
                await open_session(accounts, db, user_id, method="magic_link", at=utc_now())

    rows = (await to_thread.run_sync(run, "sessions", "list", "ada")).rows
    assert [row["device"] for row in rows] == ["telephone", "typewriter", "abacus"]
    assert "digest" not in str(rows)
    assert (await to_thread.run_sync(run, "sessions", "end", "ada", "--id", rows[0]["id"])).row["ended"] == 1
    assert (await to_thread.run_sync(run, "sessions", "end", str(user_id))).row["ended"] == 2
    assert (await to_thread.run_sync(run, "sessions", "list", "ada")).rows == []


REFUSED = (("list", "nobody"), ("end", "nobody"), ("end", "ada", "--id", "7"))


def test_what_is_not_there_is_refused(command: Command) -> None:
    command("users", "create", "--username", "ada", "--no-password")

    for arguments in REFUSED:
        refused = command("sessions", *arguments, "--json")
        assert refused.problem["code"].endswith("_not_found"), arguments
