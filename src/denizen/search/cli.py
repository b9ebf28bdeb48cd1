"""`denizen search check | rebuild`: the index that `users list --q` and `GET /users/?q=` find accounts by."""

from __future__ import annotations

import typer

from denizen.core.commands import REFUSED, Json, Output, command, open_accounts, progress
from denizen.search import service

app = typer.Typer(help="Check the search index, and rebuild it.")

HOW_TO_GET_TRIGRAMS = (
    "Only beginnings of usernames, e-mail addresses and external ids are found, since the extension pg_trgm is not "
    "there. Let an administrator run CREATE EXTENSION pg_trgm in this database, then run: denizen search rebuild"
)


def _facts(health: service.Health) -> dict[str, object]:
    return {
        "accounts": health.looked_at,
        "missing": health.missing,
        "stale": health.stale,
        "unknown": health.unknown,
        "orphans": health.orphans,
        "trigrams": health.trigrams,
    }


def _tell(out: Output, health: service.Health, sentence: str) -> None:
    if out.json:
        out.row(_facts(health))
        return
    out.line(sentence)
    if not health.trigrams:
        out.line(HOW_TO_GET_TRIGRAMS)


@app.command()
@command
async def check(as_json: Json = False) -> None:
    """Compare every account with what it is found by. Exits with 1 when somebody would not be found.

    Example: denizen search check
    """
    out = Output(as_json)
    async with open_accounts() as accounts:
        with progress("Checking", unit="accounts", quiet=as_json) as done:
            health = await service.check_index(accounts.database, done)
    sentence = f"{health.looked_at:,} accounts: all are found by the names they have."
    if not health.is_whole:
        sentence = (
            f"{health.looked_at:,} accounts: {health.missing:,} are not in the index, {health.stale:,} are there with "
            f"names they had before, {health.unknown:,} have lost their trigrams; {health.orphans:,} who are gone are "
            "still known. Run: denizen search rebuild"
        )
    _tell(out, health, sentence)
    if not health.is_whole:
        raise typer.Exit(REFUSED)


@app.command()
@command
async def rebuild(as_json: Json = False) -> None:
    """Bring the index up to date with the accounts. What is right is left, and others go on reading and writing.

    Where PostgreSQL had no index of trigrams and can make one, it does so while others write. What a run that was cut
    off has left of one is dropped first.

    Needed after an upgrade from a release without an index, after tables were written by other programs, and when
    an administrator has created pg_trgm.

    Example: denizen search rebuild
    """
    out = Output(as_json)
    async with open_accounts() as accounts:
        with progress("Rebuilding", unit="accounts", quiet=as_json) as done:
            health = await service.rebuild_index(accounts, done)
    mended = health.missing + health.stale + health.unknown + health.orphans
    _tell(out, health, f"{health.looked_at:,} accounts: {mended:,} were mended.")
