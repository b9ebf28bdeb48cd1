"""`denizen keys create | list | revoke`."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Annotated

import typer

from denizen.core.auth import SCOPES, Scope, is_permission
from denizen.core.commands import Json, Output, command, open_accounts
from denizen.core.database import Reader
from denizen.core.errors import Invalid
from denizen.core.ids import parse_id
from denizen.keys import crud, service
from denizen.keys.errors import KeyNotFound
from denizen.keys.schemas import MAX_LIMIT, READ_FIELDS, KeyCreate, KeyRead

app = typer.Typer(help="Make, list and revoke API keys.")

COLUMNS = ("id", "name", "hint", "scopes", "created_at", "expires_at", "last_used_at", "revoked_at")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
MOST_DAYS = 36_500


def _lifetime(text: str) -> timedelta | None:
    """Read `90d`, `12h`, `30m`, `4w` or `never`."""
    if text == "never":
        return None
    found = re.fullmatch(r"(\d{1,6})([mhdw])", text)
    life = timedelta(**{_UNITS[found[2]]: int(found[1])}) if found else timedelta()
    if not timedelta() < life <= timedelta(days=MOST_DAYS):
        raise Invalid("--expires takes a time like 30m, 12h, 90d or 4w, or never.", field="expires")
    return life


def _scopes(text: str) -> set[str]:
    names = {name.strip() for name in text.split(",") if name.strip()}
    if names == {"all"}:
        return set(Scope)
    if not names or not all(map(is_permission, names)):
        known = "\n".join(f"  {scope.value:<18} {meaning}" for scope, meaning in SCOPES.items())
        raise Invalid(
            f"--scopes takes these, or your own (notes:write), separated by commas; or all:\n{known}", field="scopes"
        )
    return names


@app.command()
@command
async def create(
    name: Annotated[str, typer.Option(help="What it is for.")],
    scopes: Annotated[str, typer.Option(help=f"What it may do, separated by commas: {', '.join(Scope)}; or all.")],
    expires: Annotated[str, typer.Option(help="How long it lives: 30m, 12h, 90d, 4w or never.")] = "90d",
    as_json: Json = False,
) -> None:
    """Make an API key and print it, once: only its SHA-256 is stored.

    Example: denizen keys create --name "nightly import" --scopes users:read,users:import --expires 30d
    """
    data, life = KeyCreate(name=name, scopes=_scopes(scopes)), _lifetime(expires)
    async with open_accounts() as accounts:
        at = accounts.clock()
        async with accounts.writing() as db:
            key, token = await service.issue_key(
                db, name=data.name, scopes=data.scopes, maker=None, expires_at=at + life if life else None, at=at
            )
        Output(as_json).row({**KeyRead.model_validate(key).model_dump(mode="json"), "token": token}, title="API key")


@app.command("list")
@command
async def list_(
    ended: Annotated[bool, typer.Option("--ended", help="Show expired and revoked ones too.")] = False,
    as_json: Json = False,
) -> None:
    """List API keys. The keys themselves are not stored and cannot be shown.

    Example: denizen keys list --ended
    """
    async with open_accounts() as accounts:
        at = accounts.clock()
        rows = [
            key.model_dump(mode="json")
            async for key in _every_key(accounts.database.read)
            if ended or (key.revoked_at is None and (key.expires_at is None or key.expires_at > at))
        ]
    Output(as_json).table(rows, columns=COLUMNS, empty="No API keys. Make one: denizen keys create --help")


async def _every_key(reads: Reader) -> AsyncIterator[KeyRead]:
    after = None
    while rows := await crud.list_keys(reads, limit=MAX_LIMIT, after=after):
        for row in rows:
            key = KeyRead.model_validate(dict(zip(READ_FIELDS, row, strict=True)))
            after = key.id
            yield key


@app.command()
@command
async def revoke(
    key: Annotated[str, typer.Argument(metavar="ID", help="Of the key: denizen keys list.", show_default=False)],
    as_json: Json = False,
) -> None:
    """End a key at once, and every key that was made with it.

    Example: denizen keys revoke 019a5c1e-7f00-7a11-8b22-3c33d44e55f6
    """
    key_id = parse_id(key)
    if key_id is None:
        raise KeyNotFound("There is no API key of this id. Look it up: denizen keys list")
    async with open_accounts() as accounts:
        async with accounts.writing() as db:
            revoked = await service.revoke_key(db, key_id, by=None, at=accounts.clock())
        Output(as_json).row({"id": key_id, "revoked": revoked}, title="Revoked")
