"""Composition: settings and features in, a FastAPI application out."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from denizen.core import logs
from denizen.core.accounts import Accounts
from denizen.core.assembly import assemble
from denizen.core.deps import ACCOUNTS, STATE, installs_of
from denizen.core.docs import mount_docs
from denizen.core.errors import Unavailable
from denizen.core.feature import Feature, Job
from denizen.core.health import CheckResult, health_router
from denizen.core.middleware import AccessLog, AllowedHosts, RequestId, SecurityHeaders, TrustedProxies, surround
from denizen.core.problems import add_handlers
from denizen.core.routing import MAX_BODY_SIZE
from denizen.core.secret import write_private
from denizen.features import FEATURES
from denizen.keys.service import issue_first_key
from denizen.migrations.schema import is_fresh, require_ready, schema_state
from denizen.settings import Settings

log = logs.logger(__name__)


def create_app(settings: Settings | None = None, *, features: Sequence[Feature] = FEATURES, **seams: Any) -> FastAPI:
    """Make the standalone application.

    Args:
        settings: instead of those of the environment.
        features: the rooms that take part.
        seams: `hasher` and `clock` of `assemble`.

    Raises:
        SettingsError: a setting that cannot be used.
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
    _surround(app, settings)
    return app


def install(
    app: FastAPI,
    *,
    prefix: str = "",
    settings: Settings | None = None,
    features: Sequence[Feature] = FEATURES,
    **seams: Any,
) -> Accounts:
    """Put the routes of Denizen into `app`, which keeps its own error handlers, middleware and lifespan.

    Args:
        app: of the host.
        prefix: in front of every route, `/accounts` say.
        settings: instead of those of the environment.
        features: the rooms that take part.
        seams: `hasher` and `clock` of `assemble`.

    Returns:
        The install: its database, its service functions' first argument.

    Raises:
        SettingsError: a setting that cannot be used.
        ValueError: something is installed under this prefix already.
    """
    settings = settings or Settings.load()
    prefix = prefix.rstrip("/")
    installs = installs_of(app)
    if any(other.prefix == prefix for other in installs):
        raise ValueError(f"Denizen is already installed in this application under {prefix or '/'!r}")
    accounts = assemble(settings, features, prefix=prefix, **seams)
    setattr(app.state, STATE, [*installs, accounts])
    given = {ACCOUNTS: accounts, MAX_BODY_SIZE: settings.max_body_size}
    for feature in features:
        for router in feature.routers():
            app.include_router(router.bound(given), prefix=prefix)
    add_handlers(app, whole=False)
    _around_lifespan(app, lambda: _running(accounts, features))
    return accounts


def _surround(app: FastAPI, settings: Settings) -> None:
    """Put the middleware of the standalone server around everything, the outermost first."""
    layers: list[Callable[[Any], Any]] = [RequestId]
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
                allow_methods=["GET", "POST", "PATCH", "DELETE"],
                allow_headers=["Authorization", "Content-Type", "If-Match", "X-Request-Id"],
                expose_headers=[
                    "ETag",
                    "Link",
                    "Location",
                    "Retry-After",
                    "X-Next-Cursor",
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
async def _running(accounts: Accounts, features: Sequence[Feature]) -> AsyncIterator[None]:
    """Check the schema, run the jobs, and let go of everything at the end.

    Raises:
        SchemaNotReady: the database is not one this release can work on; the text names the command to run.
        SettingsError: there is no secret key.
    """
    jobs = [job for feature in features for job in feature.jobs]
    async with AsyncExitStack() as stack:
        stack.push_async_callback(accounts.close)
        require_ready(await schema_state(accounts.database))
        accounts.cursors.check()
        for job in jobs:
            await stack.enter_async_context(_repeated(accounts, job))
        yield


@asynccontextmanager
async def _repeated(accounts: Accounts, job: Job) -> AsyncIterator[None]:
    async def repeat() -> None:
        while True:
            await asyncio.sleep(job.every)
            await _run_once(accounts, job)

    task = asyncio.create_task(repeat(), name=job.name)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if job.last:
            await _run_once(accounts, job)


async def _run_once(accounts: Accounts, job: Job) -> None:
    try:
        await job.run(accounts)
    except Exception as error:  # noqa: BLE001  (whatever a job raises, the server goes on and the job comes again)
        logs.report(log, "job_failed", error, job=job.name)


async def _set_up(accounts: Accounts) -> None:
    """Make what a fresh SQLite installation needs: the file, its schema, the secret, the first key."""
    settings = accounts.settings
    path = settings.sqlite_path
    if path is not None and await asyncio.to_thread(is_fresh, path):
        from denizen.migrations.runner import create  # with Alembic: 11 MB that are needed once

        if await asyncio.to_thread(create, settings.database_url):
            log.info("database_created", path=str(path.absolute()))
    accounts.cursors.check()
    require_ready(await schema_state(accounts.database))
    if path is not None:
        token = await issue_first_key(accounts)
        if token is not None:
            _hand_over(token, settings)
    host = settings.host
    if not settings.signup_is_set and not host.startswith("127.") and host not in {"localhost", "::1"}:
        log.warning(
            "sign_up_is_open", hint="Anybody who reaches this server can sign up. Set DENIZEN_SIGNUP to open or closed."
        )


def _hand_over(token: str, settings: Settings) -> None:
    """Show the first key to whoever sits at the terminal; elsewhere leave it in a file that only its owner can read."""
    if sys.stdout.isatty():
        print(f"\n  Your first API key, valid for 30 days. It is not shown again:\n\n    {token}\n", flush=True)
        return
    path = settings.sqlite_path
    if path is not None:
        key_file = write_private(path.with_name("denizen.key"), token)
        print(f"The first API key, valid for 30 days, is in {key_file}", flush=True)


async def _readiness(accounts: Accounts) -> list[CheckResult]:
    """Check what `/readyz` answers for: the database answers, and its schema is one this release works on."""
    try:
        state = await schema_state(accounts.database)
    except Unavailable:
        return [CheckResult(name="database", ok=False, detail="does not answer")]
    detail = "" if state.ready else f"{state.kind}: see `denizen migrate status`"
    return [CheckResult(name="database", ok=True), CheckResult(name="schema", ok=state.ready, detail=detail)]
