"""Several installs in one application, or in several: each hands out its own sessions, callers and operations.

Annotations are evaluated here, since half of all hosts write them so; `test_name_prefix` has postponed ones.
"""

from collections.abc import AsyncIterator
from typing import Annotated, Any
from uuid import UUID

import pytest
from fastapi import Depends, FastAPI
from httpx import ASGITransport, AsyncClient
from sqlalchemy.ext.asyncio import AsyncSession

from denizen import (
    Accounts,
    Caller,
    Db,
    Dependencies,
    EmailTaken,
    Here,
    Installed,
    Scope,
    Settings,
    create_account,
    get_user,
    install,
)
from denizen.app import create_app
from denizen.core.deps import installs_of
from denizen.core.errors import DenizenError
from denizen.core.hashers import NullHasher
from tests.hosts.conftest import MakeSettings, issue, reach

ADA = {"username": "ada", "email": "ada@example.org", "password": "correct horse battery"}


@pytest.fixture
def both(settings_of: MakeSettings) -> FastAPI:
    """A host with accounts for its staff and for its guests, and routes of its own over each."""
    app = FastAPI()
    staff = install(app, prefix="/staff", settings=settings_of("staff"), hasher=NullHasher())
    guests = install(app, prefix="/guests", settings=settings_of("guests"), hasher=NullHasher())
    add_routes(app, "/of-staff", staff)
    add_routes(app, "/of-guests", guests)
    return app


def add_routes(app: FastAPI, path: str, accounts: Accounts | str) -> None:
    """One route over each dependency of an install."""
    its = Dependencies(accounts)
    ItsDb = Annotated[AsyncSession, its.db]  # noqa: N806  (a type)
    ItsReader = Annotated[Caller, its.requires(Scope.USERS_READ)]  # noqa: N806  (a type)

    @app.post(path, status_code=201)
    async def create(here: Annotated[Accounts, its.here], db: ItsDb, email: str) -> str:
        return str((await create_account(here, db, username=None, email=email)).id)

    @app.get(f"{path}/person")
    async def show(reader: ItsReader, db: Annotated[AsyncSession, its.read_db], id: UUID) -> str | None:  # noqa: A002  (what clients send)
        return (await get_user(db, id)).email

    @app.get(f"{path}/me")
    async def show_me(caller: Annotated[Caller, its.current_caller]) -> str:
        return str(caller.id)

    @app.get(f"{path}/anybody")
    async def show_anybody(caller: Annotated[Caller | None, its.optional_caller]) -> bool:
        return caller is not None


async def test_each_install_hands_out_its_own_sessions(both: FastAPI) -> None:
    staff, guests = installs_of(both)
    async with reach(both) as client:
        made = await client.post("/of-staff", params={"email": "ada@example.org"})
        again = await client.post("/of-staff", params={"email": "ada@example.org"})
        elsewhere = await client.post("/of-guests", params={"email": "ada@example.org"})
        person = {"id": made.json()}
        found = await client.get("/of-staff/person", params=person, headers=await issue(staff))
        missed = await client.get("/of-guests/person", params=person, headers=await issue(guests))

    assert [answer.status_code for answer in (made, again, elsewhere)] == [201, 409, 201]
    assert found.json() == "ada@example.org"
    assert (missed.status_code, missed.json()["code"]) == (404, "user_not_found")


async def test_each_install_knows_its_own_callers(both: FastAPI) -> None:
    staff, guests = installs_of(both)
    reads = await issue(staff, Scope.USERS_READ)
    imports = await issue(staff, Scope.USERS_IMPORT)
    stranger = await issue(guests)
    person = {"id": "019a5c1e-7f00-7a11-8b22-3c33d44e55f6"}

    async def statuses(client: AsyncClient, path: str) -> list[int]:
        asked = [{}, stranger, imports, reads]
        return [(await client.get(f"/of-staff{path}", params=person, headers=each)).status_code for each in asked]

    async with reach(both) as client:
        assert await statuses(client, "/me") == [401, 401, 200, 200]
        assert await statuses(client, "/anybody") == [200, 401, 200, 200]
        assert await statuses(client, "/person") == [401, 401, 403, 404]


