"""The database layer alone, without a room on top of it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from denizen.core.database import Database
from tests.core.ground import METADATA


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A migrated database with one more table, `notes`."""
    database = Database(database_url)
    async with database.write.begin() as db:
        await (await db.connection()).run_sync(METADATA.create_all)
    yield database
    await database.close()
