"""What holds for input in our own server holds inside a host, whose own errors keep their shape."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, HTTPException
from httpx import ASGITransport, AsyncClient
from pydantic import BaseModel

from denizen.app import install
from denizen.core.accounts import Accounts
from denizen.core.deps import installs_of
from denizen.core.hashers import NullHasher
from denizen.migrations import runner
from denizen.settings import Settings
from tests.conftest import BASE_URL, SECRET
from tests.faults.serving import make_people, make_token, serving
from tests.hostile.test_survive_corpus import corpus_for, survive

UVICORN = ("uvicorn", "tests.hostile.host:app", "--log-level", "warning")
OF_OTHERS = {b'{"detail":"Not Found"}', b'{"detail":"Method Not Allowed"}', b"Invalid HTTP request received."}
"""What FastAPI says where no route of ours is, and Uvicorn where there is no request."""

ADA = {"username": "ada", "email": "ada@example.org", "password": "correct horse battery"}


@pytest.mark.slow
@pytest.mark.parametrize(("database_kind", "count"), [("sqlite", 600)], indirect=["database_kind"])
async def test_a_host_survives_what_its_accounts_are_sent(database_url: str, tmp_path: Path, count: int) -> None:
    """Under Uvicorn as it comes: header limits and hosts are the host's to see to, all else is ours."""
    people = await make_people(database_url, 20)
    async with serving(tmp_path, database_url, command=UVICORN) as server:
        corpus = await corpus_for(server, people, seed=count, prefix="/accounts")

        met = await survive(server, corpus.attacks_on_routes(count), others=OF_OTHERS)

        assert {"200", "400", "401", "404", "415", "422"} <= {key.split()[1] for key in met}
        assert (await server.client().get("/accounts/users/")).status_code == 200


class Thing(BaseModel):
    """The host's."""

    size: int


def compose(*accounts: tuple[str, Settings]) -> FastAPI:
    """A host with routes that fail in its own way."""
    host = FastAPI()
    for prefix, settings in accounts:
        install(host, prefix=prefix, settings=settings, hasher=NullHasher())

    @host.post("/things/")
    async def create_thing(thing: Thing) -> Thing:
        return thing

    @host.get("/things/{number}")
    async def read_thing(number: int) -> None:
        raise HTTPException(418 if number else 500, detail={"host": "says"})

    return host


def settings_for(path: Path, **more: Any) -> Settings:
    chosen = {"signup_rate_per_address": 0, "signup_rate_total": 0, "base_url": BASE_URL, "secret_key": SECRET, **more}
    return Settings(_env_file=None, database_url=f"sqlite:///{path}", **chosen)


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[FastAPI]:
    """A host with accounts for its staff, who send long bodies, and for its guests, who may not."""
    installs = []
    for name, limit in (("staff", 200_000), ("guests", 2_000)):
        path = tmp_path / f"{name}.db"
        runner.create(f"sqlite:///{path}")
        installs.append((f"/{name}", settings_for(path, max_body_size=limit, signup="open")))
    host = compose(*installs)
    yield host
    for accounts in installs_of(host):
        await accounts.close()


@pytest.fixture
async def client(two: FastAPI) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(transport=ASGITransport(two, raise_app_exceptions=False), base_url=BASE_URL) as client:
        yield client


async def test_errors_of_the_host_keep_their_shape(client: AsyncClient) -> None:
    invalid = await client.post("/things/", json={"size": "secret"})
    raised = await client.get("/things/1")
    nowhere = await client.get("/nowhere")
    other_method = await client.put("/things/")

    assert invalid.status_code == 422
    assert invalid.json()["detail"][0]["input"] == "secret"  # as FastAPI says it, whatever one thinks of that
    assert (raised.status_code, raised.json()) == (418, {"detail": {"host": "says"}})
    assert (nowhere.status_code, nowhere.json()) == (404, {"detail": "Not Found"})
    assert (other_method.status_code, other_method.json()) == (405, {"detail": "Method Not Allowed"})


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b'{"username": "\\ud800"}', 422, "invalid"),
        (b'{"username": "a\\u0000b"}', 422, "invalid"),
        (b'{"username": NaN}', 400, "malformed_body"),
        (b'{"username": 1e999}', 400, "malformed_body"),
        (b'{"username": 9223372036854775808}', 400, "malformed_body"),
        (b'{"password": "s3cret-one", "password": "s3cret-two"}', 400, "malformed_body"),
        ('{"password": "s3cret"}'.encode("utf-16"), 400, "malformed_body"),
        (b'{"password": "s3cret-\xff"}', 400, "malformed_body"),
        (b"[" * 1_000, 400, "malformed_body"),
        (b'{"password": ["s3cret"], "username": {"s3cret": 1}}', 422, "invalid"),
        (b'{"password": "' + b"s3cret" * 400 + b'"}', 413, "body_too_large"),
    ],
)
async def test_bodies_are_refused_as_in_our_own_server(
    client: AsyncClient, content: bytes, status: int, code: str
) -> None:
    answer = await client.post("/guests/users/", content=content, headers={"Content-Type": "application/json"})

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert "s3cret" not in answer.text


async def test_two_installs_never_meet(client: AsyncClient, two: FastAPI) -> None:
    """Two databases, two keys, two limits: what is said to one is nothing to the other."""
    staff, guests = installs_of(two)
    keys = {name: await _key(accounts) for name, accounts in (("staff", staff), ("guests", guests))}
    long = ADA | {"full_name": "x" * 3_000}

    made = [await client.post(f"/{name}/users/", json=ADA) for name in ("staff", "guests")]
    too_long = [await client.post(f"/{name}/users/", json=long) for name in ("staff", "guests")]
    listed = {
        (name, key): (await client.get(f"/{name}/users/", headers={"Authorization": f"Bearer {keys[key]}"})).status_code
        for name in keys
        for key in keys
    }

    assert [answer.status_code for answer in made] == [201, 201]
    assert made[0].json()["id"] != made[1].json()["id"]
    assert made[0].headers["location"].startswith(f"{BASE_URL}/staff/users/")
    assert [answer.status_code for answer in too_long] == [422, 413]
    assert listed == {
        ("staff", "staff"): 200,
        ("guests", "guests"): 200,
        ("staff", "guests"): 401,
        ("guests", "staff"): 401,
    }
    wrong_room = await client.get(
        f"/staff/users/{made[1].json()['id']}", headers={"Authorization": f"Bearer {keys['staff']}"}
    )
    assert wrong_room.status_code == 404


async def _key(accounts: Accounts) -> str:
    return await make_token(accounts.database.url.render_as_string(hide_password=False))
