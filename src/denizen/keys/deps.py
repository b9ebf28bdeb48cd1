"""What the routes of this room ask for."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends

from denizen.core.auth import Caller, NotWhileImpersonating, Scope
from denizen.core.deps import CurrentCaller, Here
from denizen.users.deps import must_be_fresh


async def _may_make_keys(accounts: Here, caller: CurrentCaller) -> Caller:
    """Let through people, for keys of their own, and keys with `keys:write`."""
    if caller.kind == "key":
        caller.must(Scope.KEYS_WRITE)
    else:
        must_be_fresh(accounts, caller)
    return caller


async def _himself(caller: CurrentCaller) -> Caller:
    """Let nobody touch keys in somebody else's place."""
    if caller.impersonator_id is not None:
        raise NotWhileImpersonating("Keys are for their owner alone.")
    return caller


MayMakeKeys = Annotated[Caller, Depends(_may_make_keys)]
MayRevokeKeys = Annotated[Caller, Depends(_himself)]
