"""Composition: settings and features in, a FastAPI application out."""

from __future__ import annotations

import asyncio
import re
import sys
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from copy import copy
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fastapi import FastAPI
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.middleware.cors import CORSMiddleware

from denizen.background import Jobs
from denizen.core import logs
from denizen.core.accounts import Accounts
from denizen.core.assembly import assemble_as
from denizen.core.database import Backend
from denizen.core.deps import installs_of
from denizen.core.docs import mount_docs
from denizen.core.errors import Unavailable
from denizen.core.feature import Feature
from denizen.core.health import CheckResult, health_router
from denizen.core.home import add_home
from denizen.core.middleware import AccessLog, AllowedHosts, RequestId, SecurityHeaders, TrustedProxies, surround
from denizen.core.problems import add_handlers
from denizen.core.routing import ACCOUNTS, MAX_BODY_SIZE, Router
from denizen.core.secret import write_private
from denizen.dependencies import Installed
from denizen.features import choose
from denizen.founder.service import offer_first_administrator
from denizen.hosts import check_arguments, check_databases, check_routes, describe_profiles, include
from denizen.migrations.errors import SchemaNotReady
from denizen.migrations.schema import is_fresh, read_state, require_ready, schema_state
from denizen.search.crud import has_trigrams
from denizen.settings import Settings, SettingsError

log = logs.logger(__name__)


def create_app(
    settings: Settings | None = None, *, features: Sequence[Feature | str] | None = None, **seams: Any
) -> FastAPI:
    """Make the standalone application.

    Args:
        settings: instead of those of the environment.
        features: as for `install`.
        seams: `hasher` and `clock` of `assemble`.

    Raises:
        SettingsError: a setting that cannot be used.
        ValueError: there is no such feature.
    """
    settings = settings or Settings.load()
    logs.configure(level=settings.log_level.upper(), format=settings.log_format)
    app = FastAPI(
        title=settings.site_name,
        version=version("denizen"),
        summary="The accounts database for Python teams.",
        docs_url=None,
        redoc_url=None,
        openapi_url=f"{settings.prefix}/openapi.json",
        redirect_slashes=False,
    )
    accounts = install(app, prefix=settings.prefix, settings=settings, features=features, **seams)
    add_handlers(app, whole=True)
    app.include_router(health_router(lambda: _readiness(accounts)), prefix=settings.prefix)
    mount_docs(app, path=f"{settings.prefix}/docs")
    _before_start(app, lambda: _set_up(accounts))
    _surround(app, accounts)
    return app


def install(
    app: FastAPI,
    *,
    prefix: str = "",
    settings: Settings | None = None,
    features: Sequence[Feature | str] | None = None,
    profile: type[BaseModel] | None = None,
    **seams: Any,
) -> Installed:
    """Put the routes of Denizen into `app`, which keeps its own error handlers, middleware and lifespan.

    Args:
        app: of the host. Its lifespan, where it runs, opens and closes the install; without one the first use opens
            it, and `Accounts.close` is the host's to call.
        prefix: in front of every route, `/accounts` say. A second install in one application has another one, by which
            its operation ids are told apart too: `create_user_accounts`.
        settings: instead of those of the environment.
        features: the rooms that have routes here, by name, with those they need; all of them by default.
        profile: a model of the fields that accounts have besides ours: checked at every write, shown, filtered by,
            imported and exported; instead of that of `DENIZEN_PROFILE`.
        seams: `hasher` and `clock` of `assemble`.

    Returns:
        The install: its database, its service functions' first argument, and what routes ask of it.

    Raises:
        SettingsError: a setting that cannot be used.
        ValueError: something is installed under this prefix or on this database already, the prefix begins with no
            slash, or there is no such feature.
        TypeError: `app` is no `FastAPI`, `settings` are no `Settings`, or `profile` is no model.
    """
    check_arguments(app, prefix, settings)
    rooms = choose(features)
    settings = settings or Settings.load()
    prefix = prefix.rstrip("/")
    installs = installs_of(app)
    accounts = assemble_as(Installed, settings, rooms, prefix=prefix, profile=profile, **seams)
    check_databases([*installs, accounts])
    add_home(app, accounts)
    _include(app, accounts, rooms, others=installs)
    describe_profiles(app)
    add_handlers(app, whole=False)
    jobs = Jobs(accounts, [job for feature in rooms for job in feature.jobs])
    accounts.database.on_open += [_check_host(app), _check_schema, jobs.start]
    accounts.closing.append(jobs.stop)
    for feature in rooms:
        for attach in feature.attach:
            attach(accounts)
    _around_lifespan(app, lambda: _running(app, accounts))
    return accounts


