"""What the routes of this room ask for."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from fastapi import Depends

from denizen.core.auth import Caller, NotWhileImpersonating, ReauthenticationNeeded, Scope
from denizen.core.deps import CurrentCaller, Here


async def _may_make_keys(accounts: Here, caller: CurrentCaller) -> Caller:
    """Let through people, for keys of their own, and keys with `keys:write`."""
    if caller.kind == "key":
        caller.must(Scope.KEYS_WRITE)
        return caller
    await _himself(caller)
    recent = accounts.clock() - timedelta(seconds=accounts.settings.reauthentication_timeout)
    if caller.authenticated_at is None or caller.authenticated_at < recent:
        raise ReauthenticationNeeded("Prove first who you are: POST /auth/reauthenticate.")
    return caller


async def _himself(caller: CurrentCaller) -> Caller:
    """Let nobody touch keys in somebody else's place."""
    if caller.impersonator_id is not None:
        raise NotWhileImpersonating("Keys are for their owner alone.")
    return caller


MayMakeKeys = Annotated[Caller, Depends(_may_make_keys)]
MayRevokeKeys = Annotated[Caller, Depends(_himself)]
