"""What `denizen doctor` looks at: each check finds something in order, worth a look, or wrong, and says what to do."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from denizen.core.commands import reach
from denizen.core.errors import DenizenError
from denizen.core.secret import read_secret, secret_path
from denizen.settings import Settings, SettingsError

if TYPE_CHECKING:
    from denizen.core.database import Database

_MIB = 1 << 20
_RELEASED_AT = 1_780_000_000
"""Seconds since 1970: no clock that is right shows less."""
_NETWORK_FILE_SYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "fuse.s3fs", "glusterfs"}
)
_OLDEST_POSTGRESQL = 14
_COMPARED = 20_000


class State(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check.

    Attributes:
        check: its name, which stays the same from release to release.
        found: what is the case, without secrets.
        advice: what to do about it; empty where there is nothing to do.
    """

    check: str
    state: State
    found: str
    advice: str = ""


Check = Callable[[Settings, "Database"], Awaitable[Finding]]


async def examine(settings: Settings, database: Database) -> AsyncIterator[Finding]:
    """Run every check, those that need no database first. Never raises for what a check is there to find."""
    for look in (_secret, _sign_up, _addresses, _own_fields):
        yield look(settings)
    yield await _mail(settings)
    path = settings.sqlite_path
    if path is not None:
        for finding in _files(path, settings.admin_link_path):
            yield finding
    reached = await _reached(settings, database)
    yield reached
    if reached.state is State.FAIL:
        return
    checks = (
        _schema,
        _case_duplicates,
        _search,
        _profiles,
        _signing_keys,
        *((_pool, _clock_of_server) if path is None else (_clock_of_file,)),
    )
    for check in checks:
        try:
            finding = await check(settings, database)
        except DenizenError as error:
            finding = Finding(check.__name__.strip("_"), State.FAIL, str(error), "Look for load on the database.")
        yield finding
        if check is _schema and finding.state is State.FAIL:
            return  # the others would ask tables that are not there


def _secret(settings: Settings) -> Finding:
    path = secret_path(settings)
    if settings.secret_key is not None:
        return Finding("secret", State.OK, "DENIZEN_SECRET_KEY is set, and long and random enough.")
    if path is None:
        return Finding(
            "secret",
            State.FAIL,
            "DENIZEN_SECRET_KEY is not set, and PostgreSQL needs it.",
            "Set it: python3 -c 'import secrets; print(secrets.token_urlsafe(32))' makes one.",
        )
    try:
        read_secret(path)
    except FileNotFoundError:
        return Finding("secret", State.OK, f"{path} is made when the server first starts.")
    except OSError as error:
        return Finding(
            "secret", State.FAIL, f"{path} cannot be read: {error.strerror}.", "Run this as the server's user."
        )
    except SettingsError as error:
        return Finding("secret", State.FAIL, str(error), f"chmod 600 {path}")
    return Finding("secret", State.OK, f"{path} is there, and only its owner reads it.")


def _sign_up(settings: Settings) -> Finding:
    if settings.signup == "closed":
        return Finding("signup", State.OK, "Accounts are created by those who may, and by those who are invited.")
    if settings.signup == "verified":
        return Finding("signup", State.OK, "Anybody may create an account who reads mail at its address.")
    if settings.signup_is_set or settings.host in {"127.0.0.1", "::1", "localhost"}:
        return Finding("signup", State.OK, "Anybody may create an account.")
    return Finding(
        "signup",
        State.WARN,
        f"Anybody who reaches {settings.host} may create an account, and nobody decided so.",
        "Set DENIZEN_SIGNUP to open, verified or closed.",
    )


def _addresses(settings: Settings) -> Finding:
    """Settings that are accepted, and are seldom meant."""
    local = any(name in settings.base_url for name in ("//localhost", "//127.0.0.1", "//[::1]"))
    if not local and settings.base_url.startswith("http:"):
        return Finding(
            "addresses",
            State.WARN,
            "DENIZEN_BASE_URL is not https: keys and passwords cross the network in clear.",
            "Put a proxy that speaks TLS in front, and set DENIZEN_BASE_URL to https://...",
        )
    if "*" in settings.allowed_hosts:
        return Finding(
            "addresses", State.WARN, "Any Host header is accepted.", "Name the hosts in DENIZEN_ALLOWED_HOSTS."
        )
    if any(network.prefixlen == 0 for network in settings.trusted_proxies):
        return Finding(
            "addresses",
            State.WARN,
            "Every client may say what its own address is.",
            "Name only your proxies in DENIZEN_TRUSTED_PROXIES.",
        )
    return Finding("addresses", State.OK, f"Links begin with {settings.base_url}{settings.prefix}.")


def _own_fields(settings: Settings) -> Finding:
    """The fields that an operator adds to accounts."""
    from denizen.core.assembly import find_profile

    try:
        profile = find_profile(settings)
    except SettingsError as error:
        return Finding("own_fields", State.FAIL, str(error), "Correct DENIZEN_PROFILE, or what it names.")
    if profile is None:
        return Finding("own_fields", State.OK, "Accounts have no fields but ours.")
    return Finding("own_fields", State.OK, f"{profile.name}: {', '.join(profile.fields)}.")


