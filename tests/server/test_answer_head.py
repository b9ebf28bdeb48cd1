"""HEAD on a real server and its connections: not a byte of a body, so that the next answer begins where it should."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest

from tests.faults.serving import make_people, serving
from tests.server.running import Running

UVICORN = ("uvicorn", "tests.hostile.host:app", "--log-level", "warning")


@pytest.mark.slow
def test_next_answer_on_the_connection_begins_where_it_should(server: Running) -> None:
    heads = [
        f"HEAD {path} HTTP/1.1\r\nHost: x\r\n\r\n"
        for path in ("/notes/", "/notes", "/healthz", "/readyz", "/large", "/nothing", "/docs", "/trailers")
    ]
    connection = server.connect().send("".join(heads))  # all at once: a pipeline

    statuses = []
    for _ in heads:
        statuses.append(connection.file.readline())
        while connection.file.readline().strip():
            pass

    assert [status[:12] for status in statuses] == [
        b"HTTP/1.1 200",
        b"HTTP/1.1 200",
        b"HTTP/1.1 200",
        b"HTTP/1.1 200",
        b"HTTP/1.1 200",
        b"HTTP/1.1 404",
        b"HTTP/1.1 200",
        b"HTTP/1.1 405",
    ]
    assert connection.get("/headers").status == 200


@pytest.mark.slow
@pytest.mark.parametrize("command", [("denizen", "serve"), UVICORN, (*UVICORN, "--http", "h11")])
@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_head_says_what_get_says(database_url: str, tmp_path: Path, command: tuple[str, ...]) -> None:
    prefix = "" if command == ("denizen", "serve") else "/accounts"
    person, _ = await make_people(database_url, 2)
    async with serving(tmp_path, database_url, command=command) as server:
        client = server.client()
        for path in ("/users/?limit=1", "/users", f"/users/{person}", "/users/7", "/keys/", "/keys/current"):
            got = await client.get(prefix + path)
            head = await client.head(prefix + path)

            assert (head.status_code, head.content) == (got.status_code, b"")
            assert told(head) == told(got), path
            assert int(head.headers["content-length"]) == len(got.content)
        assert {"link", "x-next-cursor"} <= (await client.head(f"{prefix}/users/?limit=1")).headers.keys()
        assert (await client.head(f"{prefix}/users/{person}")).headers["etag"] == '"1"'
        stranger = await server.client(key=False).head(f"{prefix}/users/")
        assert (stranger.status_code, stranger.headers["www-authenticate"]) == (401, "Bearer")


def told(answer: httpx.Response) -> dict[str, str]:
    """The headers that do not differ from one request to the next."""
    return {name: value for name, value in answer.headers.items() if not re.match("date|x-request-id", name)}
