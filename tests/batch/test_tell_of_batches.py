"""What listeners are told of a batch, and what becomes of it when they refuse or fail."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from fastapi import FastAPI
from httpx import AsyncClient
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from denizen.app import create_app
from denizen.core.accounts import Accounts
from denizen.core.deps import installs_of
from denizen.core.errors import Conflict
from denizen.core.events import Event
from denizen.core.feature import Feature
from denizen.core.hashers import NullHasher
from denizen.features import FEATURES
from denizen.settings import Settings
from denizen.users.events import UserCreated, UserDeleted, UserUpdated
from tests.batch.conftest import Send, codes, create, delete, names, patch
from tests.conftest import Clock, MakeUser


class NotesBase(DeclarativeBase):
    """The tables of a room of the host's."""


class Note(NotesBase):
    __tablename__ = "notes"

    id: Mapped[int] = mapped_column(primary_key=True)
    event: Mapped[str]
    of: Mapped[str]


class Ground:
    """A room that notes everything, leaves writing it to the session, refuses some of it, and fails when told to."""

    def __init__(self) -> None:
        self.heard: list[Event] = []
        self.refused: type[Event] | None = None
        self.fails_at = 0

    async def hear(self, db: AsyncSession, event: Event) -> None:
        self.heard.append(event)
        db.add(Note(event=type(event).__name__, of=str(getattr(event, "user_id", ""))))
        if len(self.heard) == self.fails_at:
            raise RuntimeError("a fault of the room")
        if isinstance(event, UserCreated) and self.refused is UserCreated:
            raise Conflict("Not this one.")


@pytest.fixture
def ground() -> Ground:
    return Ground()


@pytest.fixture
async def app(settings: Settings, clock: Clock, ground: Ground) -> AsyncIterator[FastAPI]:
    features = (*FEATURES, Feature("ground", listeners=(ground.hear,)))
    app = create_app(settings, features=features, hasher=NullHasher(), clock=clock)
    async with installs_of(app)[0].writing() as db:
        await (await db.connection()).run_sync(NotesBase.metadata.create_all)
    yield app
    for accounts in installs_of(app):
        await accounts.close()


async def test_events_are_those_of_single_acts(make_user: MakeUser, send: Send, ground: Ground) -> None:
    user = await make_user()
    ground.heard.clear()

    answer = await send(
        create("ada"), create("ada"), patch(user["id"], full_name="x", is_active=False), delete(user["id"])
    )

    assert codes(answer) == [201, "email_taken", 200, 204]
    told = [(type(event), str(event.user_id)) for event in ground.heard if hasattr(event, "user_id")]
    ada = answer.json()["results"][0]["id"]
    assert told == [(UserCreated, ada), (UserUpdated, user["id"]), (UserDeleted, user["id"])]


async def test_what_a_listener_refuses_is_undone_alone(
    admin: AsyncClient, make_user: MakeUser, send: Send, ground: Ground, accounts: Accounts
) -> None:
    user = await make_user(username="one")
    ground.refused = UserCreated

    answer = await send(create("ada"), patch(user["id"], full_name="x"), create("eve"))

    assert codes(answer) == ["conflict", 200, "conflict"]
    assert (await names(admin)).keys() == {"one"}
    async with accounts.database.read.session() as db:
        assert (await db.execute(text("SELECT count(*) FROM denizen_search"))).scalar_one() == 1


async def test_fault_before_the_commit_leaves_nothing(
    app: FastAPI, admin: AsyncClient, make_user: MakeUser, ground: Ground, accounts: Accounts
) -> None:
    user = await make_user(username="one")
    ground.fails_at = len(ground.heard) + 4
    operations = [create("ada"), patch(user["id"], full_name="x"), delete(user["id"]), create("eve"), create("bob")]

    failed = await admin.post("/users/batch", json={"operations": operations}, headers={"Idempotency-Key": "k"})
    before = await names(admin)
    done = await admin.post("/users/batch", json={"operations": operations}, headers={"Idempotency-Key": "k"})

    assert failed.status_code == 500
    assert before.keys() == {"one"}
    assert (before["one"]["version"], before["one"]["full_name"]) == (1, None)
    assert codes(done) == [201, 200, 204, 201, 201]


@pytest.mark.parametrize("hooked", [False, True], ids=["ours alone", "a host listens too"])
async def test_what_was_noted_of_a_refused_operation_goes_with_it_and_nothing_else(
    make_user: MakeUser, send: Send, ground: Ground, accounts: Accounts, hooked: bool
) -> None:
    """The notes wait in the session, and are written when somebody else's savepoint begins."""
    assert accounts.hooked, "what a host does is not known: savepoints are SQLAlchemy's then"
    accounts.hooked = hooked
    users = [await make_user() for _ in range(3)]
    ground.refused = UserCreated

    answer = await send(
        patch(users[0]["id"], full_name="x"),
        create("ada"),
        patch(users[1]["id"], username="renamed"),
        patch(users[2]["id"], username="renamed"),
        create("eve"),
        delete(users[2]["id"]),
    )

    assert codes(answer) == [200, "conflict", 200, "username_taken", "conflict", 204]
    async with accounts.database.read.session() as db:
        notes = [tuple(row) for row in await db.execute(select(Note.event, Note.of).order_by(Note.id))]
    assert [event for event, _ in notes].count("UserCreated") == len(users)
    assert notes[-3:] == [
        ("UserUpdated", users[0]["id"]),
        ("UserUpdated", users[1]["id"]),
        ("UserDeleted", users[2]["id"]),
    ]
