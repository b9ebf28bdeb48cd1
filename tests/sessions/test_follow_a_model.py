"""Random sequences of sign-up, sign-in, refresh, reset, suspension and deletion, beside a model of what should come of
them: after every step each token ever given opens exactly what the model says.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import uuid
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
from httpx import ASGITransport, AsyncClient, Response
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import select

from denizen.app import create_app
from denizen.core.auth import Scope
from denizen.core.deps import installs_of
from denizen.core.hashers import NullHasher
from denizen.keys.service import issue_key
from denizen.mail.models import Mail
from denizen.settings import Settings
from tests.conftest import BASE_URL, PATIENT, SECRET, Clock
from tests.postgres import Postgres

T = TypeVar("T")
NAMES = ("ada", "eve", "bob")
PASSWORDS = ("correct horse battery", "another horse battery", "a third horse battery")


@dataclass
class Person:
    """What the model knows of an account."""

    id: str
    password: str | None
    proved: bool = False
    suspended: bool = False
    deleted: bool = False
    sessions: set[str] = field(default_factory=set)
    families: dict[str, str] = field(default_factory=dict)
    """The session of each refresh token that can still be exchanged."""

    @property
    def may_sign_in(self) -> bool:
        return not (self.suspended or self.deleted)

    def end_all(self) -> None:
        self.sessions.clear()
        self.families.clear()


class Accounts(RuleBasedStateMachine):
    """One install, and what is expected of it."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.people: dict[str, Person] = {}
        self.given: set[str] = set()
        self.clock = Clock()
        self.loop = asyncio.new_event_loop()
        chosen: dict[str, Any] = {
            "base_url": BASE_URL,
            "allowed_hosts": "testserver",
            "signup_rate_per_address": 0,
            "signup_rate_total": 0,
            "sign_in_rate_per_address": 0,
            "sign_in_rate_total": 0,
            "mail_rate_per_recipient": 0,
            "guesses_free": 100,
            **PATIENT,  # it judges what is answered, and not how soon a busy machine does
        }
        given = Settings(_env_file=None, database_url=url, secret_key=SECRET, **chosen)
        self.app = create_app(given, hasher=NullHasher(), clock=self.clock)
        self.accounts = installs_of(self.app)[0]
        self.client = AsyncClient(transport=ASGITransport(self.app, raise_app_exceptions=False), base_url=BASE_URL)
        self.admin = ""

    def run(self, act: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(act)

    def send(self, method: str, path: str, *, bearer: str | None = None, body: Any = None) -> Response:
        headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
        answer = self.run(self.client.request(method, path, json=body, headers=headers))
        assert answer.status_code < 500, answer.text
        return answer

    def teardown(self) -> None:
        self.run(self.client.aclose())
        self.run(self.accounts.close())
        self.loop.close()

    @initialize()
    def make_an_administrator(self) -> None:
        async def make() -> str:
            async with self.accounts.writing() as db:
                return (
                    await issue_key(
                        db, name="x", scopes=tuple(Scope), maker=None, expires_at=None, at=self.accounts.clock()
                    )
                )[1]

        self.admin = self.run(make())

    def sent(self, template: str, name: str) -> list[str]:
        """Give the tokens in the letters of one kind to one person, the newest last."""

        async def look() -> list[str]:
            async with self.accounts.database.read.session() as db:
                mails = await db.scalars(
                    select(Mail)
                    .where(Mail.template == template, Mail.address == f"{name}@example.org")
                    .order_by(Mail.id)
                )
                return [json.loads(self.accounts.secret.unseal("mail", mail.content or b""))["text"] for mail in mails]

        return [text.split("token=")[1].split()[0] for text in self.run(look())]

    @rule(name=st.sampled_from(NAMES), password=st.sampled_from(PASSWORDS))
    def sign_up(self, name: str, password: str) -> None:
        body = {"username": name, "email": f"{name}@example.org", "password": password}
        answer = self.send("POST", "/users/", body=body)
        if name in self.people:
            assert answer.status_code == 409, answer.text
        else:
            assert answer.status_code == 201, answer.text
            self.people[name] = Person(answer.json()["id"], password)

    @rule(name=st.sampled_from(NAMES), password=st.sampled_from(PASSWORDS), by_email=st.booleans())
    def sign_in(self, name: str, password: str, by_email: bool) -> None:
        who = f"{name.upper()}@example.org" if by_email else name.capitalize()
        answer = self.send("POST", "/auth/login", body={"username": who, "password": password})
        person = self.people.get(name)
        if person is not None and person.may_sign_in and person.password == password:
            assert answer.status_code == 200, answer.text
            token = answer.json()["access_token"]
            person.sessions.add(token)
            self.given.add(token)
        else:
            assert (answer.status_code, answer.json()["code"]) == (401, "sign_in_failed")

    @precondition(lambda self: any(person.sessions for person in self.people.values()))
    @rule(data=st.data())
    def sign_out(self, data: st.DataObject) -> None:
        person = data.draw(st.sampled_from([each for each in self.people.values() if each.sessions]))
        token = data.draw(st.sampled_from(sorted(person.sessions)))
        assert self.send("POST", "/auth/logout", bearer=token).status_code == 204
        self._end(person, token)

    def _end(self, person: Person, token: str) -> None:
        person.sessions.discard(token)
        person.families = {refresh: of for refresh, of in person.families.items() if of != token}

    @precondition(lambda self: any(person.sessions for person in self.people.values()))
    @rule(data=st.data())
    def get_tokens(self, data: st.DataObject) -> None:
        person = data.draw(st.sampled_from([each for each in self.people.values() if each.sessions]))
        token = data.draw(st.sampled_from(sorted(person.sessions)))
        answer = self.send("POST", "/auth/tokens", bearer=token)
        assert answer.status_code == 200, answer.text
        person.families[answer.json()["refresh_token"]] = token

    @precondition(lambda self: any(person.families for person in self.people.values()))
    @rule(data=st.data(), late=st.booleans())
    def refresh(self, data: st.DataObject, late: bool) -> None:
        person = data.draw(st.sampled_from([each for each in self.people.values() if each.families]))
        refresh = data.draw(st.sampled_from(sorted(person.families)))
        session = person.families.pop(refresh)
        first = self.send("POST", "/auth/refresh", body={"refresh_token": refresh})
        assert first.status_code == 200, first.text
        successor = first.json()["refresh_token"]
        if late:  # somebody else has it, and shows it once more
            self.clock.turn(seconds=11)
            assert self.send("POST", "/auth/refresh", body={"refresh_token": refresh}).status_code == 401
            self._end(person, session)
        else:
            again = self.send("POST", "/auth/refresh", body={"refresh_token": refresh})
            assert again.json()["refresh_token"] == successor
            person.families[successor] = session

    @rule(name=st.sampled_from(NAMES), password=st.sampled_from(PASSWORDS), twice=st.booleans())
    def reset(self, name: str, password: str, twice: bool) -> None:
        before = len(self.sent("reset", name))
        answer = self.send("POST", "/auth/forgot-password", body={"email": f"{name}@example.org"})
        assert answer.status_code == 202
        tokens = self.sent("reset", name)
        person = self.people.get(name)
        if person is None or not person.may_sign_in:
            assert len(tokens) == before
            return
        assert len(tokens) == before + 1
        body = {"token": tokens[-1], "password": password}
        assert self.send("POST", "/auth/reset-password", body=body).status_code == 200
        person.password, person.proved = password, True
        person.end_all()
        if twice:
            assert self.send("POST", "/auth/reset-password", body=body).status_code == 422

    @precondition(lambda self: self.people)
    @rule(data=st.data(), verb=st.sampled_from(["suspend", "unsuspend", "delete", "restore"]))
    def administer(self, data: st.DataObject, verb: str) -> None:
        person = data.draw(st.sampled_from(list(self.people.values())))
        path = f"/users/{person.id}" if verb == "delete" else f"/users/{person.id}/{verb}"
        answer = self.send(
            "DELETE" if verb == "delete" else "POST", path, bearer=self.admin, body=None if verb == "delete" else {}
        )
        if person.deleted and verb != "restore":
            assert answer.status_code == 404, answer.text
            return
        if verb == "suspend":
            person.suspended = True
            person.end_all()
        elif verb == "unsuspend":
            person.suspended = False
        elif verb == "delete":
            person.deleted = True
            person.end_all()
        else:
            person.deleted = False

    @invariant()
    def every_token_opens_what_it_should(self) -> None:
        alive = {token: person for person in self.people.values() for token in person.sessions}
        for token in self.given:
            answer = self.send("GET", "/users/me", bearer=token)
            if token in alive:
                assert answer.status_code == 200, answer.text
                assert answer.json()["id"] == alive[token].id
            else:
                assert answer.status_code == 401, answer.text


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_random_sequences_find_no_difference(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    def fresh() -> Accounts:
        name = f"model_{uuid.uuid4().hex}"
        if kind == "sqlite":
            path = tmp_path / f"{name}.db"
            shutil.copy(request.getfixturevalue("sqlite_template"), path)
            return Accounts(f"sqlite:///{path}")
        server: Postgres = request.getfixturevalue("postgres")
        return Accounts(server.create_database(name, template=request.getfixturevalue("postgres_template")))

    run_state_machine_as_test(
        fresh,  # type: ignore[arg-type]  # what makes one will do as well as its class
        settings=settings(
            max_examples=15,
            stateful_step_count=40,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
