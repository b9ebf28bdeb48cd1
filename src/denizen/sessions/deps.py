"""What routes ask for by annotation where somebody has to have signed in."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from denizen.core.auth import Caller, SessionNeeded
from denizen.core.deps import Bearer


class SignedIn(Bearer):
    """Recognises a person who has signed in."""

    async def __call__(self, request: Request) -> Caller:  # type: ignore[override]  # a caller, not the header's parts
        """Recognise the caller, or refuse.

        Raises:
            CredentialsMissing, CredentialsInvalid: nobody, or nobody known.
            SessionNeeded: a key.
        """
        caller = await super().__call__(request)
        if caller is None or caller.kind != "session":
            raise SessionNeeded("This is about your own account: sign in, and send the session's token.")
        return caller


CurrentSession = Annotated[Caller, Depends(SignedIn())]
