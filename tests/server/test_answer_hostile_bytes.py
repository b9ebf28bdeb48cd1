"""Bytes that are not HTTP, or more than one request at a time."""

import pytest

from tests.server.running import Connection, Running


@pytest.fixture
def connection(server: Running) -> Connection:
    return server.connect()


@pytest.mark.parametrize(
    "data",
    [
        b"\x00\x01\x02\x03garbage\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 100,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\r\n\r\n",
        b"get / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"NOSUCHMETHOD / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nA\x00: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nA: b\x00c\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nA: b\n c\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT example.com:443 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    ],
)
def test_what_is_no_request_is_refused(connection: Connection, data: bytes) -> None:
    answer = connection.send(data).answer()

    assert 400 <= answer.status < 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    assert connection.is_closed()


def test_broken_chunks_end_the_request(connection: Connection) -> None:
    connection.send("POST /notes HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")

    assert connection.send("zz\r\n").answer().status == 400
    assert connection.is_closed()


def test_pipelined_requests_are_answered_in_order(connection: Connection) -> None:
    connection.send(
        "GET /slow?seconds=0.3 HTTP/1.1\r\nHost: x\r\n\r\n" + "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 20
    )

    assert connection.answer().json() == "done"
    assert [connection.answer().status for _ in range(20)] == [200] * 20
    assert connection.get("/healthz").status == 200


def test_garbage_after_a_request_waits_for_its_answer(connection: Connection) -> None:
    connection.send("GET /slow?seconds=0.3 HTTP/1.1\r\nHost: x\r\n\r\nGARBAGE\x00\r\n\r\n")

    assert connection.answer().json() == "done"
    assert connection.answer().status == 400
    assert connection.is_closed()


def test_error_of_one_pipelined_request_leaves_the_next(connection: Connection) -> None:
    connection.send("GET /broken HTTP/1.1\r\nHost: x\r\n\r\nGET /slow?seconds=0.2 HTTP/1.1\r\nHost: x\r\n\r\n")

    assert connection.answer().status == 500
    assert connection.answer().json() == "done"


def test_http_1_0_is_answered_and_closed(connection: Connection) -> None:
    answer = connection.send("GET /healthz HTTP/1.0\r\n\r\n").answer()

    assert answer.status == 200
    assert answer.headers["connection"] == "close"
    assert connection.is_closed()


@pytest.mark.parametrize("upgrade", ["websocket", "h2c"])
def test_upgrade_is_ignored(connection: Connection, upgrade: str) -> None:
    assert connection.get("/healthz", "Connection: Upgrade", f"Upgrade: {upgrade}").status == 200


def test_header_of_an_answer_cannot_be_split(connection: Connection) -> None:
    connection.send("GET /split HTTP/1.1\r\nHost: x\r\n\r\n")

    assert b"set-cookie" not in connection.file.read()


def test_request_id_with_control_characters_is_replaced(connection: Connection) -> None:
    answer = connection.get("/healthz", "X-Request-Id: abcdefgh%0d%0aset-cookie:x")

    assert len(answer.headers["x-request-id"]) == 32


def test_server_does_not_say_what_it_is(connection: Connection) -> None:
    answer = connection.get("/healthz")

    assert "server" not in answer.headers
    assert answer.headers["date"].endswith("GMT")


def test_forwarded_headers_of_strangers_are_not_believed(connection: Connection) -> None:
    answer = connection.get("/client", "X-Forwarded-For: 6.6.6.6", "X-Forwarded-Proto: https")

    assert "6.6.6.6" not in answer.json()


@pytest.mark.slow
def test_thousands_of_hostile_requests_leave_the_server_well(server: Running) -> None:
    bodies = [b"[" * 1000, b'{"a":' * 500, b"\xff\xfe{\x00}\x00", b'{"text":NaN}', b"9" * 5000, b"\x00" * 100]
    connection = server.connect()
    for number in range(2_000):
        body = bodies[number % len(bodies)]
        head = (
            f"POST /notes HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        assert connection.send(head.encode() + body).answer().status == 400

    assert server.process.poll() is None
