"""The tables of long work."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from denizen.core.base import Base
from denizen.core.ids import new_id

_COUNT = BigInteger().with_variant(Integer, "sqlite")


class Job(Base):
    """One piece of long work. Its rows are written in batches; how far it has come is written in the same transactions.

    Attributes:
        kind: what it does, `import` say.
        state: `running`, `done` or `failed`. One that runs and whose claim is over, or whose process is gone, was
            interrupted.
        caller_id: the API key that it was asked for with; `None` for the operator at the command line.
        key_digest: of who asked under which Idempotency-Key; `None` without one.
        source: where it reads from, for people: a file's name.
        source_digest: of all that is read, keyed (see `jobs.service.source_digest`); `None` where that is not known.
        options: of its kind, as a JSON object.
        counts: what became of its rows so far, as a JSON object; shown as it is.
        position: the line behind which it goes on.
        bytes_done, bytes_total: of the source.
        parts: how many `JobPart` there are.
        runner: the process at it, as `host:pid:started`; see `jobs.service.this_runner`.
        claim: names the attempt that is at it; a process that lost the claim writes nothing more.
        claimed_until: when another process may take over.
        error: the problem it failed with, as a JSON object.
    """

    __tablename__ = "denizen_jobs"
    __table_args__ = (
        Index("uq_denizen_jobs_key_digest", "key_digest", unique=True),
        Index("ix_denizen_jobs_updated_at_id", "updated_at", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default_factory=new_id, init=False)
    kind: Mapped[str] = mapped_column(String(32))
    state: Mapped[str] = mapped_column(String(16))
    source: Mapped[str] = mapped_column(String(1024))
    options: Mapped[str] = mapped_column(Text)
    counts: Mapped[str] = mapped_column(Text)
    runner: Mapped[str] = mapped_column(String(255))
    claim: Mapped[UUID]
    claimed_until: Mapped[datetime]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    caller_id: Mapped[UUID | None] = mapped_column(default=None)
    key_digest: Mapped[bytes | None] = mapped_column(LargeBinary(32), default=None)
    source_digest: Mapped[bytes | None] = mapped_column(LargeBinary(32), default=None)
    position: Mapped[int] = mapped_column(_COUNT, default=0)
    bytes_done: Mapped[int] = mapped_column(_COUNT, default=0)
    bytes_total: Mapped[int | None] = mapped_column(_COUNT, default=None)
    parts: Mapped[int] = mapped_column(default=0)
    finished_at: Mapped[datetime | None] = mapped_column(default=None)
    error: Mapped[str | None] = mapped_column(Text, default=None)


class JobPart(Base):
    """What became of the rows of one batch, written in the batch's own transaction.

    Attributes:
        number: the batch's, from 0.
        results: NDJSON, one result a line as it is shown, compressed by zlib.
    """

    __tablename__ = "denizen_job_parts"

    job_id: Mapped[UUID] = mapped_column(ForeignKey(Job.id, ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    results: Mapped[bytes] = mapped_column(LargeBinary)
