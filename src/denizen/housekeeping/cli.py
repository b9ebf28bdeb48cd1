"""`denizen housekeeping run | status`."""

from __future__ import annotations

import typer

from denizen.core.commands import Json, Output, command, open_accounts
from denizen.housekeeping import crud, service

app = typer.Typer(help="Delete what has expired.")


@app.command()
@command
async def run(as_json: Json = False) -> None:
    """Delete now what has expired, beside a running server too, and show how much that was.

    Example: denizen housekeeping run

    Example: denizen housekeeping run --json
    """
    async with open_accounts() as accounts:
        deleted = await service.clean_all(accounts)
    rows = [{"what": name, "deleted": number} for name, number in deleted.items()]
    Output(as_json).table(rows, columns=["what", "deleted"])


@app.command()
@command
async def status(as_json: Json = False) -> None:
    """Show whether some server keeps house, and until when nobody else does.

    Example: denizen housekeeping status
    """
    async with open_accounts() as accounts:
        held = await crud.find_lease(accounts.database.read, service.LEASE_NAME)
        at = accounts.clock()
        facts = {
            "enabled": accounts.settings.housekeeping,
            "held": held is not None and held[1] > at,
            "holder": None if held is None else held[0],
            "until": None if held is None else held[1],
            "cleans": [cleaner.name for cleaner in accounts.cleaners],
        }
    Output(as_json).row(facts, title="Housekeeping")
