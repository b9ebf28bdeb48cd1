"""The standalone application with fields of its own for accounts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from enum import StrEnum
from typing import Annotated

import pytest
from fastapi import FastAPI
from pydantic import BaseModel, Field

from denizen.app import create_app
from denizen.core.deps import installs_of
from denizen.core.hashers import NullHasher
from denizen.settings import Settings
from tests.conftest import Clock


class Level(StrEnum):
    """One of a few."""

    JUNIOR = "junior"
    SENIOR = "senior"


class Address(BaseModel):
    """What is no scalar."""

    street: str
    city: str | None = None


class Profile(BaseModel):
    """One field of each kind."""

    department: Annotated[str, Field(max_length=3000, description="Where somebody works.")]
    level: Level = Level.JUNIOR
    badge: int | None = None
    height: float | None = None
    newsletter: bool = False
    clearance: Annotated[int | None, Field(json_schema_extra={"readOnly": True})] = None
    address: Address | None = None
    tags: list[str] = []


SALES = {"department": "sales"}


@pytest.fixture
async def app(settings: Settings, clock: Clock) -> AsyncIterator[FastAPI]:
    app = create_app(settings, hasher=NullHasher(), clock=clock, profile=Profile)
    yield app
    for accounts in installs_of(app):
        await accounts.close()
