"""R9: thousands of hostile requests to a real server: no 5xx, nothing slow, nothing echoed, no growth."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.serving import Served, make_people, person, serving, together
from tests.hostile.corpus import SECRET_PASSWORD, SECRET_TOKEN, Attack, Corpus

AT_ONCE = 8
SLOW = 2.0
HASHED = {201, 409}
"""Answers before which a password was hashed, by a thread that gives way to whatever else this machine does."""

GROWTH = 64 * 1024 * 1024
MEMBERS = {"type", "title", "status", "detail", "code", "request_id"}


@dataclass(frozen=True)
class Outcome:
    """What came of an attack; a status of 0 is a connection closed without an answer."""

    status: int
    head: bytes
    body: bytes
    seconds: float


async def strike(port: int, attack: Attack) -> Outcome:
    """Write the bytes, say that no more come, and read all that is answered."""
    began = time.monotonic()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = b""
    try:
        async with asyncio.timeout(10):
            writer.write(attack.raw)
            if attack.torn:
                writer.write_eof()
            answer = await reader.read(-1)
    except (ConnectionError, TimeoutError):
        pass
    finally:
        writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    status = int(head.split(b" ", 2)[1]) if head.startswith(b"HTTP/1.1 ") else 0
    if length := re.search(rb"\r\ncontent-length: (\d+)", head, re.IGNORECASE):
        body = body[: int(length[1])]  # what follows garbage is answered as one more request
    return Outcome(status, head, body, time.monotonic() - began)


def faults(attack: Attack, outcome: Outcome, others: Collection[bytes] = ()) -> list[str]:
    """Hold what was answered against the promise; give what is wrong with it.

    Args:
        others: bodies of errors that are not ours to write.
    """
    found = []
    if outcome.status >= 500 or (outcome.status == 0 and not attack.torn):
        found.append(f"status {outcome.status}")
    if outcome.seconds > SLOW * (2 if outcome.status in HASHED else 1):
        found.append(f"{outcome.seconds:.1f} s")
    answer = outcome.head + outcome.body
    found += [f"echoes {secret}" for secret in (SECRET_PASSWORD, SECRET_TOKEN) if secret.encode() in answer]
    if outcome.status >= 400 and attack.method != "HEAD" and outcome.body not in others:
        found += not_a_problem(outcome)
    if b"evil.example" in outcome.head:
        found.append("believes a host")
    return found


def not_a_problem(outcome: Outcome) -> list[str]:
    """Say what an error lacks to be one of ours."""
    if b"content-type: application/problem+json" not in outcome.head.lower():
        return [f"no problem document: {outcome.head[:200]!r}"]
    try:
        document = json.loads(outcome.body)
    except ValueError:
        return [f"not JSON: {outcome.body[:200]!r}"]
    missing = MEMBERS - document.keys()
    wrong = [f"lacks {missing}"] if missing else []
    if document.get("status") != outcome.status or not re.fullmatch(r"[a-z0-9_]+", str(document.get("code"))):
        wrong.append(f"says {document}")
    return wrong


async def corpus_for(server: Served, people: list[str], *, seed: int, prefix: str = "") -> Corpus:
    """A corpus that knows its way about `server`."""
    page = await server.client().get(f"{prefix}/users/", params={"limit": 2})
    cursor = page.headers["x-next-cursor"]
    return Corpus(seed, token=server.token, user_ids=people, cursor=cursor, prefix=prefix)


async def survive(server: Served, attacks: Iterable[Attack], *, others: Collection[bytes] = ()) -> Counter[str]:
    """Strike; fail with all that was not as promised. Gives the number of answers of each kind."""
    waiting = list(attacks)
    met: Counter[str] = Counter()
    wrong: list[str] = []

    async def attacker() -> None:
        while waiting:
            attack = waiting.pop()
            outcome = await strike(server.port, attack)
            met[f"{attack.kind} {outcome.status}"] += 1
            wrong.extend(f"{attack.kind}: {fault}: {attack.raw[:300]!r}" for fault in faults(attack, outcome, others))

    await together(attacker() for _ in range(AT_ONCE))
    assert not wrong, f"{len(wrong)} faults\n" + "\n".join(wrong[:20])
    return met


def memory_of(server: Served) -> int:
    return sum(process.memory_info().rss for process in server.family)


@pytest.mark.parametrize(
    ("database_kind", "count"),
    [
        pytest.param("sqlite", 2_000),
        pytest.param("sqlite", 10_000, marks=pytest.mark.slow),
        pytest.param("postgresql", 5_000, marks=pytest.mark.slow),
    ],
    indirect=["database_kind"],
)
@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_a_server_survives_all_of_it(database_url: str, tmp_path: Path, count: int) -> None:
    people = await make_people(database_url, 20)
    async with serving(tmp_path, database_url, trusted_proxies="10.0.0.0/8") as server:
        assert server.process is not None
        corpus = await corpus_for(server, people, seed=count)
        await survive(server, corpus.attacks(count // 5))  # until caches are as large as they get
        before, pids = memory_of(server), [process.pid for process in server.family]

        met = await survive(server, corpus.attacks(count))

        assert [process.pid for process in server.family] == pids
        assert memory_of(server) - before < GROWTH
        statuses = {key.split()[1] for key in met}
        assert {"200", "201", "400", "401", "404", "405", "412", "413", "415", "422", "431"} <= statuses, met
        answer = await server.client().post("/users/", json=person("afterwards"))
        assert answer.status_code == 201
        assert await server.stop() == 0
        for secret in (SECRET_PASSWORD, SECRET_TOKEN, server.token):
            assert secret not in server.log
        told = [line for line in server.log.splitlines() if not line.startswith("There is no administrator yet.")]
        events = [json.loads(line) for line in told]
        assert {event["event"] for event in events} <= {"serving", "request_refused", "sign_up_is_open"}, server.log[
            -3000:
        ]
