"""What a client may not do to `serve`: sizes and deadlines, tried through real sockets."""

import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.server.running import Running, running

POST = "POST /notes HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


def assert_alive(server: Running) -> None:
    connection = server.connect()
    assert connection.get("/healthz").status == 200
    connection.close()


def test_twenty_thousand_headers_are_431(server: Running) -> None:
    connection = server.connect()
    with suppress(ConnectionError):
        connection.send("GET /healthz HTTP/1.1\r\nHost: x\r\n" + "A: b\r\n" * 20_000 + "\r\n")
    answer = connection.answer()

    assert answer.status == 431
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "headers_too_large"
    assert connection.is_closed()
    assert_alive(server)


@pytest.mark.parametrize(
    "head",
    [
        "GET /headers HTTP/1.1\r\nHost: x\r\n" + "A: b\r\n" * 101 + "\r\n",
        "GET /headers HTTP/1.1\r\nHost: x\r\nCookie: " + "x" * 33_000 + "\r\n\r\n",
        "GET /headers?" + "x" * 33_000 + " HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /headers HTTP/1.1\r\nHost: x\r\nCookie: " + "x" * 40_000,
        "GET /headers?" + "x" * 70_000,
    ],
    ids=["101 headers", "one long header", "long path", "a header without end", "a path without end"],
)
def test_head_beyond_the_limits_is_431(server: Running, head: str) -> None:
    connection = server.connect().send(head)

    assert connection.answer().status == 431
    assert connection.is_closed()


def test_one_megabyte_of_one_header_is_431(server: Running) -> None:
    connection = server.connect()
    with suppress(ConnectionError):
        connection.send("GET / HTTP/1.1\r\nHost: x\r\nCookie: ")
        for _ in range(16):
            connection.send("x" * 65_536)

    assert connection.answer().status == 431


def test_hundred_headers_of_thirty_kilobytes_are_served(server: Running) -> None:
    lines = "".join(f"X-{number}: {'x' * 250}\r\n" for number in range(99))

    answer = server.connect().send(f"GET /headers HTTP/1.1\r\nHost: x\r\n{lines}\r\n").answer()

    assert answer.status == 200
    assert len(answer.json()) == 100


def test_large_request_before_a_pipelined_one_does_not_count_as_its_head(server: Running) -> None:
    body = b'{"text":"' + b"x" * 60_000 + b'"}'
    first = f"{POST}Content-Length: {len(body)}\r\n\r\n".encode() + body
    connection = server.connect().send(first + b"GET /healthz HTTP/1.1\r\nHo")
    assert connection.answer().status == 201

    assert connection.send("st: x\r\n\r\n").answer().status == 200


def test_fifty_megabytes_are_413_before_they_are_read(server: Running) -> None:
    connection = server.connect()
    connection.send(f"{POST}Content-Length: 52428800\r\n\r\n")
    begun = time.monotonic()
    with suppress(ConnectionError):
        for _ in range(800):
            connection.send(b"x" * 65_536)

    answer = connection.answer()
    assert answer.status == 413
    assert answer.json()["code"] == "body_too_large"
    assert time.monotonic() - begun < 10
    assert_alive(server)


def test_chunked_body_is_counted(server: Running) -> None:
    connection = server.connect().send(f"{POST}Transfer-Encoding: chunked\r\n\r\n")
    with suppress(ConnectionError):
        for _ in range(20):
            connection.send(b"2710\r\n" + b"x" * 10_000 + b"\r\n")

    assert connection.answer().status == 413


