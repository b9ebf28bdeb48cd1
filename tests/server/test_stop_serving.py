"""SIGTERM: requests in flight finish, nothing else keeps the process."""

import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.server.running import Answer, Connection, running


@pytest.mark.slow
def test_idle_server_stops_at_once_with_status_0(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        assert server.connect().get("/healthz").status == 200

        status, seconds = server.stop(30)

    assert status == 0
    assert seconds < 5  # requests in flight would have 6.5


def test_request_in_flight_finishes_and_new_ones_are_refused(tmp_path: Path) -> None:
    answers: list[Answer] = []
    with running(tmp_path) as server:
        connection, idle = server.connect(), server.connect()
        idle.get("/healthz")
        reader = threading.Thread(target=lambda: answers.append(connection.get("/slow?seconds=4")))
        reader.start()
        time.sleep(1)

        server.process.send_signal(signal.SIGTERM)
        time.sleep(1)
        with pytest.raises(ConnectionError):
            Connection(server.port)
        assert idle.is_closed()
        reader.join()
        assert server.process.wait(15) == 0

    assert answers[0].json() == "done"
    assert answers[0].headers["connection"] == "close"


@pytest.mark.slow
def test_request_begun_on_a_kept_connection_while_stopping_is_503(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        connection = server.connect().send("GET /slow?seconds=3 HTTP/1.1\r\nHost: x\r\n\r\nGET /hea")
        time.sleep(1)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(1)
        connection.send("lthz HTTP/1.1\r\nHost: x\r\n\r\n")

        assert connection.answer().json() == "done"
        assert connection.is_closed()
        assert server.process.wait(15) == 0


@pytest.mark.slow
@pytest.mark.timeout(30)
def test_half_a_body_a_hanging_request_and_an_endless_answer_do_not_keep_it(tmp_path: Path) -> None:
    with running(tmp_path, limits={"grace": 1.0}) as server:
        server.connect().send("POST /notes HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        server.connect().send("GET /healthz HTTP/1.1\r\nHo")
        server.connect().send("GET /slow?seconds=3600 HTTP/1.1\r\nHost: x\r\n\r\n")
        server.connect().send("GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
        server.connect().send("GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(1)

        status, seconds = server.stop(20)

    assert status == 0
    assert seconds < 10  # which is promised


@pytest.mark.slow
@pytest.mark.timeout(30)
def test_request_that_ignores_its_end_is_ended_with_the_process(tmp_path: Path) -> None:
    with running(tmp_path, limits={"grace": 0.3}, environment={"DEMO_HANGS": "1"}) as server:
        server.connect().send("GET /stubborn HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(1)

        status, seconds = server.stop(20)

    assert status == 0
    assert seconds < 10
    assert server.events()[-1]["event"] == "stopped_hard"


@pytest.mark.slow
def test_interrupt_from_the_keyboard_stops_it_without_a_traceback(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        server.process.send_signal(signal.SIGINT)

        assert server.process.wait(15) == 0
        assert "Traceback" not in server.log.read_text()


@pytest.mark.slow
def test_address_that_is_taken_is_told(tmp_path: Path) -> None:
    with (
        running(tmp_path) as server,
        pytest.raises(RuntimeError, match="address already in use"),
        running(tmp_path, port=server.port),
    ):
        pass


@pytest.mark.slow
@pytest.mark.timeout(30)
def test_worker_that_dies_is_replaced_and_all_stop_together(tmp_path: Path) -> None:
    with running(tmp_path, workers=2) as server:
        children = {child.pid for child in psutil.Process(server.process.pid).children()}
        pids = {server.connect().get("/pid").json() for _ in range(12)}
        assert pids <= children
        assert server.process.pid not in pids

        server.connect().send("POST /crash HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n").is_closed()
        deadline = time.monotonic() + 20
        replaced: set[int] = set()
        while not replaced and time.monotonic() < deadline:
            replaced = {server.connect().get("/pid").json() for _ in range(12)} - children
        assert replaced
        status, seconds = server.stop(20)

        assert status == 0
        assert seconds < 10
        assert not any(psutil.pid_exists(pid) for pid in replaced)
    assert [event["exit"] for event in server.events() if event["event"] == "worker_died"] == [7]


@pytest.mark.slow
@pytest.mark.timeout(30)
def test_workers_stop_when_their_parent_is_killed(tmp_path: Path) -> None:
    with running(tmp_path, workers=2) as server:
        workers = [psutil.Process(server.connect().get("/pid").json()) for _ in range(8)]
        server.process.kill()
        server.process.wait()

        gone, alive = psutil.wait_procs(set(workers), timeout=20)
    assert gone
    assert not alive


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_changed_file_starts_the_application_again(tmp_path: Path) -> None:
    watched = tmp_path / "watched"
    watched.mkdir()
    with running(tmp_path, reload=True, reload_dirs=[str(watched)]) as server:
        before = after = server.connect().get("/pid").json()
        deadline = time.monotonic() + 25
        while after == before and time.monotonic() < deadline:
            (watched / "module.py").write_text(f"x = {time.monotonic()}")
            time.sleep(1)
            with suppress(OSError, EOFError):
                after = server.connect().get("/pid").json()
        assert after != before
        status, _ = server.stop(20)
        assert status == 0
        with pytest.raises(ProcessLookupError):
            os.kill(after, 0)
