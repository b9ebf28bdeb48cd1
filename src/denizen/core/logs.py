"""Logging: one event is one line, JSON or for a terminal, and no line carries a secret.

`logger()` is for everybody. It ends in the standard library's logging, so that inside a host our events go where the
host's go and `configure()`, which is for `denizen serve` and the commands alone, can render Uvicorn's, SQLAlchemy's
and Alembic's lines through the same pipeline as ours: structlog's, which is loaded for that alone.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, TextIO

if TYPE_CHECKING:
    from structlog.stdlib import ProcessorFormatter
    from structlog.types import EventDict, Processor, WrappedLogger

LogFormat = Literal["auto", "console", "json"]

MASK: Final = "***"
_DEPTH: Final = 6
_UVICORN: Final = ("uvicorn", "uvicorn.error", "uvicorn.access")
_FACTS: Final = "denizen_facts"
_REPORTED: Final = "_denizen_reported"
_SECRET_NAMES: Final = re.compile(
    r"passw|secret|token|authori[sz]ation|cookie|dsn|credential|api_?key|private", re.IGNORECASE
)
_SECRETS: Final = re.compile(
    r"(?P<token>\bdz[a-z]_)[A-Za-z0-9_-]{8,}"
    r"|(?P<user>://[^\s/?#@:]*:)[^\s/?#]*(?=@)"
    r"|(?P<query>[?&][a-z]*password=)[^\s&'\"]+"
    r"|(?P<scheme>\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{8,}"
    r"|(?P<hash>\$(?:argon2(?:id|i|d)|2[abxy]|scrypt|pbkdf2[a-z0-9-]*)\$)[^\s'\",)]+",
    re.IGNORECASE,
)
_CONTROLS: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\u202a-\u202e\u2066-\u2069]")


class Logger:
    """Tells events as standard records: a host's formatter prints `event key=value`, ours finds the facts."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def info(self, event: str, /, **facts: Any) -> None:
        """Tell what an operator may want to know."""
        self._tell(logging.INFO, event, facts)

    def warning(self, event: str, /, **facts: Any) -> None:
        """Tell what went otherwise than it should, and was dealt with."""
        self._tell(logging.WARNING, event, facts)

    def error(self, event: str, /, *, exc_info: BaseException | None = None, **facts: Any) -> None:
        """Tell what somebody has to look at, with the traceback of `exc_info`."""
        self._tell(logging.ERROR, event, facts, exc_info)

    def _tell(self, level: int, event: str, facts: dict[str, Any], error: BaseException | None = None) -> None:
        if not self._logger.isEnabledFor(level):
            return
        clean = {name: _clean(name, value, 0) for name, value in facts.items()}
        words = " ".join([escaped(event), *(f"{name}={escaped(str(value))}" for name, value in clean.items())])
        self._logger.log(level, words, exc_info=error, stacklevel=3, extra={_FACTS: (event, clean)})


def logger(name: str) -> Logger:
    """Give a logger: `log.info("key_made", key_id=...)`. Works in any host, configured by us or not."""
    return Logger(name)


def configure(
    *,
    level: str = "INFO",
    format: LogFormat = "auto",  # noqa: A002  (as in the setting DENIZEN_LOG_FORMAT)
    stream: TextIO | None = None,
    serving: bool = False,
) -> None:
    """Send every log line of this process to `stream` (standard error) in one form. Never called inside a host.

    Args:
        level: `DEBUG`, `INFO`, `WARNING` or `ERROR`; above `DEBUG` SQLAlchemy and Alembic say only what went wrong.
        format: `json`, `console`, or `auto`: console on a terminal, JSON elsewhere.
        stream: where to write.
        serving: by `denizen serve`, which says itself where it is: Uvicorn says only what went wrong, too.
    """
    out = stream if stream is not None else sys.stderr
    console = is_console(format, out)
    handler = logging.StreamHandler(out)
    handler.setFormatter(_formatter(console=console, colors=console and out.isatty()))
    handler.addFilter(_worth_saying)
    root = logging.getLogger()
    for old in root.handlers[:]:
        if type(old) is logging.StreamHandler:  # ours, or `basicConfig`'s; a collector of errors may stay
            root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    logging.raiseExceptions = False
    logging.captureWarnings(capture=True)
    quiet = logging.NOTSET if level.upper() == "DEBUG" else logging.WARNING
    for name in (*_UVICORN, "alembic", "sqlalchemy", "watchfiles"):
        foreign = logging.getLogger(name)
        foreign.handlers.clear()
        foreign.propagate = name != "uvicorn.access"  # its lines carry query strings
        if serving or name not in _UVICORN:
            foreign.setLevel(quiet)