def _include(app: FastAPI, accounts: Accounts, rooms: Sequence[Feature], *, others: Sequence[Accounts]) -> None:
    given = {ACCOUNTS: accounts, MAX_BODY_SIZE: accounts.settings.max_body_size}
    ahead_first = sorted(rooms, key=lambda each: not each.ahead)
    routers = [router.bound(given) for feature in ahead_first for router in feature.routers()]
    if others:
        routers = [_named_apart(router, accounts.prefix, others) for router in routers]
    include(app, routers, prefix=accounts.prefix)


def _named_apart(router: Router, prefix: str, others: Sequence[Accounts]) -> Router:
    """Give the same routes with operation ids of their own: `create_user` is the first install's.

    Two operations of one name are a warning of FastAPI's, and one function the fewer in a generated client.
    """
    word = _word(prefix)
    alike = sum(_word(other.prefix) == word for other in others[1:])
    suffix = f"_{word}_{alike + 1}" if alike else f"_{word}"
    twin = copy(router)
    twin.routes = [copy(route) for route in router.routes]
    for route in twin.routes:
        if isinstance(route, APIRoute):
            route.unique_id += suffix
            if route.operation_id is not None:
                route.operation_id += suffix
    return twin


def _word(prefix: str) -> str:
    return re.sub(r"\W+", "_", prefix).strip("_") or "root"


def _surround(app: FastAPI, accounts: Accounts) -> None:
    """Put the middleware of the standalone server around everything, the outermost first."""
    settings = accounts.settings
    layers: list[Callable[[Any], Any]] = [lambda inner: RequestId(inner, accounts.watchers)]
    if settings.access_log:
        layers.append(AccessLog)
    https = urlsplit(settings.base_url).scheme == "https"
    layers.append(lambda inner: SecurityHeaders(inner, https=https))
    if settings.trusted_proxies:
        layers.append(
            lambda inner: TrustedProxies(inner, proxies=[str(network) for network in settings.trusted_proxies])
        )
    probes = (f"{settings.prefix}/healthz", f"{settings.prefix}/readyz")
    layers.append(lambda inner: AllowedHosts(inner, hosts=settings.allowed_hosts, exempt=probes))
    if settings.cors_origins:
        layers.append(
            lambda inner: CORSMiddleware(
                inner,
                allow_origins=settings.cors_origins,
                allow_methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"],
                allow_headers=["Authorization", "Content-Type", "Idempotency-Key", "If-Match", "X-Request-Id"],
                expose_headers=[
                    "ETag",
                    "Idempotency-Replayed",
                    "Link",
                    "Location",
                    "RateLimit",
                    "RateLimit-Policy",
                    "Retry-After",
                    "X-Next-Cursor",
                    "X-Results-Cut",
                    "X-Total-Count",
                    "X-Request-Id",
                ],
            )
        )
    surround(app, *layers)


# --- Life ----------------------------------------------------------------------------------------------


def _around_lifespan(app: FastAPI, enter: Callable[[], Any]) -> None:
    """Live inside the lifespan that `app` has already."""
    inner = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(running: Any) -> AsyncIterator[Any]:
        async with enter(), inner(running) as state:
            yield state

    app.router.lifespan_context = lifespan


def _before_start(app: FastAPI, act: Callable[[], Any]) -> None:
    @asynccontextmanager
    async def enter() -> AsyncIterator[None]:
        await act()
        yield

    _around_lifespan(app, enter)


@asynccontextmanager
async def _running(app: FastAPI, accounts: Accounts) -> AsyncIterator[None]:
    """Open the database, check its schema and the host's routes, and let go of everything at the end.

    Raises:
        LookupError, ValueError: as `check_routes`.
        SchemaNotReady: the database is not one this release can work on; the text names the command to run.
        SettingsError: there is no secret key.
    """
    try:
        check_routes(app)
        describe_profiles(app)
        require_ready(await schema_state(accounts.database))
        accounts.cursors.check()
        yield
    finally:
        await accounts.close()


def _check_host(app: FastAPI) -> Callable[[Backend], Awaitable[None]]:
    """Check the host's routes when the database is opened: where no lifespan runs, that is the start."""
    host = weakref.ref(app)  # the database may outlive it

    async def check(_: Backend) -> None:
        if (running := host()) is not None:
            check_routes(running)
            describe_profiles(running)

    return check


