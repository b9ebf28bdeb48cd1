"""What the routes of this room ask for."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends

from denizen.core.auth import Caller, NotWhileImpersonating, Scope
from denizen.core.deps import Bearer
from denizen.core.home import Home
from denizen.users.plans import must_be_fresh


class _MakingBearer(Bearer):
    """Recognises people, for keys of their own, and keys with `keys:write`."""

    def judge(self, caller: Caller, home: Home) -> None:
        """Refuse a key that lacks the right, and a person who proved who he is too long ago."""
        if caller.kind == "key":
            caller.must(Scope.KEYS_WRITE)
        else:
            must_be_fresh(home, caller, at=home.clock())


class _RevokingBearer(Bearer):
    """Recognises whoever comes in his own name."""

    def judge(self, caller: Caller, home: Home) -> None:
        """Refuse somebody who acts in somebody else's place."""
        if caller.impersonator_id is not None:
            raise NotWhileImpersonating("Keys are for their owner alone.")


MayMakeKeys = Annotated[Caller, Depends(_MakingBearer())]
MayRevokeKeys = Annotated[Caller, Depends(_RevokingBearer())]
