"""Limits on how often, and who does what only one process should do."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "denizen_0009"
down_revision = "denizen_0008"
branch_labels = None
depends_on = None

breaking = False
"""Whether releases that do not know this revision must keep off the database."""

_UUID = sa.String(36).with_variant(sa.Uuid(), "postgresql")
_INSTANT = sa.String(27).with_variant(sa.DateTime(timezone=True), "postgresql")


def upgrade() -> None:
    """Bring the schema here."""
    _create_limits()
    _create_leases()


def _create_limits() -> None:
    table = "denizen_limits"
    op.create_table(
        table,
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("free_at", _INSTANT, nullable=False),
        sa.Column("expires_at", _INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f(f"pk_{table}")),
        sa.CheckConstraint("length(digest) = 32", name=op.f(f"ck_{table}_digest_length")),
    )
    op.create_index(op.f(f"ix_{table}_expires_at"), table, ["expires_at"])


def _create_leases() -> None:
    table = "denizen_leases"
    op.create_table(
        table,
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("holder", _UUID, nullable=False),
        sa.Column("until", _INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f(f"pk_{table}")),
    )


def downgrade() -> None:
    """Take it back, with everything that is stored."""
    op.drop_table("denizen_leases")
    op.drop_table("denizen_limits")
