import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from structlog.contextvars import bound_contextvars

from denizen.core import logs

TOKEN = "dzk_" + "Ab9_-" * 8 + "xyz"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Give back to the other tests the logging they had."""
    root = logging.getLogger()
    handlers, level, names = (
        root.handlers[:],
        root.level,
        ("uvicorn", "uvicorn.error", "uvicorn.access", "alembic", "sqlalchemy"),
    )
    kept = {name: (logging.getLogger(name).level, logging.getLogger(name).propagate) for name in names}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.raiseExceptions = True
    logging.captureWarnings(capture=False)
    for name, (old, propagate) in kept.items():
        logging.getLogger(name).setLevel(old)
        logging.getLogger(name).propagate = propagate


@pytest.fixture
def out() -> io.StringIO:
    stream = io.StringIO()
    logs.configure(format="json", stream=stream)
    return stream


def events(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


log = logs.logger("denizen.test")


def test_one_event_is_one_line_of_json(out: io.StringIO) -> None:
    with bound_contextvars(request_id="abcdefgh"):
        log.info("user_created", user_id=7, tags=["a"])

    (event,) = events(out)
    assert event.pop("ts").endswith("Z")
    assert event == {
        "level": "info",
        "event": "user_created",
        "request_id": "abcdefgh",
        "logger": "denizen.test",
        "user_id": 7,
        "tags": ["a"],
    }


def test_words_of_other_libraries_take_the_same_way(out: io.StringIO) -> None:
    logging.getLogger("uvicorn.error").warning("Invalid %s", "request", extra={"color_message": "x"})
    logging.getLogger("sqlalchemy.engine").info("SELECT 1")

    (event,) = events(out)
    assert (event["event"], event["level"], event["logger"]) == ("Invalid request", "warning", "uvicorn.error")
    assert "color_message" not in event


@pytest.mark.parametrize("form", ["json", "console"])
def test_line_cannot_be_forged(form: logs.LogFormat) -> None:
    stream = io.StringIO()
    logs.configure(format=form, stream=stream)

    log.info("tried\r\nlevel=error", path="/a\nb\x1b[2J\u2028\x00\u202e", name="x\ud800")
    logging.getLogger("other").error("a\nb")

    text = stream.getvalue()
    assert text.count("\n") == 2
    assert not set("\r\x1b\u2028\x00\u202e") & set(text)


@pytest.mark.parametrize(
    "name", ["password", "new_password", "client_secret", "token", "Authorization", "dsn", "api_key", "set_cookie"]
)
def test_values_with_secret_names_are_masked(out: io.StringIO, name: str) -> None:
    log.info("event", **{name: "hunter2", "below": {name: "hunter2"}, "list": [{name: ["hunter2"]}]})

    assert "hunter2" not in out.getvalue()
    assert events(out)[0][name] == "***"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (f"key {TOKEN} refused", "key dzk_*** refused"),
        ("at postgresql://denizen:hunter2@db/x", "at postgresql://denizen:***@db/x"),
        ("at postgresql://denizen:hun@t:er2@db/x", "at postgresql://denizen:***@db/x"),
        ("Authorization: Bearer abcdefghijkl", "Authorization: Bearer ***"),
        ("hash $argon2id$v=19$m=19456$c2FsdA$aGFzaA here", "hash $argon2id$*** here"),
        ("https://example.com/a:b", "https://example.com/a:b"),
        ("nothing to hide: dzk_short", "nothing to hide: dzk_short"),
    ],
)
def test_secrets_inside_text_are_masked(out: io.StringIO, text: str, left: str) -> None:
    log.info(text, note=text, deep=[{"note": text}])
    logging.getLogger("other").warning("%s", text)

    first, second = events(out)
    assert first["event"] == first["note"] == first["deep"][0]["note"] == second["event"] == left


def test_secrets_in_a_traceback_are_masked(out: io.StringIO) -> None:
    with pytest.raises(ValueError, match="invalid literal") as caught:
        int(f"cannot use {TOKEN}")
    logs.report(log, "failed", caught.value, at=1)

    (event,) = events(out)
    assert TOKEN not in out.getvalue()
    assert "dzk_***" in event["exception"]
    assert "Traceback" in event["exception"]


def test_reported_error_is_told_once(out: io.StringIO) -> None:
    error = ValueError("x")
    logs.report(log, "failed", error)
    logging.getLogger("uvicorn.error").error("Exception in ASGI application\n", exc_info=error)
    logging.getLogger("uvicorn.error").error("Exception in ASGI application\n", exc_info=KeyError("another"))

    assert [event["event"] for event in events(out)] == ["failed", "Exception in ASGI application\n"]


def test_terminal_gets_plain_lines_in_colour() -> None:
    terminal = Terminal()
    logs.configure(format="auto", stream=terminal)
    log.warning("careful", key="dzk_" + "x" * 43)
    terminal_text = terminal.getvalue()
    assert "careful" in terminal_text
    assert "\x1b[" in terminal_text
    assert "x" * 43 not in terminal_text

    pipe = io.StringIO()
    logs.configure(format="auto", stream=pipe)
    log.warning("careful")
    assert json.loads(pipe.getvalue())["event"] == "careful"


def test_uvicorn_run_by_hand_says_where_it_is(out: io.StringIO) -> None:
    logging.getLogger("uvicorn.error").setLevel(logging.INFO)
    logs.configure(format="json", stream=out)
    logging.getLogger("uvicorn.error").info("Uvicorn running on %s", "http://127.0.0.1:8000")
    logs.configure(format="json", stream=out, serving=True)
    logging.getLogger("uvicorn.error").info("Uvicorn running again")

    assert [event["event"] for event in events(out)] == ["Uvicorn running on http://127.0.0.1:8000"]


def test_level_is_kept(out: io.StringIO) -> None:
    logs.configure(level="warning", format="json", stream=out)
    log.info("quiet")
    logging.getLogger("uvicorn.access").info("GET /?secret=1")

    assert events(out) == []


def test_inside_a_host_events_are_plain_records(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        log.info("key_made", name="first\nline", password="hunter2", progress="100%")

    assert [record.getMessage() for record in caplog.records] == [
        "key_made name=first\\nline password=*** progress=100%"
    ]
    assert caplog.records[0].funcName == "test_inside_a_host_events_are_plain_records"


def test_value_that_json_does_not_know_is_no_error(out: io.StringIO) -> None:
    log.info("event", thing=object(), when={1: {2, 3}}, data=b"\xff")

    assert len(events(out)) == 1