def is_console(format: LogFormat, stream: TextIO) -> bool:  # noqa: A002  (as in the setting DENIZEN_LOG_FORMAT)
    """Tell whether lines to `stream` are for a person."""
    return format == "console" or (format == "auto" and stream.isatty())


def report(log: Logger, event: str, error: BaseException, **facts: Any) -> None:
    """Log an unexpected error with its traceback, once: what Uvicorn says about the same error is dropped."""
    log.error(event, exc_info=error, **facts)
    setattr(error, _REPORTED, True)


def masked(text: str) -> str:
    """Give `text` without tokens, passwords in URLs, credentials and password hashes."""
    return _SECRETS.sub(_mask, text)


def escaped(text: str) -> str:
    r"""Give `text` on one line: control characters, line separators and direction overrides become `\n`, `\x1b`, ..."""
    return _CONTROLS.sub(_escape, text)


# ---------------------------------------------------------------------------------------------------------- processors


def _facts_of_record(_: WrappedLogger, __: str, event_dict: EventDict) -> EventDict:
    facts = getattr(event_dict["_record"], _FACTS, None)
    if facts is not None:
        event_dict["event"], ours = facts
        event_dict.update(ours)
    return event_dict


def _without_color_message(_: WrappedLogger, __: str, event_dict: EventDict) -> EventDict:
    event_dict.pop("color_message", None)
    return event_dict


def _mask_facts(_: WrappedLogger, __: str, event_dict: EventDict) -> EventDict:
    return {name: value if name == "_record" else _clean(name, value, 0) for name, value in event_dict.items()}


def _escape_facts(_: WrappedLogger, __: str, event_dict: EventDict) -> EventDict:
    """Escape what a terminal would act on; the lines of a traceback stay lines."""
    for name, value in event_dict.items():
        if name == "exception" and isinstance(value, str):
            event_dict[name] = "\n".join(escaped(line) for line in value.split("\n"))
        elif name != "_record":
            event_dict[name] = escaped(value if isinstance(value, str) else str(value))
    return event_dict


def _in_order(_: WrappedLogger, __: str, event_dict: EventDict) -> EventDict:
    first = ("ts", "level", "event", "request_id", "logger")
    return {name: event_dict.pop(name) for name in first if name in event_dict} | dict(event_dict)


def _to_json(_: WrappedLogger, __: str, event_dict: EventDict) -> str:
    return json.dumps(event_dict, default=str, ensure_ascii=True)


def _formatter(*, console: bool, colors: bool) -> ProcessorFormatter:
    from structlog.contextvars import merge_contextvars
    from structlog.dev import ConsoleRenderer, plain_traceback
    from structlog.processors import TimeStamper, format_exc_info
    from structlog.stdlib import ProcessorFormatter, add_log_level, add_logger_name

    clock = TimeStamper(fmt="%H:%M:%S" if console else "iso", utc=not console, key="ts")
    shared: list[Processor] = [
        _facts_of_record,
        merge_contextvars,
        add_log_level,
        clock,
        _without_color_message,
    ]
    if console:
        ends: list[Processor] = [
            format_exc_info,
            ProcessorFormatter.remove_processors_meta,
            _mask_facts,
            _escape_facts,
            ConsoleRenderer(colors=colors, exception_formatter=plain_traceback, timestamp_key="ts", pad_event_to=0),
        ]
    else:
        ends = [
            add_logger_name,
            format_exc_info,
            ProcessorFormatter.remove_processors_meta,
            _mask_facts,
            _in_order,
            _to_json,
        ]
    return ProcessorFormatter(processors=ends, foreign_pre_chain=shared)


# ------------------------------------------------------------------------------------------------------------- masking


def _clean(name: str, value: Any, depth: int) -> Any:
    """Give `value` as JSON can carry it, without secrets; a value whose name sounds like one is masked whole."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if _SECRET_NAMES.search(name) and not isinstance(value, Mapping):
        return MASK
    if isinstance(value, str):
        return masked(value)
    if isinstance(value, Mapping) and depth < _DEPTH:
        return {masked(str(key)): _clean(str(key), item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset) and depth < _DEPTH:
        return [_clean(name, item, depth + 1) for item in value]
    return masked(str(value))


def _mask(match: re.Match[str]) -> str:
    kept = next(text for text in match.groupdict().values() if text is not None)
    return f"{kept}{MASK}"


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode("ascii")


def _worth_saying(record: logging.LogRecord) -> bool:
    """Drop what was said already (`report`) and the cancellations that an orderly stop is made of."""
    error = record.exc_info[1] if record.exc_info else None
    if record.name != "uvicorn.error" or error is None:
        return True
    return not (getattr(error, _REPORTED, False) or isinstance(error, asyncio.CancelledError))
