"""`denizen signing-keys list | rotate`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import typer

from denizen.core.commands import Json, Output, command, open_accounts
from denizen.signing import crud, service
from denizen.signing.models import SigningKey

app = typer.Typer(help="Look at the keys that sign access tokens, and change them.")

COLUMNS = ("id", "state", "algorithm", "created_at", "signs_from", "signs_until", "published_until")


def _shown(key: SigningKey, at: datetime) -> dict[str, Any]:
    times = {name: getattr(key, name) for name in COLUMNS[3:]}
    shown = {name: None if time is None else time.isoformat().replace("+00:00", "Z") for name, time in times.items()}
    return {"id": str(key.id), "state": _state(key, at), "algorithm": key.algorithm, **shown}


def _state(key: SigningKey, at: datetime) -> str:
    if key.published_until is not None and key.published_until <= at:
        return "withdrawn"
    if key.signs_until is not None and key.signs_until <= at:
        return "published"
    return "waiting" if key.signs_from > at else "signing"


@app.command("list")
@command
async def list_(as_json: Json = False) -> None:
    """List the keys that sign access tokens, those that did, and the one that will.

    Example: denizen signing-keys list
    """
    async with open_accounts() as accounts:
        at = accounts.clock()
        async with accounts.database.read.session() as db:
            rows = [_shown(key, at) for key in await crud.list_keys(db)]
    Output(as_json).table(rows, columns=COLUMNS, empty="No signing keys. The first access token makes one.")


@app.command()
@command
async def rotate(
    now: Annotated[
        bool, typer.Option("--now", help="For a key that leaked: withdraw all others at once, and what they signed.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Make the next key. It is published now and signs in ten minutes, so that no request fails meanwhile.

    Example: denizen signing-keys rotate

    Example: denizen signing-keys rotate --now
    """
    async with open_accounts() as accounts:
        at = accounts.clock()
        key = await service.rotate_keys(accounts, at=at, at_once=now)
        Output(as_json).row(_shown(key, at), title="Signing key")
