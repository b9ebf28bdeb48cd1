"""The tables of what happened."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from denizen.core.base import Base
from denizen.core.ids import new_id
from denizen.users.models import User


class AuditEntry(Base):
    """One thing that happened, or was refused. People are named by id alone, and no foreign key holds them: it stays
    when they are erased.

    Attributes:
        at: when; of several at one instant, the id says which came first.
        action: what: `user.updated`, `session.created`; `request.refused` for what was refused.
        outcome: `done` or `refused`.
        actor_kind: what recognised whoever did it: `key`, `session`, `command`, `job`, `anonymous`.
        actor_id: the person who did it, where it was one.
        credential_id: the key or session it was done with.
        impersonator_id: who acted in the actor's place.
        subject_kind: what it was done to: `user`, `key`, `role` ...
        subject_id: which.
        request_id: of the request that did it.
        facts: a JSON object without secrets and without what is personal.
        count: how many refusals this row stands for.
        group_digest: what refusals are counted together by; `None` for what stands alone.
    """

    __tablename__ = "denizen_audit"
    __table_args__ = (
        CheckConstraint("length(group_digest) = 32", name="group_digest_length"),
        Index("ix_denizen_audit_at_id", "at", "id"),
        Index("ix_denizen_audit_action_at_id", "action", "at", "id"),
        Index("ix_denizen_audit_actor_id_at_id", "actor_id", "at", "id"),
        Index("ix_denizen_audit_subject_id_at_id", "subject_id", "at", "id"),
        Index("ix_denizen_audit_outcome_at_id", "outcome", "at", "id"),
        Index("uq_denizen_audit_group_digest", "group_digest", unique=True),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default_factory=new_id, init=False)
    at: Mapped[datetime]
    action: Mapped[str] = mapped_column(String(64))
    outcome: Mapped[str] = mapped_column(String(16))
    actor_kind: Mapped[str] = mapped_column(String(16))
    facts: Mapped[str] = mapped_column(Text)
    actor_id: Mapped[UUID | None] = mapped_column(default=None)
    credential_id: Mapped[UUID | None] = mapped_column(default=None)
    impersonator_id: Mapped[UUID | None] = mapped_column(default=None)
    subject_kind: Mapped[str | None] = mapped_column(String(16), default=None)
    subject_id: Mapped[UUID | None] = mapped_column(default=None)
    request_id: Mapped[str | None] = mapped_column(String(200), default=None)
    count: Mapped[int] = mapped_column(default=1)
    group_digest: Mapped[bytes | None] = mapped_column(LargeBinary(32), default=None, repr=False)


class AuditDetail(Base):
    """What is personal about an entry, beside it: addresses, devices, names before and after. Erasing the person whom
    it tells of erases it.

    Attributes:
        entry_id: of the entry.
        user_id: whom it tells of; `None` where nobody knows.
        facts: a JSON object without secrets.
    """

    __tablename__ = "denizen_audit_details"
    __table_args__ = (
        Index("ix_denizen_audit_details_entry_id", "entry_id"),
        Index("ix_denizen_audit_details_user_id", "user_id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default_factory=new_id, init=False)
    entry_id: Mapped[UUID] = mapped_column(ForeignKey(AuditEntry.id, ondelete="CASCADE"))
    facts: Mapped[str] = mapped_column(Text)
    user_id: Mapped[UUID | None] = mapped_column(ForeignKey(User.id, ondelete="CASCADE"), default=None)