async def test_an_install_named_twice_gives_a_request_one_session(host: FastAPI, accounts: Accounts) -> None:
    """Two would wait for each other: on SQLite one writes at a time."""

    async def greet(db: Annotated[AsyncSession, Dependencies(accounts).db]) -> AsyncSession:
        return db

    @host.post("/greet")
    async def create(
        greeted: Annotated[AsyncSession, Depends(greet)], db: Annotated[AsyncSession, Dependencies(accounts).db]
    ) -> bool:
        return greeted is db

    async with reach(host) as client:
        assert (await client.post("/greet")).json() is True


async def test_an_install_hands_out_what_its_routes_ask_for(both: FastAPI) -> None:
    staff, guests = installs_of(both)
    assert isinstance(staff, Installed)
    assert isinstance(guests, Installed)

    # As code has it that no type checker reads: to one, an attribute of a value is no type.
    @both.post("/transfers", status_code=201)
    async def move(
        db: staff.Db,  # type: ignore[name-defined]  # see above
        read: guests.ReadDb,  # type: ignore[name-defined]  # see above
        here: staff.Here,  # type: ignore[name-defined]  # see above
        user: guests.CurrentUser,  # type: ignore[name-defined]  # see above
        caller: guests.CurrentCaller,  # type: ignore[name-defined]  # see above
    ) -> dict[str, Any]:
        assert (await get_user(read, user.id)).email == user.email
        moved = await create_account(here, db, username=user.username, email=user.email)
        return {"username": moved.username, "self": caller.is_self(user.id)}

    async with reach(both) as client:
        await client.post("/guests/users/", json=ADA)
        signed_in = await client.post("/guests/auth/login", data={k: ADA[k] for k in ("username", "password")})
        as_ada = {"Authorization": f"Bearer {signed_in.json()['access_token']}"}
        answers = [await client.post("/transfers", headers=headers) for headers in (as_ada, {}, await issue(staff))]

    assert [answer.status_code for answer in answers] == [201, 401, 401]
    assert answers[0].json() == {"username": "ada", "self": True}


async def test_a_route_that_names_none_of_several_is_told_how(both: FastAPI) -> None:
    raised: list[Exception] = []

    @both.get("/which")
    async def ask(here: Here) -> str:
        return here.prefix

    @both.exception_handler(LookupError)
    async def keep(_: object, error: Exception) -> None:
        raised.append(error)
        raise error

    async with reach(both) as client:
        assert (await client.get("/which")).status_code == 500

    assert str(raised[0]) == (
        "Denizen is installed 2 times in this application, under '/staff' and '/guests': say which one you mean, by "
        "what `install` returned, `Annotated[AsyncSession, accounts.db]`, or by its prefix, "
        "`Annotated[AsyncSession, Dependencies('/staff').db]`."
    )


async def test_a_route_without_an_install_is_told_to_make_one() -> None:
    app = FastAPI()

    @app.get("/which")
    async def ask(db: Db) -> None: ...

    with pytest.raises(LookupError, match=r"not installed in the application .*: call `denizen.install\(app\)` on it"):
        await _get(app, "/which")


async def test_a_prefix_under_which_nothing_is_installed_is_named(both: FastAPI) -> None:
    add_routes(both, "/of-nobody", "/nobody")

    with pytest.raises(LookupError, match="under '/nobody' in this application, but under '/staff' and '/guests'"):
        await _get(both, "/of-nobody/me")


async def _get(app: FastAPI, path: str) -> None:
    """Let what a route raises come through, as it comes to the log of a server."""
    async with AsyncClient(transport=ASGITransport(app), base_url="http://host") as client:
        await client.get(path)


@pytest.mark.slow
def test_operations_of_a_second_install_end_in_its_prefix(settings: Settings) -> None:
    app, alone = FastAPI(), FastAPI()
    for prefix in ("/staff", "/guests", "/guests-", ""):
        its_own = settings.model_copy(update={"database_url": f"sqlite:///{prefix[1:] or 'root'}.db"})
        install(app, prefix=prefix, settings=its_own)
    install(alone, settings=settings)

    names = operations(app)  # FastAPI would warn of two of one name

    single = operations(alone)
    assert "create_user" in single
    assert sorted(names) == sorted(name + suffix for name in single for suffix in ("", "_guests", "_guests_2", "_root"))
    assert app.openapi()["paths"]["/guests/users/"]["post"]["operationId"] == "create_user_guests"
    assert app.openapi()["paths"]["/users/"]["post"]["operationId"] == "create_user_root"


