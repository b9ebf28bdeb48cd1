"""Everything an operator can set, and the only file that reads (or writes) the environment.

A setting is `DENIZEN_` and its name in capitals, in the environment or in the file `.env` of the working folder; the
environment wins, and an empty value counts as unset. What is mistyped refuses to start: a server that runs with half
of what its operator meant is worse than one that does not run.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, Self

from dotenv.parser import parse_stream
from pydantic import Field, JsonValue, PrivateAttr, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from denizen import setting_types as types
from denizen.setting_types import mask_password

PREFIX = "DENIZEN_"
Source = Literal["default", "environment", ".env", "option"]
DatabaseKind = Literal["sqlite", "postgresql"]


class SettingsError(ValueError):
    """Settings that cannot be used.

    Args:
        faults: one sentence for each fault; it names the variable and never repeats a value.
    """

    code = "settings_invalid"
    title = "Settings cannot be used"

    def __init__(self, *faults: str) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting as `denizen settings` shows it: `value` is written as in the environment, secrets masked."""

    name: str
    value: str
    source: Source
    meaning: str


def _about(default: Any, meaning: str, *, shown: str | None = None, **bounds: Any) -> Any:
    """A field with its meaning; `shown` is what the documentation says of a default that is worked out."""
    extra: dict[str, JsonValue] = {} if shown is None else {"shown_default": shown}
    if callable(default):
        return Field(default_factory=default, description=meaning, json_schema_extra=extra, **bounds)
    return Field(default, description=meaning, json_schema_extra=extra, **bounds)


