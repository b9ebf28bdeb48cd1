"""Requests that may be sent again: who asked what under which Idempotency-Key, and the answer."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "denizen_0003"
down_revision = "denizen_0002"
branch_labels = None
depends_on = None

breaking = False
"""Whether releases that do not know this revision must keep off the database."""

_UUID = sa.String(36).with_variant(sa.Uuid(), "postgresql")
_INSTANT = sa.String(27).with_variant(sa.DateTime(timezone=True), "postgresql")


def upgrade() -> None:
    """Bring the schema here."""
    table = "denizen_idempotency"
    op.create_table(
        table,
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("body_digest", sa.LargeBinary(32), nullable=False),
        sa.Column("claim", _UUID, nullable=False),
        sa.Column("expires_at", _INSTANT, nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("headers", sa.Text(), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.Column("user_id", _UUID, nullable=True),
        sa.PrimaryKeyConstraint("digest", name=op.f(f"pk_{table}")),
        sa.ForeignKeyConstraint(
            ["user_id"], ["denizen_users.id"], name=op.f(f"fk_{table}_user_id_denizen_users"), ondelete="CASCADE"
        ),
        sa.CheckConstraint("length(digest) = 32", name=op.f(f"ck_{table}_digest_length")),
        sa.CheckConstraint("length(body_digest) = 32", name=op.f(f"ck_{table}_body_digest_length")),
    )
    op.create_index(op.f(f"ix_{table}_expires_at"), table, ["expires_at"])
    op.create_index(op.f(f"ix_{table}_user_id"), table, ["user_id"])


def downgrade() -> None:
    """Take it back, with everything that is stored."""
    op.drop_table("denizen_idempotency")
