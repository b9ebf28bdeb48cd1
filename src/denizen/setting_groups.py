"""The settings themselves: what each is called, what it may be, and what it means. `settings` reads them."""

from typing import Any

from pydantic import BaseModel, Field, JsonValue

from denizen import setting_types as types


def _about(default: Any, meaning: str, *, shown: str | None = None, **bounds: Any) -> Any:
    """A field with its meaning; `shown` is what the documentation says of a default that is worked out."""
    extra: dict[str, JsonValue] = {} if shown is None else {"shown_default": shown}
    if callable(default):
        return Field(default_factory=default, description=meaning, json_schema_extra=extra, **bounds)
    return Field(default, description=meaning, json_schema_extra=extra, **bounds)


class Server(BaseModel):
    """The server and its database."""

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


class Accounts(BaseModel):
    """Accounts, and how people sign in to them."""

    signup: types.SignUp = _about(
        "open",
        "Who may create an account of their own: anybody (`open`), anybody who first proves to read mail at the "
        "address (`verified`), or nobody (`closed`).",
    )
    signup_rate_per_address: int = _about(
        10,
        "Accounts that one address may create without a key, a minute; 0 for no limit.",
        ge=0,
        le=1_000_000,
    )
    signup_rate_total: int = _about(
        300, "Accounts that all may create without a key, a minute; 0 for no limit.", ge=0, le=1_000_000
    )
    profile: types.Text | None = _about(
        None,
        "Fields that accounts have besides ours: a Pydantic model, `module:Class`, or a file with a JSON Schema, whose "
        "name ends in `.json`.",
        max_length=500,
    )
    hash_threads: int = _about(
        types.default_hash_threads,
        "Threads that hash passwords; each takes 19 MiB while it works.",
        shown="processors, at most 4",
        ge=1,
        le=64,
    )
    hash_queue: int = _about(128, "Passwords that may wait for a thread. More are a 503.", ge=2, le=10_000)
    password_min_length: int = _about(
        8, "Shortest password, in characters; NIST asks for 15 where it is the only factor.", ge=8, le=64
    )
    session_idle_timeout: types.Seconds = _about(
        14 * 86400.0, "Time without use after which a sign-in ends; judged to the minute.", ge=300, le=366 * 86400
    )
    session_lifetime: types.Seconds = _about(
        90 * 86400.0, "Time after which a sign-in ends, however much it is used.", ge=300, le=3660 * 86400
    )
    sessions_per_user: int = _about(
        100, "Sign-ins that one person may have at once; one more ends the one unused for longest.", ge=1, le=10_000
    )
    reauthentication_timeout: types.Seconds = _about(
        600.0, "Time after proving who one is in which sensitive acts need no new proof.", ge=30, le=86400
    )
    insecure_cookies: bool = _about(
        False, "Sign people in by cookie on plain http, where others on the network can read it; loopback always may."
    )
    access_token_lifetime: types.Seconds = _about(
        60.0, "Time that an access token for other services lives.", ge=10, le=3600
    )
    access_token_audiences: types.Names = _about(
        types.default_audiences,
        "Who access tokens are for: what other services look for in `aud`.",
        shown="`DENIZEN_BASE_URL`",
        min_length=1,
        max_length=20,
    )
    signing_key_lifetime: types.Seconds = _about(
        90 * 86400.0, "Time after which a new key signs access tokens.", ge=3600, le=3660 * 86400
    )
    verify_lifetime: types.Seconds = _about(
        86400.0, "Time that a link proving an address, or confirming a new one, works.", ge=300, le=30 * 86400
    )
    reset_lifetime: types.Seconds = _about(3600.0, "Time that a link for a new password works.", ge=300, le=7 * 86400)
    magic_link_lifetime: types.Seconds = _about(900.0, "Time that a link to sign in by works.", ge=60, le=86400)
    invitation_lifetime: types.Seconds = _about(
        7 * 86400.0, "Time that an invitation works, unless it says otherwise.", ge=300, le=366 * 86400
    )
    passwordless: bool = _about(True, "Let people sign in by a link or a code that is mailed to them.")
    guesses_free: int = _about(
        10, "Wrong passwords and codes for one account before each further one has to wait.", ge=1, le=100
    )
    guesses_wait: types.Seconds = _about(
        900.0, "The longest wait after wrong guesses; it begins with a second and doubles.", ge=1, le=86400
    )
    sign_in_rate_per_address: int = _about(
        60, "Failed sign-ins that one address may make, a minute; 0 for no limit.", ge=0, le=1_000_000
    )
    sign_in_rate_total: int = _about(
        3000, "Failed sign-ins that all may make together, a minute; 0 for no limit.", ge=0, le=10_000_000
    )
    delete_grace: types.Seconds = _about(
        30 * 86400.0,
        "Time between the deletion of an account, which hides it, and its erasure; 0 erases at once.",
        ge=0,
        le=3660 * 86400,
    )
    mail_url: types.MailUrl | None = _about(
        None,
        "The mail server: `smtp://user:password@host:587` (STARTTLS where it is offered, and always with a password) "
        "or `smtps://host:465`. Without one, mails wait in the database: `denizen mail list`.",
        repr=False,
    )
    mail_from: types.Sender | None = _about(
        None,
        "Who mails come from, such as `Example <accounts@example.com>`.",
        shown="`no-reply@` and the host of `DENIZEN_BASE_URL`",
        min_length=3,
        max_length=320,
    )
    mail_language: types.Language = _about("en", "Language of mails to people whose own is not known.")
    mail_templates: types.Text | None = _about(
        None, "A folder with mail templates of your own, which win over those that come with Denizen.", max_length=1024
    )
    mail_patience: types.Seconds = _about(
        2 * 86400.0, "Time for which sending a mail is tried again before it is given up.", ge=60, le=30 * 86400
    )
    mail_retention: types.Seconds = _about(
        30 * 86400.0,
        "Time that mails stay listed; what they said is forgotten once they are sent.",
        ge=3600,
        le=3660 * 86400,
    )
    mail_rate_per_recipient: int = _about(
        10, "Mails of each kind an hour that strangers may cause to one address; 0 for no limit.", ge=0, le=100_000
    )
    letters_rate_total: int = _about(
        600, "Letters that all strangers may ask for together, a minute; 0 for no limit.", ge=0, le=10_000_000
    )
    audit_retention: types.Seconds = _about(
        365 * 86400.0, "Time that the audit keeps what happened.", ge=86400, le=36600 * 86400
    )
    housekeeping: bool = _about(
        True, "Delete what has expired, from one process at a time. Without it: `denizen housekeeping run`."
    )
    metrics_port: int = _about(
        0,
        "Port on which `denizen serve` answers `/metrics` without credentials, on `DENIZEN_METRICS_HOST`; 0 for none.",
        ge=0,
        le=65535,
    )
    metrics_host: types.Text = _about("127.0.0.1", "Address of that port.", min_length=1, max_length=255)