class Settings(BaseSettings):
    """All settings, checked. Frozen: what a process started with is what it runs with.

    Keyword arguments (the options of `denizen serve`, an embedding application) win over the environment.

    Raises:
        SettingsError: with a sentence for every fault, unknown `DENIZEN_*` variables included.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file_encoding="utf-8-sig",
        env_ignore_empty=True,
        enable_decoding=False,
        dotenv_filtering="only_existing",
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        validate_default=True,
    )
    _origins: dict[str, Source] = PrivateAttr(default_factory=dict)

    database_url: types.DatabaseUrl = _about(
        "sqlite:///denizen.db",
        "Where accounts are kept: `sqlite:///FILE` (relative to the working folder), or "
        "`postgresql://user:password@host/name`.",
        repr=False,
    )
    secret_key: types.Secret | None = _about(
        None,
        "Signs what clients hand back, such as cursors: at least 32 random characters. With SQLite it is made on first "
        "run, in the file `DATABASE.secret` beside the database; with PostgreSQL it must be set.",
        shown="a file (SQLite)",
    )
    host: types.Text = _about(
        "127.0.0.1", "Address that `denizen serve` listens on; `0.0.0.0` or `::` for all.", min_length=1, max_length=255
    )
    port: int = _about(8000, "Port that `denizen serve` listens on; 0 takes a free one.", ge=0, le=65535)
    workers: int = _about(1, "Server processes.", ge=1, le=64)
    base_url: types.BaseUrl = _about(
        types.default_base_url,
        "The address people use. All links are built from it, never from a request.",
        shown="`http://127.0.0.1:PORT`",
        max_length=500,
    )
    prefix: types.PathPrefix = _about("", "Path in front of every route, such as `/accounts`.", max_length=200)
    site_name: types.Text = _about(
        "Denizen", "Name of the site: shown in `/docs`, and refused as a password.", min_length=1, max_length=64
    )
    signup: types.SignUp = _about(
        "open", "Who may create an account without a key: anybody (`open`) or nobody (`closed`)."
    )
    signup_rate_per_address: int = _about(
        10,
        "Accounts that one address may create without a key, a minute and process; 0 for no limit.",
        ge=0,
        le=1_000_000,
    )
    signup_rate_total: int = _about(
        300, "Accounts that all may create without a key, a minute and process; 0 for no limit.", ge=0, le=1_000_000
    )
    allowed_hosts: types.Hosts = _about(
        types.default_allowed_hosts,
        "Host names that requests may be addressed to; `*.example.com` for all below it, `*` for any.",
        shown="the host of `DENIZEN_BASE_URL`, `DENIZEN_HOST` and this machine's own names",
        min_length=1,
        max_length=100,
    )
    trusted_proxies: types.Networks = _about(
        (), "Addresses and networks of proxies whose `X-Forwarded-*` is believed.", max_length=100
    )
    cors_origins: types.Origins = _about(
        (), "Origins of pages that may call the API from a browser, such as `https://app.example.com`.", max_length=100
    )
    log_level: types.LogLevel = _about(
        "info", "The least that is logged: `debug`, `info`, `warning`, `error` or `critical`."
    )
    log_format: types.LogFormat = _about(
        "auto", "`console`, `json` (one event, one line) or `auto`: console on a terminal, JSON elsewhere."
    )
    access_log: bool = _about(False, "Log every request; it costs a third of the throughput.")
    max_body_size: types.Bytes = _about(
        1 << 20, "Largest request body, in bytes or with a unit (`1MiB`). More is a 413.", ge=1024, le=1 << 30
    )
    max_import_size: types.Bytes = _about(
        256 << 20, "The same for `POST /users/import`, whose body waits in a temporary file.", ge=1024, le=1 << 36
    )
    max_header_size: types.Bytes = _about(
        32 << 10, "Largest request line and headers together. More is a 431.", ge=4096, le=1 << 20
    )
    max_connections: int = _about(1000, "Connections open at once, a process. More are answered 503.", ge=1, le=100_000)
    header_timeout: types.Seconds = _about(10.0, "Time for a client to send its headers.", ge=0.1, le=600)
    body_timeout: types.Seconds = _about(20.0, "Time without a byte of a body that is not complete.", ge=0.1, le=3600)
    keep_alive_timeout: types.Seconds = _about(65.0, "Time that an idle connection stays open.", ge=0.1, le=3600)
    shutdown_timeout: types.Seconds = _about(
        6.5, "Time for requests in flight to finish after SIGTERM; the process is gone 3 seconds later.", ge=0.1, le=300
    )
    database_timeout: types.Seconds = _about(
        2.0, "Time that one request may spend on the database, waiting included. Then it is a 503.", ge=0.1, le=60
    )
    database_slow_timeout: types.Seconds = _about(
        30.0, "The same for counts, deep pages, exports and commands.", ge=0.1, le=3600
    )
    database_connect_timeout: types.Seconds = _about(1.5, "PostgreSQL: time to connect.", ge=0.1, le=60)
    database_statement_timeout: types.Seconds = _about(1.8, "PostgreSQL: time for one statement.", ge=0.1, le=3600)
    database_lock_timeout: types.Seconds = _about(
        1.8, "PostgreSQL: time that a statement may wait for a lock.", ge=0.1, le=3600
    )
    migration_lock_timeout: types.Seconds = _about(
        5.0,
        "PostgreSQL: time that a migration waits for a table in use; whoever comes later waits behind it.",
        ge=0.1,
        le=3600,
    )
    database_pool_size: int = _about(
        10, "PostgreSQL: connections of one process for writing, and as many again for reading.", ge=1, le=1000
    )
    database_pool_timeout: types.Seconds = _about(
        1.0, "PostgreSQL: time to wait for one of them to come free.", ge=0.1, le=60
    )
    database_prepare_threshold: types.OrOff = _about(
        5, "PostgreSQL: prepare a statement when it has run so often; `off` behind a pooler that cannot carry it."
    )
    sqlite_synchronous: types.Synchronous = _about(
        "full",
        "SQLite: with `full` every acknowledged write is on the disk; `normal` is faster and may lose the last ones "
        "when the power fails.",
    )
    hash_threads: int = _about(
        types.default_hash_threads,
        "Threads that hash passwords; each takes 19 MiB while it works.",
        shown="processors, at most 4",
        ge=1,
        le=64,
    )
    hash_queue: int = _about(64, "Passwords that may wait for a thread. More are a 503.", ge=2, le=10_000)
    password_min_length: int = _about(
        8, "Shortest password, in characters; NIST asks for 15 where it is the only factor.", ge=8, le=64
    )

    def __init__(self, *, _env_file: Path | str | None = ".env", **options: Any) -> None:
        found, faults = _find_variables(_env_file)
        try:
            super().__init__(_env_file=_env_file, **options)
        except ValidationError as error:
            faults += _sentences(error, options)
        if faults:
            raise SettingsError(*faults) from None
        self._origins = found | dict.fromkeys(options, "option")

    @classmethod
    def load(cls, **options: Any) -> Self:
        """Read the environment and `.env`; `options` win over both, and those that are None are as if not given."""
        return cls(**{name: value for name, value in options.items() if value is not None})

    @property
    def database_kind(self) -> DatabaseKind:
        """Which of the two databases `database_url` names."""
        return "sqlite" if self.database_url.lower().startswith("sqlite") else "postgresql"

    @property
    def sqlite_path(self) -> Path | None:
        """The database's file, as written (relative paths stay so); None on PostgreSQL."""
        return Path(self.database_url.partition(":///")[2]) if self.database_kind == "sqlite" else None

    @property
    def first_key_path(self) -> Path | None:
        """Where `serve` leaves the first API key: beside the database and named after it, `denizen.key` by
        `denizen.db`, so that two databases in one folder have two. None on PostgreSQL.
        """
        path = self.sqlite_path
        if path is None:
            return None
        return path.with_name(f"{path.name}.key") if path.suffix == ".key" else path.with_suffix(".key")

    @property
    def database_shown(self) -> str:
        """The database's URL without its password."""
        return mask_password(self.database_url)

    @property
    def signup_is_set(self) -> bool:
        """Whether somebody decided about sign-up, or it is merely open by default."""
        return "signup" in self.model_fields_set

    def sources(self) -> list[Setting]:
        """Every setting with its value and where it comes from, in order of their names' appearance."""
        return [
            Setting(variable(name), self._written(name, masked=True), self._origins.get(name, "default"), meaning or "")
            for name, meaning in ((name, field.description) for name, field in type(self).model_fields.items())
        ]

    def to_environment(self) -> dict[str, str]:
        """What another process must find in its environment to have these settings. It holds the secrets."""
        return {variable(name): self._written(name, masked=False) for name in sorted(self.model_fields_set)}

    def hand_to_children(self) -> None:
        """Put these settings into the environment of this process, for the worker processes it starts."""
        os.environ.update(self.to_environment())

    def _written(self, name: str, *, masked: bool) -> str:
        value = getattr(self, name)
        match value:
            case SecretStr():
                return "********" if masked else value.get_secret_value()
            case None:
                return "off" if name == "database_prepare_threshold" else ""
            case bool():
                return str(value).lower()
            case tuple():
                return ",".join(map(str, value))
            case float():
                return f"{value:g}"
        return mask_password(str(value)) if masked else str(value)


