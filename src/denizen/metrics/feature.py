"""What the room offers to the application. prometheus-client is loaded by servers, and not by commands."""

from __future__ import annotations

from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.accounts import Accounts
from denizen.core.errors import DenizenError
from denizen.core.events import INSTALL, Event
from denizen.core.feature import Feature, Job


def _routers() -> tuple[Any, ...]:
    from denizen.metrics.routes import router

    return (router,)


def _attach(accounts: Accounts) -> None:
    from denizen.metrics.service import Figures

    accounts.figures = Figures(accounts)
    accounts.figures.attach()


async def _refresh(accounts: Accounts) -> None:
    """Where several processes are read through one, each has to bring its own figures up to now."""
    if accounts.settings.figures_folder() is not None:
        await accounts.figures.refresh()


async def _hear(db: AsyncSession, event: Event) -> None:
    if event.action == "session.created":
        accounts: Accounts = db.info[INSTALL]
        accounts.count("sign_ins", "succeeded")


async def _hear_refusal(accounts: Accounts, error: DenizenError) -> None:
    accounts.count("refusals", error.code)
    if error.code == "sign_in_failed":
        accounts.count("sign_ins", "failed")


FEATURE = Feature(
    "metrics",
    routers=_routers,
    attach=(_attach,),
    listeners=(_hear,),
    refusals=(_hear_refusal,),
    jobs=(Job("write figures", every=5.0, run=_refresh),),
)
