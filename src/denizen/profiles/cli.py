"""`denizen profiles check | rebuild`: what `GET /users/?profile.NAME=` finds accounts by."""

from __future__ import annotations

from dataclasses import asdict

import typer

from denizen.core.commands import REFUSED, Json, Output, command, open_accounts, progress
from denizen.profiles import service

app = typer.Typer(help="Check what accounts are found by of their own fields, and mend it.")


def _tell(out: Output, health: service.Health, sentence: str) -> None:
    if out.json:
        out.row(asdict(health))
    else:
        out.line("PostgreSQL keeps its index by itself." if health.by_itself else sentence)


@app.command()
@command
async def check(as_json: Json = False) -> None:
    """Compare every account with what it is found by. Exits with 1 when somebody would not be found.

    Example: denizen profiles check
    """
    out = Output(as_json)
    async with open_accounts() as accounts:
        with progress("Checking", unit="accounts", quiet=as_json) as done:
            health = await service.check_values(accounts.database, done)
    said = (
        f"{health.stale:,} are found by other values than they have. Run: denizen profiles rebuild"
        if health.stale
        else "all are found by the values they have."
    )
    _tell(out, health, f"{health.looked_at:,} accounts: {said}")
    if health.stale:
        raise typer.Exit(REFUSED)


@app.command()
@command
async def rebuild(as_json: Json = False) -> None:
    """Let every account be found by the own fields it has. What is right is left, and others go on reading and writing.

    Needed after other programs have written the tables of a SQLite file.

    Example: denizen profiles rebuild
    """
    out = Output(as_json)
    async with open_accounts() as accounts:
        with progress("Rebuilding", unit="accounts", quiet=as_json) as done:
            health = await service.rebuild_values(accounts, done)
    _tell(out, health, f"{health.looked_at:,} accounts: {health.stale:,} were mended.")