async def _check_schema(opened: Backend) -> None:
    """Refuse a schema when the database is opened, with or without a lifespan.

    Raises:
        SchemaNotReady: see `_running`; a 503 for whoever came first, and for all others until it is mended.
    """
    async with opened.reading() as db:
        require_ready(await (await db.connection()).run_sync(read_state))


async def _set_up(accounts: Accounts) -> None:
    """Make what a fresh SQLite installation needs: the file, its schema, the secret; and, while there is no
    administrator, the link to the first one's account.
    """
    settings = accounts.settings
    path = settings.sqlite_path
    if path is not None and await asyncio.to_thread(is_fresh, path):
        from denizen.migrations.runner import create  # with Alembic: 11 MB that are needed once

        if await asyncio.to_thread(create, settings.database_url):
            log.info("database_created", path=str(path.absolute()))
    accounts.cursors.check()
    require_ready(await schema_state(accounts.database))
    await _invite_first_administrator(accounts, settings.admin_link_path.absolute())
    host = settings.host
    if not settings.signup_is_set and not host.startswith("127.") and host not in {"localhost", "::1"}:
        log.warning(
            "sign_up_is_open",
            hint="Anybody who reaches this server can sign up. Set DENIZEN_SIGNUP to open, verified or closed.",
        )


async def _invite_first_administrator(accounts: Accounts, link_file: Path) -> None:
    """While nobody is an administrator, show whoever sits at the terminal the link to the first one's account;
    elsewhere write it into `link_file` (an absolute path), which only its owner can read. A log is no place for it.

    It is one link for all servers that start within its hour: each can make it again. What is left when something
    fails, or the process is killed:

    - before the link is handed over: as a rule no link. The next start makes one, or makes it again.
    - between that and the commit, or when the commit fails: a link that as a rule opens nothing. The file is not
      removed: of a commit that was cut off nobody knows whether it was made. If it was, the file holds the link; if
      not, the next start makes another and replaces the file.
    - after the commit: the link, and the file that holds it, which was on the disk before.

    Where the link cannot be handed over, or the database is too busy to make one, the server starts all the same: it
    has accounts to serve, and `denizen users create --admin` makes an administrator too.
    """
    on_terminal = sys.stdout.isatty()

    def hand_over(link: str) -> None:
        if on_terminal:
            told = "There is no administrator yet. Open this within the hour to become one:"
            print(f"\n  {told}\n\n    {link}\n", flush=True)
        else:  # in place: nobody is served yet, and a thread would go on writing when this start is given up
            _keep_link(link_file, link)

    try:
        if await offer_first_administrator(accounts, hand_over) and not on_terminal:
            print(f"There is no administrator yet. The link to become one, for an hour, is in {link_file}", flush=True)
    except (SettingsError, Unavailable) as error:
        hint = "Make an administrator: denizen users create --admin"
        log.warning("no_administrator", problem=str(error), hint=hint)


def _keep_link(link_file: Path, link: str) -> None:
    """Write the link into its file.

    Raises:
        SettingsError: it cannot be written, or what is there under its name is no link of ours.
    """
    try:
        there = link_file.read_bytes() if link_file.exists() else b""
        if there and b"?token=dza_" not in there:
            raise SettingsError(f"The link cannot be kept in {link_file}: another file has that name.")
        write_private(link_file, link)
    except OSError as error:
        raise SettingsError(f"The link cannot be kept in {link_file}: {error.strerror}.") from None


async def _readiness(accounts: Accounts) -> list[CheckResult]:
    """Check what `/readyz` answers for: the database answers, and its schema is one this release works on."""
    try:
        state = await schema_state(accounts.database)
    except SchemaNotReady:
        detail = "not ready: see `denizen migrate status`"
        return [CheckResult(name="database", ok=True), CheckResult(name="schema", ok=False, detail=detail)]
    except Unavailable:
        return [CheckResult(name="database", ok=False, detail="does not answer")]
    detail = "" if state.ready else f"{state.kind}: see `denizen migrate status`"
    checks = [CheckResult(name="database", ok=True), CheckResult(name="schema", ok=state.ready, detail=detail)]
    if state.ready and not await has_trigrams(accounts.database.read):
        # Everything else is served, so that this is said and is no reason to be taken out of service.
        checks.append(CheckResult(name="search", ok=True, detail="by the beginnings of names alone: no pg_trgm"))
    return checks
