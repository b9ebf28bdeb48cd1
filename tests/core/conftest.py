"""Property tests look for wrong answers; how long one example takes on a busy machine is not their business."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from hypothesis import settings

from denizen.core.database import Database
from tests.core.ground import METADATA

settings.register_profile("denizen", deadline=None)
settings.load_profile("denizen")


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """The database layer alone, on a migrated database with one more table, `notes`."""
    database = Database(database_url)
    async with database.write.begin() as db:
        await (await db.connection()).run_sync(METADATA.create_all)
    yield database
    await database.close()