def variable(name: str) -> str:
    """The environment variable of the setting `name`."""
    return PREFIX + name.upper()


def _find_variables(env_file: Path | str | None) -> tuple[dict[str, Source], list[str]]:
    """Where each setting is set, and a sentence for every `DENIZEN_*` that is no setting."""
    known = {variable(name): name for name in Settings.model_fields}
    found: dict[str, Source] = {}
    faults: list[str] = []
    written: list[tuple[str, str | None, Source]] = [(name, value, "environment") for name, value in os.environ.items()]
    try:
        written = [*_read_env_file(env_file), *written]
    except (OSError, UnicodeDecodeError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise SettingsError(f"The settings file {env_file} cannot be read: {reason}.") from None
    for name, value, source in written:
        if name in known and value:
            found[known[name]] = source
        elif name not in known and name.upper().startswith(PREFIX):
            faults.append(f"{name} ({source}) is not a setting; {_nearest(name)}")
    return found, faults


def _nearest(name: str) -> str:
    near = get_close_matches(name.upper().removeprefix(PREFIX).lower(), Settings.model_fields, n=1, cutoff=0.6)
    return f"did you mean {variable(near[0])}?" if near else "docs/configuration.md lists them all."


def _read_env_file(env_file: Path | str | None) -> Iterator[tuple[str, str | None, Source]]:
    if env_file is None or not Path(env_file).exists():
        return
    with Path(env_file).open(encoding="utf-8-sig") as stream:
        for binding in parse_stream(stream):
            if binding.error or (binding.key is not None and binding.value is None):
                raise ValueError(f"line {binding.original.line} is not of the form NAME=value")
            if binding.key is not None:
                yield binding.key, binding.value, ".env"


_IN_WORDS = {
    "bool_parsing": "must be true or false",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "extra_forbidden": "is not a setting",
    "too_short": "must name at least one",
}


def _sentences(error: ValidationError, options: Mapping[str, object]) -> list[str]:
    """Every setting's first fault in words. Pydantic's messages hold no input, only what would have been accepted."""
    said: dict[str, str] = {}
    for problem in error.errors(include_input=False, include_url=False):
        if problem["type"] == "default_factory_not_called":  # a default that would have followed a setting at fault
            continue
        name = str(problem["loc"][0]) if problem["loc"] else "settings"
        subject = name if name in options or name not in Settings.model_fields else variable(name)
        message = problem["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
        said.setdefault(name, f"{subject} {_IN_WORDS.get(problem['type'], message)}.")
    return list(said.values())
