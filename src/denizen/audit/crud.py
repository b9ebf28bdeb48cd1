"""Every SQL statement about what happened. None changes an entry, but for the count of those that count."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import and_, bindparam, delete, insert, or_, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from denizen.audit.models import AuditDetail, AuditEntry
from denizen.audit.schemas import AuditQuery
from denizen.core.statements import Statement
from denizen.core.writes import run, run_later
from denizen.users.models import User

_QUIETLY: Final = {"synchronize_session": False}
_INSERT_ENTRY: Final = Statement(insert(AuditEntry.__table__))  # type: ignore[arg-type]  # a Table, declared as FromClause
_DETAIL: Any = AuditDetail.__table__
_DETAIL_COLUMNS: Final = tuple(column.name for column in _DETAIL.c)


def _into_details() -> Any:
    """Build the statement that writes what is personal, unless whom it tells of has been erased meanwhile: then nothing
    of him is to be written, and what is done by it must not fail. Where he is there he is held, as a foreign key would.
    """
    new = {name: bindparam(name, type_=_DETAIL.c[name].type) for name in _DETAIL_COLUMNS}
    there = select(User.id).where(User.id == new["user_id"]).with_for_update(read=True, key_share=True)
    told = select(*new.values()).where(or_(new["user_id"].is_(None), there.scalar_subquery().is_not(None)))
    return insert(_DETAIL).from_select(_DETAIL_COLUMNS, told, include_defaults=False)


_INSERT_DETAIL: Final = Statement(_into_details())

COLUMNS: Final = (
    "id",
    "at",
    "action",
    "outcome",
    "actor_kind",
    "actor_id",
    "credential_id",
    "impersonator_id",
    "subject_kind",
    "subject_id",
    "request_id",
    "count",
    "facts",
)
_FILTERS: Final = ("actor_id", "subject_id", "action", "outcome")

_DESCRIBED: Final = 1_000
_DESCRIBING: Final = (AuditEntry.id, AuditEntry.at, AuditEntry.action, AuditEntry.outcome)


async def create_entry(db: AsyncSession, entry: dict[str, Any], details: Sequence[dict[str, Any]]) -> None:
    """Write what happened, and beside it what is personal about it, of those who are there still."""
    await run_later(db, _INSERT_ENTRY, **entry)
    for detail in details:
        await run_later(db, _INSERT_DETAIL, **detail)


def _counting(into: Any) -> Any:
    """Build the statement that writes an entry which counts, or counts on in the one there is."""
    new = into(AuditEntry.__table__)
    return new.on_conflict_do_update(
        index_elements=[AuditEntry.group_digest],
        set_={"count": AuditEntry.count + new.excluded.count, "at": new.excluded.at},
    ).returning(AuditEntry.id)


_COUNT: Final = Statement({"sqlite": _counting(sqlite.insert), "postgresql": _counting(postgresql.insert)})


async def count_entry(db: AsyncSession, entry: dict[str, Any], detail: dict[str, Any]) -> None:
    """Write an entry that stands for `count` refusals, or add them to the one of the same group."""
    ((found,),) = await run(db, _COUNT, **entry)
    if found == entry["id"]:
        await run_later(db, _INSERT_DETAIL, **detail)


def page_of(query: AuditQuery, *, limit: int, before: tuple[datetime, UUID] | None) -> Any:
    """Build the statement of a page, the newest first: rows of `COLUMNS`.

    Args:
        query: which.
        limit: how many at most.
        before: time and id of the last one seen.
    """
    statement = select(*(getattr(AuditEntry, name) for name in COLUMNS)).limit(limit)
    statement = statement.order_by(AuditEntry.at.desc(), AuditEntry.id.desc())
    for name in _FILTERS:
        if (value := getattr(query, name)) is not None:
            statement = statement.where(getattr(AuditEntry, name) == value)
    if query.since is not None:
        statement = statement.where(AuditEntry.at >= query.since)
    if query.until is not None:
        statement = statement.where(AuditEntry.at < query.until)
    if before is not None:
        at, entry_id = before
        later = or_(AuditEntry.at < at, and_(AuditEntry.at == at, AuditEntry.id < entry_id))
        statement = statement.where(AuditEntry.at <= at, later)
    return statement


async def list_entries(
    db: AsyncSession, query: AuditQuery, *, limit: int, before: tuple[datetime, UUID] | None
) -> list[Any]:
    """Return entries, the newest first; see `page_of`."""
    return list(await db.execute(page_of(query, limit=limit, before=before)))


async def list_details(db: AsyncSession, ids: Sequence[UUID]) -> list[Any]:
    """Return `(entry_id, facts)` of what is personal about some entries, in the order of their writing."""
    query = select(AuditDetail.entry_id, AuditDetail.facts).where(AuditDetail.entry_id.in_(ids))
    return list(await db.execute(query.order_by(AuditDetail.id)))


_UNTOLD: Final = frozenset({"user.suspended"})
"""What has a reason with it that is for administrators alone."""


async def describe_entries(db: AsyncSession, user_id: UUID) -> list[dict[str, Any]]:
    """Give what happened to one person or was done by him, the newest thousand, and of each what is personal of him."""
    own = select(AuditDetail.entry_id, AuditDetail.facts).where(AuditDetail.user_id == user_id)
    details = (await db.execute(own.order_by(AuditDetail.id.desc()).limit(2 * _DESCRIBED))).all()
    found: dict[UUID, dict[str, Any]] = {}
    for which in (
        AuditEntry.subject_id == user_id,
        AuditEntry.actor_id == user_id,
        AuditEntry.id.in_([entry_id for entry_id, _ in details]),
    ):  # each by an index of its own, which all of them at once would not be
        query = select(*_DESCRIBING).where(which).order_by(AuditEntry.at.desc(), AuditEntry.id.desc())
        found |= {row.id: row._asdict() | {"personal": {}} for row in await db.execute(query.limit(_DESCRIBED))}
    newest = sorted(found.values(), key=lambda each: (each["at"], each["id"]), reverse=True)[:_DESCRIBED]
    for entry_id, facts in reversed(details):
        entry = found.get(entry_id, {"personal": {}, "action": ""})
        told = json.loads(facts)
        if entry["action"] in _UNTOLD:
            told.pop("after", None)
        entry["personal"] |= told
    return newest


async def delete_old(db: AsyncSession, *, before: datetime, limit: int) -> int:
    """Delete entries of before an instant, the oldest first; give how many that were, at most `limit`."""
    old = select(AuditEntry.id).where(AuditEntry.at < before).order_by(AuditEntry.at, AuditEntry.id)
    old = old.limit(limit).with_for_update(skip_locked=True)
    gone = delete(AuditEntry).where(AuditEntry.id.in_(old)).returning(AuditEntry.id)
    return len((await db.execute(gone.execution_options(**_QUIETLY))).all())