async def _mail(settings: Settings) -> Finding:
    """Ask the mail server for everything but to take a mail."""
    from denizen.mail.adapters.smtp import Connection, MailServer
    from denizen.mail.errors import MailNotSent
    from denizen.mail.templates import check

    faults = [] if settings.mail_templates is None else check(settings.mail_templates, settings.mail_language)
    if faults:
        return Finding("mail", State.FAIL, f"Templates: {'; '.join(faults)}.", "Mend DENIZEN_MAIL_TEMPLATES.")
    if settings.mail_url is None:
        return Finding("mail", State.OK, "There is no mail server; mails are kept: denizen mail list.")
    server = MailServer.of(settings)
    connection = Connection(server)
    try:
        smtp = await connection.open()
        encrypted = smtp.get_transport_info("sslcontext") is not None
    except MailNotSent as error:
        return Finding("mail", State.FAIL, f"{error}.", "Look whether it is up, and DENIZEN_MAIL_URL right.")
    finally:
        await connection.close()
    if not encrypted and server.host not in {"localhost", "127.0.0.1", "::1"}:
        found = f"{server.where} offers no TLS: links that open accounts cross the network in clear."
        return Finding("mail", State.WARN, found, "Use a server that offers STARTTLS, or smtps://.")
    signed_in = " and signs this server in" if server.user is not None else ""
    return Finding("mail", State.OK, f"{server.where} answers{signed_in}.")


def _files(path: Path, link_file: Path) -> Iterator[Finding]:
    """The SQLite file and the folder and disk that it is in."""
    folder = path.absolute().parent
    if not folder.is_dir():
        yield Finding("files", State.FAIL, f"There is no folder {folder}.", "Make it, or correct DENIZEN_DATABASE_URL.")
        return
    yield _permissions(path, folder, link_file)
    yield _disk(path, folder)
    yield _file_system(folder)


def _permissions(path: Path, folder: Path, link_file: Path) -> Finding:
    private = [
        path,
        *(path.with_name(path.name + end) for end in ("-wal", ".secret")),
        link_file,
        Path(".env"),
    ]
    there = [one for one in private if one.exists()]
    foreign = [one for one in there if not os.access(one, os.R_OK | os.W_OK if one == path else os.R_OK)]
    if foreign or not os.access(folder, os.W_OK):
        what = foreign[0] if foreign else folder
        return Finding("files", State.FAIL, f"{what} is closed to this user.", "Run this and the server as one user.")
    exposed = [one for one in there if stat.S_IMODE(one.stat().st_mode) & 0o007]
    if exposed and os.name == "posix":
        names = " ".join(map(str, exposed))
        return Finding("files", State.WARN, f"Every user of this machine may open: {names}.", f"chmod o-rwx {names}")
    return Finding("files", State.OK, "Nobody but owner and group opens the database and its secrets.")


