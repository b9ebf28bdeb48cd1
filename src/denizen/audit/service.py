"""Writing down what happened, and showing it.

Changes are written in their own transaction: both are there, or neither. What was refused is written after that
transaction has been undone, in one of its own, and before the answer. Whoever is refused again and again from one
address is written down a few times a minute; the rest is counted, in memory, and added to one entry every few seconds:
a flood of bad tokens must not become a flood of writes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID
from weakref import WeakKeyDictionary

from sqlalchemy.ext.asyncio import AsyncSession

from denizen.audit import crud
from denizen.audit.schemas import AuditQuery
from denizen.core.accounts import Accounts
from denizen.core.auth import CredentialsMissing
from denizen.core.errors import DenizenError, Forbidden, NotFound, TooMany, Unauthorized, Unavailable
from denizen.core.events import INSTALL, Event
from denizen.core.ids import new_id
from denizen.core.logs import logger, report
from denizen.core.origin import Origin, current_origin
from denizen.core.rates import LeakyRateLimiter, address_key
from denizen.users.events import UserDeleted, UserErased

log = logger(__name__)

REFUSED: Final = "request.refused"
WRITTEN_A_MINUTE: Final = 10
"""Refusals that are written down one by one, an address and a minute; more are counted in one entry an hour."""

_MOST_GROUPS: Final = 10_000
_PERSONAL: Final = frozenset({"before", "after"})

_Waiting = dict[bytes, tuple[dict[str, Any], dict[str, Any]]]
"""Entries with their counts, and what is personal about them, by group."""


@dataclass(slots=True)
class _Refusals:
    """What one process has refused and not yet written down, by group.

    Attributes:
        limiter: says what is still written one by one.
        waiting: what is to be added to entries that count.
    """

    limiter: LeakyRateLimiter = field(default_factory=lambda: LeakyRateLimiter(WRITTEN_A_MINUTE, 60))
    waiting: _Waiting = field(default_factory=dict)


_REFUSALS: Final[WeakKeyDictionary[Accounts, _Refusals]] = WeakKeyDictionary()


def _plain(value: object) -> Any:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return sorted(value) if isinstance(value, set | frozenset) else str(value)


_encode: Final = json.JSONEncoder(default=_plain, ensure_ascii=False, separators=(",", ":")).encode


async def hear(db: AsyncSession, event: Event) -> None:
    """Write down an event, in its own transaction."""
    accounts: Accounts = db.info[INSTALL]
    origin = current_origin()
    subject_id = getattr(event, event.subject) if event.subject else None
    about = subject_id if event.subject == "user_id" else None
    facts = {each.name: getattr(event, each.name) for each in fields(event) if each.name != event.subject}
    personal = {name: facts.pop(name) for name in _PERSONAL & facts.keys()}
    entry = _entry(origin, event.action, "done", facts, at=accounts.clock())
    entry |= {"subject_kind": event.subject.removesuffix("_id") or None, "subject_id": subject_id}
    details = _details(entry["id"], origin, about, personal)
    if about is not None and _erases(event):  # nothing that is personal outlives the account
        details = [each for each in details if each["user_id"] != about]
    await crud.create_entry(db, entry, details)


def _erases(event: Event) -> bool:
    return isinstance(event, UserErased) or (isinstance(event, UserDeleted) and event.erase_at is None)


def _entry(origin: Origin, action: str, outcome: str, facts: dict[str, Any], *, at: datetime) -> dict[str, Any]:
    caller = origin.caller
    kind = caller.kind if caller is not None else "anonymous" if origin.kind == "request" else origin.kind
    return {
        "id": new_id(),
        "at": at,
        "action": action,
        "outcome": outcome,
        "actor_kind": kind,
        "actor_id": origin.user_id,
        "credential_id": None if caller is None else caller.id,
        "impersonator_id": None if caller is None else caller.impersonator_id,
        "subject_kind": None,
        "subject_id": None,
        "request_id": origin.request_id,
        "facts": _encode(facts),
        "count": 1,
        "group_digest": None,
    }


def _details(entry_id: UUID, origin: Origin, about: UUID | None, personal: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Keep apart what is personal, by whom it tells of: where the request came from tells of whoever made it, which is
    the one in the other's place where somebody is; and of somebody unknown who opens an account or signs in, that is
    the subject.
    """
    whence = {name: value for name, value in (("address", origin.address), ("device", origin.device)) if value}
    values = {name: value for name, value in personal.items() if value}
    instead = None if origin.caller is None else origin.caller.impersonator_id
    actor = instead or origin.user_id or (about if origin.caller is None else None)
    if actor == about:
        whence |= values
        values = {}
    found = ((actor, whence), (about, values))
    return [_detail(entry_id, user_id, facts) for user_id, facts in found if facts]


def _detail(entry_id: UUID, user_id: UUID | None, facts: dict[str, Any]) -> dict[str, Any]:
    return {"id": new_id(), "entry_id": entry_id, "user_id": user_id, "facts": _encode(facts)}


