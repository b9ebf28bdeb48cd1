"""Long work: how far each job has come, who is at it, and what became of its rows."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "denizen_0004"
down_revision = "denizen_0003"
branch_labels = None
depends_on = None

breaking = False
"""Whether releases that do not know this revision must keep off the database."""

_UUID = sa.String(36).with_variant(sa.Uuid(), "postgresql")
_INSTANT = sa.String(27).with_variant(sa.DateTime(timezone=True), "postgresql")
_COUNT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Bring the schema here."""
    _create_jobs()
    _create_parts()


def _create_jobs() -> None:
    table = "denizen_jobs"
    op.create_table(
        table,
        sa.Column("id", _UUID, nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("caller_id", _UUID, nullable=True),
        sa.Column("key_digest", sa.LargeBinary(32), nullable=True),
        sa.Column("source", sa.String(1024), nullable=False),
        sa.Column("source_digest", sa.LargeBinary(32), nullable=True),
        sa.Column("options", sa.Text(), nullable=False),
        sa.Column("counts", sa.Text(), nullable=False),
        sa.Column("position", _COUNT, nullable=False),
        sa.Column("bytes_done", _COUNT, nullable=False),
        sa.Column("bytes_total", _COUNT, nullable=True),
        sa.Column("parts", sa.Integer(), nullable=False),
        sa.Column("runner", sa.String(255), nullable=False),
        sa.Column("claim", _UUID, nullable=False),
        sa.Column("claimed_until", _INSTANT, nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("updated_at", _INSTANT, nullable=False),
        sa.Column("finished_at", _INSTANT, nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
    )
    op.create_index(op.f(f"uq_{table}_key_digest"), table, ["key_digest"], unique=True)
    op.create_index(op.f(f"ix_{table}_updated_at_id"), table, ["updated_at", "id"])


def _create_parts() -> None:
    table = "denizen_job_parts"
    op.create_table(
        table,
        sa.Column("job_id", _UUID, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("results", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "number", name=op.f(f"pk_{table}")),
        sa.ForeignKeyConstraint(
            ["job_id"], ["denizen_jobs.id"], name=op.f(f"fk_{table}_job_id_denizen_jobs"), ondelete="CASCADE"
        ),
    )


def downgrade() -> None:
    """Take it back, with everything that is stored."""
    op.drop_table("denizen_job_parts")
    op.drop_table("denizen_jobs")
