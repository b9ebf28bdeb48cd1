"""A home without a database: everybody in it is made up, and every dependency answers as it would with a real one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from pydantic import BaseModel

from denizen.core.auth import Caller, CredentialsInvalid, is_permission
from denizen.core.home import STATE, add_home, homes_of
from denizen.core.ids import new_id
from denizen.core.problems import add_handlers
from denizen.core.profile_sources import profile_of_model
from denizen.core.profiles import Profile, changed_profile, new_profile
from denizen.core.tokens import Prefix, new_token
from denizen.testing.clocks import Clock
from denizen.users.schemas import UserRead

if TYPE_CHECKING:
    from fastapi import FastAPI


@dataclass(frozen=True, slots=True)
class FakePerson:
    """Somebody who has signed in, or a program with a key.

    Attributes:
        user: the account; `None` for an operator's key.
        headers: that carry the credentials.
    """

    caller: Caller
    user: UserRead | None
    headers: dict[str, str] = field(repr=False)

    @property
    def id(self) -> UUID:
        """Of the account; of the key where there is none."""
        return self.caller.user_id or self.caller.id


class FakeHome:
    """Knows the callers that a test has made up (a `Home` of `core.home`).

    Args:
        clock: gives the present; turned, it ends what `expires_in` limits.
        prefix: what tells it from others in one application.
        reauthentication_timeout: seconds for which `FreshSession` holds.
        profile: the model of the fields that accounts have besides ours, which are checked then; without one there may
            be any.
    """

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        prefix: str = "",
        reauthentication_timeout: float = 600.0,
        profile: type[BaseModel] | Profile | None = None,
    ) -> None:
        self.clock = clock or Clock()
        self.prefix = prefix
        self.reauthentication_timeout = reauthentication_timeout
        self.profile = profile if profile is None or isinstance(profile, Profile) else profile_of_model(profile)
        self._callers: dict[str, Caller] = {}
        self._users: dict[UUID, UserRead] = {}
        self._acting: FakePerson | None = None

    def make_person(
        self,
        *permissions: str,
        expires_in: timedelta | None = None,
        impersonator_id: UUID | None = None,
        **fields: Any,
    ) -> FakePerson:
        """Make up somebody who has signed in just now.

        Args:
            permissions: what he may do: `notes:write`, or `*` for everything.
            expires_in: after which his sign-in ends.
            impersonator_id: who acts in his place.
            fields: of `UserRead`, where they are not to be made up: `username="ada"`,
                `profile={"department": "sales"}`.

        Raises:
            ValueError: one of `permissions` is none, or `fields` are not those of an account.
            ProfileInvalid: `profile` is not what the model says.
        """
        user = self._make_user(fields)
        self._users[user.id] = user
        caller = self._make_caller("session", permissions, expires_in, user.id)
        caller = replace(caller, authenticated_at=self.clock(), method="password", impersonator_id=impersonator_id)
        return self._admit("dzs_", caller, user)

    def make_key(self, *scopes: str, of: FakePerson | None = None, expires_in: timedelta | None = None) -> FakePerson:
        """Make up an API key: the operator's, or somebody's."""
        user = of.user if of else None
        caller = self._make_caller("key", scopes, expires_in, user.id if user else None)
        return self._admit("dzk_", caller, user)

    def change(self, person: FakePerson, **fields: Any) -> None:
        """Let his account say something else from now on; of `profile` the fields that are named. One that is suspended
        or not active opens nothing.
        """
        now = self._users[person.id]
        if "profile" in fields:
            fields["profile"] = self._changed(now.profile, fields["profile"])
        self._users[person.id] = UserRead.model_validate(now.model_dump() | {"version": now.version + 1} | fields)

    def remove(self, person: FakePerson) -> None:
        """Let somebody's account be gone, with all that opened it; of a key the key alone, which is revoked."""
        is_key = person.caller.kind == "key"
        if not is_key:
            self._users.pop(person.id, None)
        for token, caller in list(self._callers.items()):
            if caller.id == person.caller.id or (not is_key and caller.user_id == person.id):
                del self._callers[token]

    @contextmanager
    def acting_as(self, person: FakePerson) -> Iterator[FakePerson]:
        """Let every request that carries no credentials be this one's."""
        before, self._acting = self._acting, person
        try:
            yield person
        finally:
            self._acting = before

    def attach(self, app: FastAPI) -> FakeHome:
        """Let the routes of `app` ask this home who calls.

        Raises:
            ValueError: `app` has a home under this prefix; `faked` takes its place.
        """
        add_home(app, self)
        add_handlers(app, whole=False)
        return self

    async def recognise(self, authorization: str | None, at: datetime) -> Caller | None:
        """Find the caller that an `Authorization` header names; `None` where there is no header.

        Raises:
            CredentialsInvalid: it opens nothing.
        """
        if authorization is None and self._acting is None:
            return None
        scheme, _, token = (authorization or "").partition(" ")
        caller = self._callers.get(token.strip()) if scheme.lower() == "bearer" else None
        if authorization is None and self._acting is not None:
            caller = self._acting.caller
        if caller is None or (caller.expires_at is not None and caller.expires_at <= at) or not self._in_use(caller):
            raise CredentialsInvalid("These credentials are unknown, expired or revoked.")
        return caller

    async def find_user(self, caller: Caller) -> Mapping[str, Any] | None:
        """Give the account of a caller who is a person; `None` where there is none any more."""
        user = None if caller.user_id is None else self._users.get(caller.user_id)
        return None if user is None else user.model_dump()

    def _in_use(self, caller: Caller) -> bool:
        if caller.user_id is None:
            return True
        user = self._users.get(caller.user_id)
        if user is None or not user.is_active:
            return False
        ended = user.suspended_until is not None and user.suspended_until <= self.clock()
        return user.suspended_at is None or ended

    def _make_user(self, fields: Mapping[str, Any]) -> UserRead:
        number, at = len(self._users) + 1, self.clock()
        unknown = fields.keys() - UserRead.model_fields.keys()
        if unknown:
            raise ValueError(f"An account has no {', '.join(sorted(unknown))}.")
        name = fields.get("username", f"person{number}")
        made_up: dict[str, Any] = dict.fromkeys(UserRead.model_fields)
        made_up |= {"id": new_id(), "username": name, "email": f"{name or f'person{number}'}@example.org"}
        made_up |= {"is_active": True, "created_at": at, "updated_at": at, "version": 1}
        own = fields.get("profile")
        if self.profile is not None:
            own = new_profile(self.profile, own, by_owner=False)
        return UserRead.model_validate({**made_up, **fields, "profile": own or {}})

    def _changed(self, stored: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
        if self.profile is None:
            return {name: value for name, value in {**stored, **given}.items() if value is not None}
        return changed_profile(self.profile, stored, given, by_owner=False)

    def _make_caller(
        self, kind: Any, permissions: Iterable[str], expires_in: timedelta | None, user_id: UUID | None
    ) -> Caller:
        held = frozenset(map(str, permissions))
        wrong = sorted(each for each in held if each != "*" and not is_permission(each))
        if wrong:
            raise ValueError(f"{wrong[0]!r} is not a permission: take one of Scope, or a name like notes:write.")
        expires_at = None if expires_in is None else self.clock() + expires_in
        return Caller(kind=kind, id=new_id(), scopes=held, expires_at=expires_at, user_id=user_id)

    def _admit(self, prefix: Prefix, caller: Caller, user: UserRead | None) -> FakePerson:
        token = new_token(prefix)
        self._callers[token] = caller
        return FakePerson(caller, user, {"Authorization": f"Bearer {token}"})


@contextmanager
def faked(app: FastAPI, *, clock: Clock | None = None) -> Iterator[FakeHome]:
    """Let the routes of `app` ask a `FakeHome` who calls, instead of what was installed in it, until the end. Own
    fields are checked as by what was installed first.

    What is installed is not opened, as long as no lifespan runs (`httpx.ASGITransport` runs none). Routes that ask for
    `Db` want an install: see `make_settings`. So do dependencies of one install that is named.
    """
    profile = next((own for home in homes_of(app) if (own := getattr(home, "profile", None)) is not None), None)
    missing = object()
    before = getattr(app.state, STATE, missing)
    setattr(app.state, STATE, [])
    try:
        yield FakeHome(clock=clock, profile=profile).attach(app)
    finally:
        if before is missing:
            delattr(app.state, STATE)
        else:
            setattr(app.state, STATE, before)