async def hear_refusal(accounts: Accounts, error: DenizenError) -> None:
    """Write down that something was refused: somebody may not, is not who he says, or tries too often.

    Whoever sent no credentials at all has tried nothing. Where he is told that there is no such thing since he may not
    know of it, what he lacks is what caused that, and what is written. Where it cannot be written down, for whatever
    reason, the refusal stands all the same, and the log says so.
    """
    if isinstance(error, NotFound) and isinstance(error.__cause__, Forbidden):
        error = error.__cause__
    if not isinstance(error, Forbidden | Unauthorized | TooMany) or isinstance(error, CredentialsMissing):
        return
    at, origin = accounts.clock(), current_origin()
    refusals = _REFUSALS.setdefault(accounts, _Refusals())
    entry = _entry(origin, REFUSED, "refused", {"code": error.code, "act": origin.act}, at=at)
    subject_id = error.user_id or origin.target
    entry |= {"subject_kind": "user" if subject_id else None, "subject_id": subject_id}
    if refusals.limiter.take(address_key(origin.address), at=at.timestamp()) is not None:
        _count(accounts, refusals, entry, origin)
        return
    try:
        async with accounts.writing() as db:
            await crud.create_entry(db, entry, _details(entry["id"], origin, None, {}))
    except Unavailable as unavailable:
        log.warning("refusal_not_written", code=error.code, reason=unavailable.code)
    except Exception as broken:  # noqa: BLE001  (whoever was refused is to be told that, and not of our trouble)
        report(log, "refusal_not_written", broken, code=error.code)


def _count(accounts: Accounts, refusals: _Refusals, entry: dict[str, Any], origin: Origin) -> None:
    """Count it with those of the same code from the same address in the same hour; whom they were about is left out."""
    hour = entry["at"].strftime("%Y%m%d%H")
    address = address_key(origin.address)
    group = accounts.secret.digest("audit 1", hour.encode(), address.encode(), entry["facts"].encode())
    if group in refusals.waiting:
        refusals.waiting[group][0]["count"] += 1
        refusals.waiting[group][0]["at"] = entry["at"]
    elif len(refusals.waiting) < _MOST_GROUPS:
        nobody = dict.fromkeys(("actor_id", "credential_id", "impersonator_id", "subject_kind", "subject_id"))
        entry |= nobody | {"request_id": None, "group_digest": group}
        refusals.waiting[group] = entry, _detail(entry["id"], None, {"address": address})


async def write_counts(accounts: Accounts) -> None:
    """Add what was counted to the entries that count, off the way of requests; what cannot be written waits on."""
    refusals = _REFUSALS.get(accounts)
    if refusals is None or not refusals.waiting:
        return
    waiting, refusals.waiting = refusals.waiting, {}
    try:
        async with accounts.writing() as db:
            for _, (entry, detail) in sorted(waiting.items()):  # in one order everywhere, for two processes at it
                await crud.count_entry(db, entry, detail)
    except BaseException:
        _put_back(refusals, waiting)
        raise


def _put_back(refusals: _Refusals, waiting: _Waiting) -> None:
    """Let counts wait for the next time, with those that came meanwhile. They get new ids, since nobody knows whether a
    commit that was cut off was made.
    """
    for group, (entry, detail) in waiting.items():
        if group in refusals.waiting:
            refusals.waiting[group][0]["count"] += entry["count"]
        elif len(refusals.waiting) < _MOST_GROUPS:
            entry_id = new_id()
            refusals.waiting[group] = entry | {"id": entry_id}, detail | {"id": new_id(), "entry_id": entry_id}


@dataclass(frozen=True, slots=True)
class Page:
    """A part of the audit.

    Attributes:
        rows: as `AuditRead` shows them.
        next_cursor: where it goes on; `None` at the end.
    """

    rows: list[dict[str, Any]]
    next_cursor: str | None


async def list_entries(accounts: Accounts, query: AuditQuery) -> Page:
    """Serve a page of the audit, the newest first.

    Raises:
        CursorInvalid: the cursor is not one of this list.
    """
    listing = "audit " + query.model_dump_json(exclude={"limit", "cursor"})
    before = None
    if query.cursor is not None:
        at, entry_id = accounts.cursors.read(listing, query.cursor)
        before = datetime.fromisoformat(at), UUID(entry_id)
    async with accounts.database.read.session() as db:
        found = await crud.list_entries(db, query, limit=query.limit + 1, before=before)
        rows = [dict(zip(crud.COLUMNS, row, strict=True)) for row in found[: query.limit]]
        personal: dict[UUID, dict[str, Any]] = {row["id"]: {} for row in rows}
        for entry_id, facts in await crud.list_details(db, list(personal)) if rows else ():
            personal[entry_id] |= json.loads(facts)
    for row in rows:
        row |= {"facts": json.loads(row["facts"]), "personal": personal[row["id"]]}
    if len(found) <= query.limit:
        return Page(rows, None)
    return Page(rows, accounts.cursors.make(listing, [rows[-1]["at"].isoformat(), str(rows[-1]["id"])]))


async def delete_old(accounts: Accounts, db: AsyncSession, at: datetime, limit: int) -> int:
    """Delete a batch of what has been kept for long enough."""
    before = at - timedelta(seconds=accounts.settings.audit_retention)
    return await crud.delete_old(db, before=before, limit=limit)
