"""`POST /users/import`: a file goes up, results come down as they are committed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from httpx import AsyncClient
from starlette.requests import ClientDisconnect

from denizen.core.accounts import Accounts
from denizen.core.auth import Scope
from denizen.core.errors import Unavailable
from denizen.jobs import crud
from denizen.jobs import service as jobs
from denizen.jobs.models import Job
from tests.conftest import MakeKey
from tests.transfer.conftest import HASH, Stored

CSV = {"Content-Type": "text/csv"}
NDJSON = {"Content-Type": "application/x-ndjson"}
GOOD = "username,email\nada,ada@example.org\ngrace,grace@example.org\nada,other@example.org\n"


def lines(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in answer.text.splitlines()]


async def test_results_come_as_lines_and_a_summary(admin: AsyncClient, stored: Stored) -> None:
    answer = await admin.post("/users/import", content=GOOD, headers=CSV)

    *rows, last = lines(answer)
    assert [(row["line"], row["outcome"], row["code"]) for row in rows] == [
        (2, "created", None),
        (3, "created", None),
        (4, "refused", "username_taken"),
    ]
    assert last["summary"] == {
        "rows": 3, "created": 2, "updated": 0, "unchanged": 0, "skipped": 0, "valid": 0, "refused": 1,
        "codes": {"username_taken": 1},
    }  # fmt: skip
    assert {str(user["id"]) for user in await stored()} == {row["id"] for row in rows[:2]}
    job = (await admin.get(answer.headers["location"])).json()
    assert (job["state"], job["counts"], job["position"]) == ("done", last["summary"], 4)
    assert job["bytes_done"] == job["bytes_total"] == len(GOOD)
    assert job["options"] == {
        "format": "csv",
        "mode": "create",
        "match": None,
        "map": {},
        "ignore_unknown": False,
        "with_hashes": True,
    }
    results = await admin.get(f"/jobs/{job['id']}/results")
    assert lines(results) == rows


@pytest.mark.parametrize("kind", ["application/x-ndjson", "application/jsonl", "application/x-ndjson; charset=UTF-8"])
async def test_ndjson_goes_in_too(admin: AsyncClient, kind: str) -> None:
    answer = await admin.post("/users/import", content='{"username":"ada"}\n', headers={"Content-Type": kind})

    assert lines(answer)[-1]["summary"]["created"] == 1


async def test_a_dry_run_writes_nothing_and_is_no_job(admin: AsyncClient, stored: Stored) -> None:
    answer = await admin.post("/users/import?dry_run=true", content=GOOD, headers=CSV)

    assert [row.get("outcome") for row in lines(answer)] == ["valid", "valid", "refused", None]
    assert "location" not in answer.headers
    assert await stored() == []
    assert (await admin.get("/jobs/")).json() == []


async def test_modes_and_mappings(admin: AsyncClient, stored: Stored) -> None:
    await admin.post("/users/import", content=GOOD, headers=CSV)

    answer = await admin.post(
        "/users/import",
        params={
            "mode": "upsert",
            "match": "username",
            "map": ["login=username", "name=full_name"],
            "ignore_unknown": "1",
        },
        content="login,name,phone\nada,Ada,1\n",
        headers=CSV,
    )

    assert lines(answer)[-1]["summary"]["updated"] == 1
    assert {user["full_name"] for user in await stored()} == {"Ada", None}


@pytest.mark.parametrize(
    ("params", "headers", "content", "status", "code"),
    [
        ({}, {"Content-Type": "application/json"}, "{}", 415, "unsupported_media_type"),
        ({}, {}, "x", 415, "unsupported_media_type"),
        ({}, {"Content-Type": "text/csv; charset=latin-1"}, "x", 415, "unsupported_media_type"),
        ({}, {**CSV, "Content-Encoding": "gzip"}, "x", 415, "unsupported_media_type"),
        ({}, CSV, "", 422, "header_missing"),
        ({}, CSV, "email,phone\n", 422, "column_unknown"),
        ({}, CSV, "email,email\n", 422, "column_repeated"),
        ({"map": "mail=email"}, CSV, "email\n", 422, "column_missing"),
        ({"map": "mail=nothing"}, CSV, "mail\n", 422, "mapping_invalid"),
        ({"map": "mail"}, CSV, "mail\n", 422, "mapping_invalid"),
        ({}, CSV, "email\n".encode("utf-16"), 422, "encoding_unsupported"),
        ({}, NDJSON, '[{"username":"a"}]', 422, "format_unknown"),
        ({"mode": "replace"}, CSV, GOOD, 422, "invalid"),
        ({"match": "id"}, CSV, GOOD, 422, "invalid"),
        ({"modus": "skip"}, CSV, GOOD, 422, "unknown_parameter"),
        ({"mode": ["skip", "upsert"]}, CSV, GOOD, 422, "repeated_parameter"),
        ({}, {**CSV, "Idempotency-Key": ""}, GOOD, 422, "idempotency_key_invalid"),
    ],
)
async def test_what_cannot_be_meant_is_refused_before_anything_is_written(
    admin: AsyncClient,
    *,
    params: dict[str, Any],
    headers: dict[str, str],
    content: str | bytes,
    status: int,
    code: str,
) -> None:
    answer = await admin.post("/users/import", params=params, headers=headers, content=content)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert (await admin.get("/jobs/")).json() == []


async def test_it_takes_its_scopes(client: AsyncClient, make_key: MakeKey) -> None:
    row = json.dumps({"username": "ada", "hashed_password": HASH})

    async def post(*scopes: Scope, **params: str) -> httpx.Response:
        headers = (await make_key(*scopes)) | NDJSON
        return await client.post("/users/import", params=params, content=row, headers=headers)

    assert (await client.post("/users/import", content=row, headers=NDJSON)).status_code == 401
    assert (await post(Scope.USERS_WRITE)).status_code == 403
    assert (await post(Scope.USERS_IMPORT, mode="upsert", match="username")).status_code == 403
    assert lines(await post(Scope.USERS_IMPORT))[0]["code"] == "hash_not_allowed"
    assert lines(await post(Scope.USERS_IMPORT, Scope.USERS_HASHES))[0]["outcome"] == "created"
    assert lines(await post(Scope.USERS_IMPORT, mode="skip", match="username"))[0]["code"] == "hash_not_allowed"
    upsert = await post(Scope.USERS_IMPORT, Scope.USERS_HASHES, Scope.USERS_WRITE, mode="upsert", match="username")
    assert lines(upsert)[0]["outcome"] == "unchanged"


# -- sent again -------------------------------------------------------------------------------------------------------


async def test_the_same_key_gives_the_same_results_again(admin: AsyncClient, stored: Stored) -> None:
    headers = CSV | {"Idempotency-Key": "one"}
    first = await admin.post("/users/import", content=GOOD, headers=headers)
    again = await admin.post("/users/import", content=GOOD, headers=headers)

    assert again.text == first.text
    assert again.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers
    assert again.headers["location"] == first.headers["location"]
    assert len(await stored()) == 2
    assert len((await admin.get("/jobs/")).json()) == 1


async def test_the_same_key_for_something_else_is_refused(
    admin: AsyncClient, client: AsyncClient, make_key: MakeKey
) -> None:
    headers = CSV | {"Idempotency-Key": "one"}
    await admin.post("/users/import", content=GOOD, headers=headers)

    other_body = await admin.post("/users/import", content=GOOD + "x,\n", headers=headers)
    other_mode = await admin.post("/users/import?mode=skip", content=GOOD, headers=headers)
    other_caller = await client.post("/users/import", content=GOOD, headers=headers | await make_key())

    assert (other_body.status_code, other_body.json()["code"]) == (422, "idempotency_key_reused")
    assert (other_mode.status_code, other_mode.json()["code"]) == (422, "idempotency_key_reused")
    assert lines(other_caller)[-1]["summary"]["refused"] == 3


async def test_of_many_with_one_key_at_once_one_imports(admin: AsyncClient, stored: Stored) -> None:
    headers = CSV | {"Idempotency-Key": "one"}

    answers = await asyncio.gather(*(admin.post("/users/import", content=GOOD, headers=headers) for _ in range(8)))

    assert {answer.status_code for answer in answers} <= {200, 409}
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} <= {"idempotency_key_in_flight"}
    assert sum("idempotency-replayed" not in answer.headers for answer in answers if answer.status_code == 200) == 1
    assert len(await stored()) == 2


@pytest.mark.slow
async def test_an_import_that_failed_goes_on_under_its_key(
    admin: AsyncClient, accounts: Accounts, stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = "username\n" + "".join(f"user{n}\n" for n in range(5000))
    headers = CSV | {"Idempotency-Key": "one"}
    count = iter(range(100))

    async def listen(db: Any, event: Any) -> None:
        if next(count) == 1:
            raise RuntimeError("no")

    monkeypatch.setattr(accounts, "listeners", (listen,))
    cut = lines(await admin.post("/users/import", content=content, headers=headers))
    assert cut[-1]["error"]["code"] == "internal_error"
    assert "status" in cut[-1]["error"]
    there = len(await stored())
    assert 0 < there == len(cut) - 1 < 5000

    answer = await admin.post("/users/import", content=content, headers=headers)

    *rows, last = lines(answer)
    assert rows[:there] == cut[:-1]
    assert [row["line"] for row in rows] == list(range(2, 5002))
    assert (last["summary"]["created"], last["summary"]["refused"]) == (5000, 0)
    assert len(await stored()) == 5000
    (job,) = (await admin.get("/jobs/")).json()
    assert (job["state"], job["error"]) == ("done", None)


@pytest.mark.slow
async def test_what_the_database_says_comes_as_the_last_line(
    admin: AsyncClient, accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def listen(db: Any, event: Any) -> None:
        raise Unavailable("away", retry_after=2)

    monkeypatch.setattr(accounts, "listeners", (listen,))

    (only,) = lines(await admin.post("/users/import", content=GOOD, headers=CSV))

    assert (only["error"]["code"], only["error"]["status"]) == ("unavailable", 503)
    (job,) = (await admin.get("/jobs/")).json()
    assert (job["state"], job["error"]["code"]) == ("failed", "unavailable")


async def test_a_running_import_answers_409(
    admin: AsyncClient, accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = CSV | {"Idempotency-Key": "one"}
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def listen(db: Any, event: Any) -> None:
        arrived.set()
        await go_on.wait()

    monkeypatch.setattr(accounts, "listeners", (listen,))
    first = asyncio.create_task(admin.post("/users/import", content=GOOD, headers=headers))
    await arrived.wait()

    second = await admin.post("/users/import", content=GOOD, headers=headers)
    running = (await admin.get("/jobs/")).json()
    go_on.set()

    assert (second.status_code, second.json()["code"]) == (409, "idempotency_key_in_flight")
    assert [job["state"] for job in running] == ["running"]
    assert lines(await first)[-1]["summary"]["created"] == 2


async def every_job(accounts: Accounts) -> AsyncIterator[Job]:
    async with accounts.database.read.session() as db:
        for job in await crud.list_jobs(db, limit=100):
            yield job


# -- size -------------------------------------------------------------------------------------------------------------


class TestSmall:
    @pytest.fixture
    def overrides(self) -> dict[str, Any]:
        return {"max_import_size": 20_000, "max_body_size": 2_000}

    async def test_a_file_may_be_larger_than_a_body_and_not_larger_than_its_own_limit(self, admin: AsyncClient) -> None:
        fits = "username\n" + "".join(f"user{n:06}\n" for n in range(1800))

        assert lines(await admin.post("/users/import", content=fits, headers=CSV))[-1]["summary"]["created"] == 1800

        async def pieces() -> AsyncIterator[bytes]:
            for _ in range(3):
                yield b"x" * 10_000

        for content in (fits + fits, pieces()):
            answer = await admin.post("/users/import", content=content, headers=CSV)
            assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
            assert "20000" in answer.json()["detail"]


# -- how many ---------------------------------------------------------------------------------------------------------


async def test_so_many_files_at_a_time_and_strangers_send_none(
    admin: AsyncClient, make_key: MakeKey, stored: Stored
) -> None:
    """Past them nothing of a body is read, and of somebody who may not import it is not either."""
    go_on, begun, asked = asyncio.Event(), asyncio.Semaphore(0), list[str]()

    async def slowly(name: str) -> AsyncIterator[bytes]:
        asked.append(name)
        begun.release()
        yield b"username\n"
        await go_on.wait()
        yield name.encode()

    def send(name: str, **headers: str) -> asyncio.Task[httpx.Response]:
        return asyncio.create_task(admin.post("/users/import", content=slowly(name), headers=CSV | headers))

    eight = [send(f"user{n}") for n in range(8)]
    for _ in eight:
        await begun.acquire()
    ninth = await send("ninth")
    strangers = [await send("x", Authorization="Bearer dzk_x"), await send("y", **await make_key(Scope.USERS_READ))]
    go_on.set()

    assert [lines(answer)[-1]["summary"]["created"] for answer in await asyncio.gather(*eight)] == [1] * 8
    assert (ninth.status_code, ninth.json()["code"], ninth.headers["retry-after"]) == (503, "unavailable", "10")
    assert [answer.status_code for answer in strangers] == [401, 403]
    assert sorted(asked) == [f"user{n}" for n in range(8)]
    assert lines(await send("after"))[-1]["summary"]["created"] == 1
    assert len(await stored()) == 9


# -- who goes away --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pieces", [0, 1])
async def test_an_import_whose_client_is_gone_is_let_go(
    app: FastAPI, accounts: Accounts, stored: Stored, make_key: MakeKey, pieces: int
) -> None:
    """The connection breaks before the answer begins, and after its first piece."""
    content = b"username\n" + b"".join(b"user%d\n" % n for n in range(6000))
    headers = {**CSV, **await make_key(), "host": "testserver"}
    scope = {
        "type": "http", "method": "POST", "path": "/users/import", "query_string": b"", "http_version": "1.1",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 1), "server": ("testserver", 80), "scheme": "http",
    }  # fmt: skip
    sent = 0
    body = iter([{"type": "http.request", "body": content, "more_body": False}])

    async def receive() -> Any:
        return next(body, None) or await asyncio.Future()

    async def send(message: Any) -> None:
        nonlocal sent
        if sent == pieces + (message["type"] != "http.response.start"):
            raise OSError("gone")
        sent += 1

    with suppress(OSError, ClientDisconnect, BaseExceptionGroup):
        await app(scope, receive, send)

    (job,) = [job async for job in every_job(accounts)]
    assert jobs.state_of(job, accounts.clock()) != "running"
    assert job.position == (len(await stored()) + 1 if job.parts else 0)
    assert len(await stored()) < 6000
