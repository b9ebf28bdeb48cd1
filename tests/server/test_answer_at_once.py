"""When the parts of an answer go out: the head with the body where there is one, and alone where that is to come."""

from __future__ import annotations

import pytest

from tests.server.running import Running


def test_answer_comes_in_one_piece(server: Running) -> None:
    connection = server.connect()

    for _ in range(50):
        connection.send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        head, _, body = connection.socket.recv(65_536).partition(b"\r\n\r\n")

        assert b"content-length: %d\r\n" % len(body) in head + b"\r\n"
        assert body


def test_head_of_an_answer_does_not_wait_for_its_body(server: Running) -> None:
    connection = server.connect().send("GET /waits HTTP/1.1\r\nHost: x\r\n\r\n")

    assert connection.file.readline() == b"HTTP/1.1 200 OK\r\n"
    while connection.file.readline().strip():
        pass
    assert server.connect().send("POST /let-go HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n").answer().status == 200
    assert connection.file.readline() == b"4\r\n"
    assert connection.file.readline() == b"done\r\n"


def test_answer_that_breaks_after_its_head_is_cut_off(server: Running) -> None:
    connection = server.connect().send("GET /breaks HTTP/1.1\r\nHost: x\r\n\r\n")

    told = connection.file.read()

    assert told.startswith(b"HTTP/1.1 200 OK\r\n")
    assert told.endswith(b"\r\n\r\n")  # and no chunk that would say that this is all


@pytest.mark.parametrize("size", [0, 1, 65_536, 65_537, 3_000_000])
def test_body_of_any_size_follows_its_head(server: Running, size: int) -> None:
    connection = server.connect()

    for _ in range(2):
        answer = connection.get(f"/bytes?size={size}")
        assert (answer.status, answer.headers["content-length"], answer.body) == (200, str(size), b"x" * size)


def test_answers_without_a_body_keep_their_place(server: Running) -> None:
    connection = server.connect()
    connection.send("".join(f"{method} /healthz HTTP/1.1\r\nHost: x\r\n\r\n" for method in ("HEAD", "GET", "HEAD")))

    heads = []
    for number in range(3):
        heads.append(connection.file.readline())
        while connection.file.readline().strip():
            pass
        if number == 1:
            assert connection.file.read(len(b'{"status":"ok"}'))
    assert heads == [b"HTTP/1.1 200 OK\r\n"] * 3
    assert connection.get("/healthz").status == 200
