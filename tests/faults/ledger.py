"""What a server has acknowledged, held against what is stored after somebody pulled the plug."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx
from sqlalchemy import select

from denizen.core.database import Database
from denizen.users.models import User
from tests.faults.serving import Served, person


@dataclass
class Ledger:
    """What the server has said is so.

    Attributes:
        created: ids of accounts it has said are created.
        named: for each account that is changed again and again, the number in the last acknowledged name.
        asked: for each of those, the number in the last name that was asked for.
        refused: answers of 503.
    """

    created: set[str] = field(default_factory=set)
    named: dict[str, int] = field(default_factory=dict)
    asked: dict[str, int] = field(default_factory=dict)
    refused: int = 0

    async def write(self, client: httpx.AsyncClient, user_id: str, writer: int) -> None:
        """Write until the server is gone; what it answers is noted, an answer that never comes is not."""
        number = self.asked.get(user_id, 0)
        while True:
            number += 1
            self.asked[user_id] = number
            try:
                changed = await client.patch(f"/users/{user_id}", json={"full_name": str(number)})
                name = f"{writer}x{number}x{random.randrange(10**9)}"
                created = await client.post("/users/", json=person(name)) if number % 4 == 0 else None
            except httpx.TransportError:
                return
            if changed.status_code == 200:
                self.named[user_id] = number
            if created is not None and created.status_code == 201:
                self.created.add(created.json()["id"])
            for answer in (changed, created):
                if answer is not None and answer.status_code == 503:
                    self.refused += 1
                    await asyncio.sleep(0.02)
                elif answer is not None:
                    assert answer.status_code in {200, 201}, answer.text

    async def goes_on_from(self, before: dict[str, int]) -> bool:
        """Tell whether every account has been named anew since `before`."""
        return all(self.named.get(user_id, -1) > number for user_id, number in before.items())

    async def check(self, database_url: str) -> None:
        """Compare with what is stored."""
        database = Database(database_url)
        async with database.read.slow() as db:
            stored = {str(user_id): name for user_id, name in await db.execute(select(User.id, User.full_name))}
        await database.close()
        assert self.created <= stored.keys(), f"{len(self.created - stored.keys())} acknowledged accounts are lost"
        for user_id, number in self.named.items():
            assert number <= int(stored[user_id] or 0) <= self.asked[user_id]


@asynccontextmanager
async def writers(server: Served, ledger: Ledger, people: list[str]) -> AsyncIterator[None]:
    """Write from several clients at once while the block runs, or until the server is gone."""
    client = server.client()
    tasks = [asyncio.create_task(ledger.write(client, user_id, n)) for n, user_id in enumerate(people)]
    try:
        yield
    finally:
        await asyncio.wait(tasks, timeout=0.2 if server.process and server.process.poll() is None else 10)
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert [each for each in ended if isinstance(each, Exception)] == []