def _disk(path: Path, folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free
    needed = path.stat().st_size if path.exists() else 0
    found = f"{free // _MIB:,} MiB are free."
    if free < 64 * _MIB:
        return Finding("disk", State.FAIL, found, "Make room: writes fail when the disk is full.")
    if free < needed + 256 * _MIB:
        return Finding("disk", State.WARN, found, "Make room: `denizen migrate up` first copies the database.")
    return Finding("disk", State.OK, found)


def _file_system(folder: Path) -> Finding:
    """SQLite's write-ahead log needs memory that all processes share, which network file systems do not give."""
    kind, best = "", 0
    try:
        mounts = Path("/proc/mounts").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not Linux
        mounts = []
    for _, point, name, *_ in (line.split() for line in mounts):
        if len(point) >= best and folder.resolve().is_relative_to(point.replace("\\040", " ")):
            kind, best = name, len(point)
    if kind in _NETWORK_FILE_SYSTEMS:
        return Finding(
            "file_system",
            State.WARN,
            f"{folder} is on a network file system ({kind}), where SQLite can lose data.",
            "Move the database to a local disk, or use PostgreSQL.",
        )
    return Finding("file_system", State.OK, f"SQLite {sqlite3.sqlite_version} on {kind or 'a local disk'}.")


async def _reached(settings: Settings, database: Database) -> Finding:
    try:
        await reach(database)
        seconds = await database.ping()  # the first one also connects
    except DenizenError as error:
        return Finding("database", State.FAIL, str(error), "Look whether it is up, and DENIZEN_DATABASE_URL right.")
    if seconds > 0.1:
        return Finding(
            "database",
            State.WARN,
            f"{settings.database_shown} takes {seconds * 1000:.0f} ms to answer.",
            "Look for load on it, and for a long way to it.",
        )
    return Finding("database", State.OK, f"{settings.database_shown} answers in {seconds * 1000:.1f} ms.")


async def _schema(settings: Settings, database: Database) -> Finding:
    from denizen.migrations.schema import schema_state

    state = await schema_state(database)
    if state.ready:
        return Finding("schema", State.OK, state.sentence)
    return Finding("schema", State.FAIL, state.sentence, "Look closer with: denizen migrate status")


async def _case_duplicates(settings: Settings, database: Database) -> Finding:
    """Addresses that differ in case alone. The unique index forbids them, unless something went around it."""
    from denizen.users.crud import find_case_duplicates

    found = await find_case_duplicates(database.read, limit=10)
    if not found:
        return Finding("case_duplicates", State.OK, "No two accounts have one e-mail address.")
    return Finding(
        "case_duplicates",
        State.FAIL,
        f"{len(found)} e-mail addresses or more belong to several accounts.",
        "Change or delete one of each pair: denizen users list --email ADDRESS shows them.",
    )


async def _search(settings: Settings, database: Database) -> Finding:
    """Accounts that a search would not find: all are counted, and those that were changed last compared."""
    from denizen.search.cli import HOW_TO_GET_TRIGRAMS
    from denizen.search.service import glance_at_index

    health = await glance_at_index(database, most=_COMPARED)
    wrong = health.missing + health.stale + health.unknown
    if wrong:
        found = f"{wrong:,} accounts or more are not found by the names they have."
        return Finding("search", State.FAIL, found, "denizen search rebuild")
    if not health.trigrams:
        sentence, _, advice = HOW_TO_GET_TRIGRAMS.partition(". ")
        return Finding("search", State.WARN, f"{sentence}.", advice)
    return Finding("search", State.OK, "Everybody is in the index; `denizen search check` compares each.")


async def _profiles(settings: Settings, database: Database) -> Finding:
    """Accounts that are not found by the own fields they have: all values are counted, and those of the accounts that
    were changed last compared.
    """
    from denizen.profiles.service import glance_at_values

    health = await glance_at_values(database, most=_COMPARED)
    if health.stale:
        found = f"{health.stale:,} accounts or more are not found by the own fields they have."
        return Finding("profiles", State.FAIL, found, "denizen profiles rebuild")
    return Finding("profiles", State.OK, "Everybody is found by the own fields they have.")


async def _signing_keys(settings: Settings, database: Database) -> Finding:
    """Keys that sign access tokens, of which nothing is left when the secret they are sealed under is lost."""
    from denizen.core.accounts import utc_now
    from denizen.core.secret import Secret, Unreadable, load_secret
    from denizen.signing.service import check_readable

    try:
        count = await check_readable(database.read, lambda: Secret(lambda: load_secret(settings)), at=utc_now())
    except Unreadable:
        return Finding(
            "signing_keys",
            State.FAIL,
            "Access tokens cannot be signed: the keys are sealed under another secret.",
            "Put the old DENIZEN_SECRET_KEY back, or make a new key: denizen signing-keys rotate --now",
        )
    found = f"Published and readable: {count}." if count else "The first access token makes one."
    return Finding("signing_keys", State.OK, found)


async def _ask(database: Database, question: str) -> str:
    """One value from PostgreSQL about itself."""
    async with database.read.session() as db:
        answer = await (await db.connection()).exec_driver_sql(question)
        return str(answer.scalar_one())


async def _pool(settings: Settings, database: Database) -> Finding:
    version = int(await _ask(database, "SHOW server_version_num")) // 10000
    if version < _OLDEST_POSTGRESQL:
        return Finding(
            "pool",
            State.FAIL,
            f"This is PostgreSQL {version}.",
            f"Denizen is tested from PostgreSQL {_OLDEST_POSTGRESQL} on; upgrade the server.",
        )
    given = int(await _ask(database, "SHOW max_connections"))
    given -= int(await _ask(database, "SHOW superuser_reserved_connections"))
    wanted = settings.workers * settings.database_pool_size * 2  # one pool for writing, one for reading
    found = f"Up to {wanted} connections are opened, and PostgreSQL {version} gives {given}."
    if wanted > given:
        advice = "Lower DENIZEN_DATABASE_POOL_SIZE, raise max_connections, or put PgBouncer in front."
        return Finding("pool", State.FAIL, found, advice)
    if wanted > given * 0.8:
        return Finding("pool", State.WARN, found, "Little is left for migrations, backups and a second server.")
    return Finding("pool", State.OK, found)


async def _clock_of_server(settings: Settings, database: Database) -> Finding:
    theirs = float(await _ask(database, "SELECT extract(epoch FROM clock_timestamp())"))
    return _clock(theirs - time.time(), "the database server's clock")


async def _clock_of_file(settings: Settings, database: Database) -> Finding:
    path = settings.sqlite_path
    newest = path.stat().st_mtime if path is not None else 0.0
    return _clock(max(newest - time.time(), 0.0), "the last write to the database")


def _clock(ahead: float, of: str) -> Finding:
    if time.time() < _RELEASED_AT:
        shown = time.strftime("%Y-%m-%d", time.gmtime())
        return Finding("clock", State.FAIL, f"This machine thinks it is {shown}.", "Set the clock; run chrony or ntpd.")
    if abs(ahead) > 5:
        found = f"Off by {abs(ahead):.0f} seconds from {of}."
        return Finding("clock", State.WARN, found, "Run chrony or ntpd on both: expiry is judged by the clock.")
    return Finding("clock", State.OK, "Plausible.")