def operations(app: FastAPI) -> list[str]:
    """The names of all operations in the OpenAPI document."""
    return [operation["operationId"] for path in app.openapi()["paths"].values() for operation in path.values()]


def test_installing_twice_under_one_prefix_is_refused_and_changes_nothing(host: FastAPI, settings: Settings) -> None:
    first = install(host, prefix="/accounts", settings=settings)
    paths = host.openapi()["paths"].keys()

    for prefix in ("/accounts", "/accounts/"):
        with pytest.raises(ValueError, match="already installed in this application under '/accounts'"):
            install(host, prefix=prefix, settings=settings)
    with pytest.raises(ValueError, match="A prefix begins with a slash: '/accounts', not 'accounts'"):
        install(host, prefix="accounts", settings=settings)

    host.openapi_schema = None
    assert host.openapi()["paths"].keys() == paths
    assert installs_of(host) == [first]


@pytest.mark.slow
async def test_two_applications_in_one_process_keep_apart(settings_of: MakeSettings) -> None:
    apps = [create_app(settings_of(name), hasher=NullHasher()) for name in ("one", "two")]

    async with reach(apps[0]) as first, reach(apps[1]) as second:
        made = [await client.post("/users/", json=ADA) for client in (first, second)]
        keys = [await issue(installs_of(app)[0]) for app in apps]
        seen = [[(await client.get("/users/", headers=key)).status_code for key in keys] for client in (first, second)]

    assert [answer.status_code for answer in made] == [201, 201]
    assert seen == [[200, 401], [401, 200]]
    assert apps[0].openapi() == apps[1].openapi()


@pytest.fixture
async def mounted(host: FastAPI, settings_of: MakeSettings) -> AsyncIterator[FastAPI]:
    """An application with an install of its own, mounted in the host, which runs no lifespan of it."""
    app = FastAPI()
    install(app, prefix="/accounts", settings=settings_of("mounted"), hasher=NullHasher())
    host.mount("/inner", app)

    @app.get("/which")
    async def ask(here: Here) -> str:
        return here.prefix

    yield app
    for accounts in installs_of(app):
        await accounts.close()


async def test_a_mounted_application_has_its_install(host: FastAPI, mounted: FastAPI) -> None:
    (accounts,) = installs_of(mounted)
    async with reach(host) as client, host.router.lifespan_context(host):
        made = await client.post("/inner/accounts/users/", json=ADA)
        again = await client.post("/inner/accounts/users/", json=ADA)
        asked = await client.get("/inner/which")
        read = await client.get(
            f"/inner/accounts/users/{made.json()['id']}", headers=await issue(accounts, Scope.USERS_READ)
        )

    assert [answer.status_code for answer in (made, again, asked, read)] == [201, 409, 200, 200]
    assert again.headers["content-type"] == "application/problem+json"
    assert asked.json() == "/accounts"


async def test_a_host_and_what_is_mounted_in_it_have_an_install_each(
    host: FastAPI, mounted: FastAPI, settings_of: MakeSettings
) -> None:
    own = install(host, prefix="/accounts", settings=settings_of("host"), hasher=NullHasher())
    keys = [await issue(accounts) for accounts in (own, *installs_of(mounted))]

    async with reach(host) as client:
        seen = [
            [(await client.get(f"{path}/accounts/users/", headers=key)).status_code for key in keys]
            for path in ("", "/inner")
        ]

    assert seen == [[200, 401], [401, 200]]


async def test_a_mounted_application_may_use_the_install_of_its_host(host: FastAPI, accounts: Accounts) -> None:
    """As the documentation says: by its dependencies, and with its answers to our errors."""
    inner = FastAPI()
    inner.add_exception_handler(DenizenError, host.exception_handlers[DenizenError])
    add_routes(inner, "/people", accounts)
    host.mount("/inner", inner)

    async with reach(host) as client:
        made = await client.post("/inner/people", params={"email": "ada@example.org"})
        again = await client.post("/inner/people", params={"email": "ada@example.org"})

    assert made.status_code == 201
    assert (again.status_code, again.json()["code"]) == (409, EmailTaken.code)
