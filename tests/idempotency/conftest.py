"""A second worker on the same database, and what is stored of requests that may be sent again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient
from sqlalchemy import select

from denizen.app import create_app
from denizen.core.accounts import Accounts
from denizen.core.deps import installs_of
from denizen.core.hashers import NullHasher
from denizen.idempotency.models import KeptAnswer
from denizen.settings import Settings
from tests.conftest import BASE_URL, PATIENT, Clock

ADA = {"username": "ada", "email": "ada@example.org", "password": "correct horse battery"}
EVE = {"username": "eve", "email": "eve@example.org", "password": "correct horse battery"}


def under(key: str, **headers: str) -> dict[str, str]:
    """The headers of a request that may be sent again."""
    return {"Idempotency-Key": key, **headers}


@pytest.fixture
def overrides() -> dict[str, Any]:
    """Many at once wait for each other, and are not to be told so."""
    return PATIENT


@pytest.fixture
async def other(settings: Settings, clock: Clock) -> AsyncIterator[AsyncClient]:
    """Another worker on the same database: nothing in memory is shared."""
    app: FastAPI = create_app(settings, hasher=NullHasher(), clock=clock)
    async with AsyncClient(transport=ASGITransport(app, raise_app_exceptions=False), base_url=BASE_URL) as client:
        yield client
    for accounts in installs_of(app):
        await accounts.close()


async def kept(accounts: Accounts) -> list[tuple[Any, ...]]:
    """Every row, with everything in it."""
    async with accounts.database.read.session() as db:
        return [tuple(row) for row in await db.execute(select(KeptAnswer.__table__))]
