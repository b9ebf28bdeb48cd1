"""What the routes of this room ask for."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from denizen.core.accounts import Accounts
from denizen.core.deps import accounts_of
from denizen.passwordless.service import check_offered


async def _offering(request: Request) -> Accounts:
    accounts = accounts_of(request)
    check_offered(accounts)
    return accounts


Offered = Annotated[Accounts, Depends(_offering)]
"""As `Here`, where people may sign in without a password; elsewhere a 404."""
