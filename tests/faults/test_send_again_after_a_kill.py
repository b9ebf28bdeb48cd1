"""A server killed at any moment leaves no doubt: the same request sent again under its key has been done once."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.faults.serving import person, serving, until

WRITERS = 8


@pytest.mark.slow
@pytest.mark.parametrize("database_kind", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)], indirect=True)
@pytest.mark.timeout(300)
async def test_whatever_was_asked_before_a_kill_is_done_once(database_url: str, tmp_path: Path) -> None:
    unanswered: list[str] = []
    answered: dict[str, dict[str, Any]] = {}

    async def write(client: httpx.AsyncClient, writer: int) -> None:
        """Create until the server is gone; what it answered is noted, and what it did not."""
        for number in range(100_000):
            name = f"{writer}x{number}"
            try:
                answer = await client.post("/users/", json=person(name), headers={"Idempotency-Key": name})
            except httpx.TransportError:
                unanswered.append(name)
                return
            if answer.status_code == 201:
                answered[name] = answer.json()

    async def enough(count: int) -> bool:
        return len(answered) >= count

    async with serving(tmp_path, database_url) as server:
        for kill in range(3):
            writing = asyncio.gather(*(write(server.client(), kill * WRITERS + writer) for writer in range(WRITERS)))
            await until(partial(enough, 10 * (kill + 1)), within=60)
            server.kill()
            await writing
            await server.start()
        client = server.client()
        again = {
            name: await client.post("/users/", json=person(name), headers={"Idempotency-Key": name})
            for name in [*unanswered, *answered]
        }

    assert len(unanswered) == 3 * WRITERS
    for name, made in answered.items():
        assert again[name].json() == made
        assert again[name].headers["idempotency-replayed"] == "true"
    for name in unanswered:  # done and told again, done now, or free in less than a minute; never somebody else's
        outcome = again[name].status_code, again[name].json().get("code")
        assert outcome in {(201, None), (409, "idempotency_key_in_flight")}
