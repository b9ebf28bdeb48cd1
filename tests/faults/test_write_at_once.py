"""Many at once: nobody hears of locks (R7), and one address is one account (R8)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import PATIENT
from tests.faults.serving import PASSWORD, Wire, make_people, serving, together

WRITERS = 64


async def write(wire: Wire, user_id: str, times: int) -> None:
    """Change an account again and again; who would wait for longer than `DENIZEN_DATABASE_TIMEOUT` gets a 503."""
    for number in range(times):
        status, body = await wire.send("PATCH", f"/users/{user_id}", {"full_name": f"Name {number}"})
        assert status == 200, body


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("workers", "times"),
    [(1, 5), pytest.param(1, 20, marks=pytest.mark.slow), pytest.param(2, 20, marks=pytest.mark.slow)],
)
async def test_sixty_four_writers_never_hear_of_locks(
    database_url: str, tmp_path: Path, workers: int, times: int
) -> None:
    people = await make_people(database_url, WRITERS)
    async with serving(tmp_path, database_url, workers=workers, **PATIENT) as server:
        wires = [Wire(server) for _ in people]
        await together(write(*pair, times) for pair in zip(wires, people, strict=True))
        versions = [json.loads((await wires[0].send("GET", f"/users/{user}"))[1])["version"] for user in people]

        assert versions == [1 + times] * WRITERS
        assert "locked" not in server.log


@pytest.mark.slow
async def test_a_hundred_sign_ups_with_one_address_make_one_account(database_url: str, tmp_path: Path) -> None:
    """In every spelling of its letters, through two workers, all at once."""
    async with serving(tmp_path, database_url, workers=2, hash_queue=400, **PATIENT) as server:
        clients = [server.client(key=False, timeout=60) for _ in range(4)]

        def spelled(number: int) -> str:
            return "".join(c.upper() if number >> i & 1 else c for i, c in enumerate("racing@example.org"))

        bodies = [{"username": f"racer{n}", "email": spelled(n), "password": PASSWORD} for n in range(100)]
        answers = await together(clients[n % 4].post("/users/", json=body) for n, body in enumerate(bodies))
        statuses = [answer.status_code for answer in answers]
        listed = await server.client().get("/users/", params={"email": "racing@example.org"})

        assert (statuses.count(201), statuses.count(409)) == (1, 99)
        assert {answer.json()["code"] for answer in answers if answer.status_code == 409} == {"email_taken"}
        assert [user["id"] for user in listed.json()] == [each.json()["id"] for each in answers if each.is_success]
