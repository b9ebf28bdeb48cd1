"""An install for tests: a SQLite file of its own with all tables, and its letters in the outbox."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select

from denizen.core.accounts import Accounts
from denizen.core.ids import new_id
from denizen.mail.models import Mail
from denizen.mail.service import read_letter
from denizen.migrations import runner
from denizen.roles.schemas import RoleCreate
from denizen.roles.service import define_role, grant_roles
from denizen.sessions.service import open_session
from denizen.settings import Settings
from denizen.users.service import create_account

_SECRET: Final = "kX7v2Qm9Lp4Zr8Tn3Wc6Yb1Hd5Gf0SaJe"  # noqa: S105  (of tests alone)
_LINK: Final = re.compile(r"https?://[^\s\"<>]+")


@lru_cache(maxsize=1)
def _migrated() -> bytes:
    """Give a database with all tables and nothing in them: made once a process."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "denizen.db"
        runner.create(f"sqlite:///{path}")
        return path.read_bytes()


def make_settings(folder: Path, **changes: Any) -> Settings:
    """Give settings for a new, migrated SQLite file in `folder`, which nothing of the environment changes.

    `install(app, settings=make_settings(tmp_path), hasher=NullHasher(), clock=Clock())` is an install for one test.
    Sign-ups are not limited, and no mail server is set, so that letters wait to be read by `letters`.

    Args:
        folder: of this test alone.
        changes: settings that are to be otherwise.
    """
    path = folder / "denizen.db"
    path.write_bytes(_migrated())
    usual: dict[str, Any] = {
        "database_url": f"sqlite:///{path}",
        "secret_key": _SECRET,
        "base_url": "http://testserver",
        "signup_rate_per_address": 0,
        "signup_rate_total": 0,
    }
    return Settings(_env_file=None, **usual | changes)


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Somebody who has an account and has signed in.

    Attributes:
        headers: that carry the sign-in.
    """

    id: UUID
    headers: dict[str, str] = field(repr=False)


async def make_person(accounts: Accounts, *permissions: str, roles: Iterable[str] = (), **fields: Any) -> SignedIn:
    """Make an account that has signed in just now, in a transaction of its own.

    Args:
        accounts: what `install` gave.
        permissions: what he may do, by a role of his own.
        roles: that he has besides, by name.
        fields: of `create_account`; without `username` and `email`, made up. Own fields are given by
            `profile={"department": "sales"}`.
    """
    at = accounts.clock()
    async with accounts.writing() as db:
        name = fields.pop("username", None) or f"person-{new_id().hex[-8:]}"
        user = await create_account(
            accounts, db, username=name, email=fields.pop("email", f"{name}@example.org"), **fields
        )
        named = list(roles)
        if permissions:
            role = RoleCreate(name=f"of-{user.id}", permissions=set(permissions))
            named.append((await define_role(db, role, caller=None, at=at)).name)
        await grant_roles(db, user.id, named, caller=None, at=at)
        _, token = await open_session(accounts, db, user.id, method="password", at=at)
    return SignedIn(user.id, {"Authorization": f"Bearer {token}"})


@dataclass(frozen=True, slots=True)
class Mailed:
    """A letter that was written.

    Attributes:
        template: which: `verify`, `reset` ...
        links: in its text, in order.
    """

    to: str
    template: str
    subject: str
    text: str
    links: tuple[str, ...]


async def letters(accounts: Accounts, to: str | None = None) -> list[Mailed]:
    """Give the letters in the outbox, the oldest first: all, or those to one address."""
    query = select(Mail).order_by(Mail.id)
    async with accounts.database.read.session() as db:
        mails = list(await db.scalars(query if to is None else query.where(Mail.address == to)))
    found = [(mail, await read_letter(accounts, mail)) for mail in mails]
    return [
        Mailed(mail.address, mail.template, letter.subject, letter.text, tuple(_LINK.findall(letter.text)))
        for mail, letter in found
        if letter is not None
    ]
