"""Somebody else's application, with routes and a table of its own, into which Denizen is installed."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient

from denizen import Accounts, Settings, install
from denizen.core.hashing import NullHasher


@pytest.fixture
def host() -> FastAPI:
    """The application of somebody else."""
    return FastAPI()


@pytest.fixture
async def accounts(host: FastAPI, settings: Settings) -> AsyncIterator[Accounts]:
    """What is installed in it, under `/accounts`."""
    accounts = install(host, prefix="/accounts", settings=settings, hasher=NullHasher())
    yield accounts
    await accounts.close()


@pytest.fixture
async def client(host: FastAPI, accounts: Accounts) -> AsyncIterator[AsyncClient]:
    """A client of the host. No lifespan runs."""
    async with AsyncClient(transport=ASGITransport(host, raise_app_exceptions=False), base_url="http://host") as client:
        yield client