def test_connection_goes_on_after_an_answer_that_came_before_the_body(server: Running) -> None:
    connection = server.connect().send("POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
    assert connection.answer().status == 404

    connection.send("x" * 1000)

    assert connection.get("/healthz").status == 200


def test_client_that_waits_for_continue_is_refused_without_its_body(server: Running) -> None:
    connection = server.connect().send(f"{POST}Content-Length: 52428800\r\nExpect: 100-continue\r\n\r\n")

    assert connection.answer().status == 413
    assert connection.is_closed()


def test_client_that_waits_for_continue_gets_it(server: Running) -> None:
    connection = server.connect().send(f"{POST}Content-Length: 12\r\nExpect: 100-continue\r\n\r\n")
    assert connection.file.readline() == b"HTTP/1.1 100 Continue\r\n"
    connection.file.readline()

    assert connection.send('{"text":"a"}').answer().status == 201


def test_headers_that_never_end_are_408(server: Running) -> None:
    connection = server.connect().send("GET /healthz HTTP/1.1\r\nHost: x\r\n")

    answer = connection.trickle("A: b\r\n", every=0.1).answer()

    assert answer.status == 408
    assert answer.json()["code"] == "request_timeout"
    assert connection.is_closed()


def test_connection_that_says_nothing_is_closed(server: Running) -> None:
    assert server.connect().is_closed()


def test_body_that_stalls_is_408(server: Running) -> None:
    connection = server.connect().send(f'{POST}Content-Length: 100\r\n\r\n{{"te')
    begun = time.monotonic()

    assert connection.answer().status == 408
    assert connection.is_closed()
    assert 0.5 < time.monotonic() - begun < 10


def test_body_that_trickles_is_408(server: Running) -> None:
    connection = server.connect().send(f"{POST}Content-Length: 1000\r\n\r\n")

    assert connection.trickle("x", every=0.1).answer().status == 408


@pytest.mark.slow
def test_slow_answer_is_not_the_clients_fault(server: Running) -> None:
    connection = server.connect()

    assert connection.get("/slow?seconds=1.5").json() == "done"
    assert connection.get("/healthz").status == 200


@pytest.mark.slow
def test_idle_connection_is_kept_and_closed_in_the_end(server: Running) -> None:
    connection = server.connect()
    assert connection.get("/healthz").status == 200
    time.sleep(1)
    assert connection.get("/healthz").status == 200

    begun = time.monotonic()
    assert connection.is_closed()
    assert time.monotonic() - begun > 1


@pytest.mark.slow
def test_client_that_takes_nothing_of_an_answer_is_cut(server: Running) -> None:
    connection = server.connect().send("GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
    time.sleep(4)

    try:
        received = len(connection.file.read())
    except ConnectionError:
        received = 0
    assert received < 100_000_000
    assert_alive(server)


@pytest.mark.parametrize(
    "filling", [b"1;" + b"x" * 50_000, b"0\r\n" + b"A: b\r\n" * 10_000], ids=["extension", "trailers"]
)
def test_chunk_extensions_and_trailers_without_end_are_refused(server: Running, filling: bytes) -> None:
    connection = server.connect().send(f"{POST}Transfer-Encoding: chunked\r\n\r\n")
    time.sleep(0.05)
    with suppress(ConnectionError):
        for _ in range(20):
            connection.send(filling)

    assert connection.answer().status in {400, 408}
    assert connection.is_closed()


def test_trailers_do_not_become_headers(server: Running) -> None:
    connection = server.connect().send("POST /trailers HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    connection.send("1\r\nx\r\n0\r\nAuthorization: Bearer x\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n")

    assert connection.answer().json() == ["host", "transfer-encoding"]


@pytest.mark.slow
def test_two_hundred_half_open_connections_leave_room(tmp_path: Path) -> None:
    with running(tmp_path, limits={"header_timeout": 60}) as server:
        for _ in range(200):
            server.connect().send("GET /healthz HTTP/1.1\r\nHost: x\r\n")

        begun = time.monotonic()
        assert_alive(server)
        assert time.monotonic() - begun < 5
        assert not server.connections[0].is_closed(within=0.1)


@pytest.mark.slow
def test_beyond_the_most_connections_only_health_is_answered(tmp_path: Path) -> None:
    with running(tmp_path, limits={"max_connections": 3}) as server:
        for _ in range(3):
            server.connect().send("GET /slow?seconds=30 HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(1)

        refused = server.connect().get("/notes")
        assert refused.status == 503
        assert refused.headers["retry-after"] == "1"
        assert refused.json()["code"] == "server_busy"
        assert server.connect().get("/healthz").status == 200
        for _ in range(4):
            server.connect()
        assert server.connect().is_closed(within=5)


@pytest.mark.slow
def test_longest_idle_connection_makes_room(tmp_path: Path) -> None:
    with running(tmp_path, limits={"max_connections": 3}) as server:
        time.sleep(1)  # until the server has noticed that the probe of its start is gone
        idle = [server.connect() for _ in range(3)]
        for connection in idle:
            assert connection.get("/healthz").status == 200
            time.sleep(0.05)  # the event loop's clock ticks in milliseconds

        assert server.connect().get("/notes").status == 200
        assert idle[0].is_closed()
        assert idle[1].get("/notes").status == 200
