"""What the room offers to the application."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.accounts import Accounts
from denizen.core.events import INSTALL, Event
from denizen.core.feature import Feature
from denizen.users.events import SignedUp

if TYPE_CHECKING:
    from denizen.users.schemas import UserCreate


def _routers() -> tuple[Any, ...]:
    from denizen.signup.routes import router

    return (router,)


async def _mail_proof(db: AsyncSession, event: Event) -> None:
    if isinstance(event, SignedUp) and event.after.get("email") is not None:
        from denizen.signup.service import mail_proof

        accounts: Accounts = db.info[INSTALL]
        await mail_proof(accounts, db, event.user_id, event.after["email"], at=accounts.clock())


def _ask(accounts: Accounts, db: AsyncSession, data: UserCreate) -> Awaitable[None]:
    from denizen.signup.service import ask_for_account

    return ask_for_account(accounts, db, data)


FEATURE = Feature("signup", routers=_routers, listeners=(_mail_proof,), sign_up=_ask)
