"""The outbox."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "denizen_0008"
down_revision = "denizen_0007"
branch_labels = None
depends_on = None

breaking = False
"""Whether releases that do not know this revision must keep off the database."""

_UUID = sa.String(36).with_variant(sa.Uuid(), "postgresql")
_INSTANT = sa.String(27).with_variant(sa.DateTime(timezone=True), "postgresql")


def upgrade() -> None:
    """Bring the schema here."""
    _create_mails()


def _create_mails() -> None:
    table = "denizen_mails"
    op.create_table(
        table,
        sa.Column("id", _UUID, nullable=False),
        sa.Column("template", sa.String(32), nullable=False),
        sa.Column("address", sa.String(320), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("next_attempt_at", _INSTANT, nullable=False),
        sa.Column("give_up_at", _INSTANT, nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=True),
        sa.Column("user_id", _UUID, nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("claim", _UUID, nullable=True),
        sa.Column("sent_at", _INSTANT, nullable=True),
        sa.Column("error", sa.String(500), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
        sa.ForeignKeyConstraint(
            ["user_id"], ["denizen_users.id"], name=op.f(f"fk_{table}_user_id_denizen_users"), ondelete="CASCADE"
        ),
        sa.CheckConstraint("length(address) <= 320", name=op.f(f"ck_{table}_address_length")),
        sa.CheckConstraint("length(error) <= 500", name=op.f(f"ck_{table}_error_length")),
    )
    op.create_index(op.f(f"ix_{table}_created_at"), table, ["created_at"])
    op.create_index(op.f(f"ix_{table}_state_next_attempt_at"), table, ["state", "next_attempt_at"])
    op.create_index(op.f(f"ix_{table}_user_id"), table, ["user_id"])


def downgrade() -> None:
    """Take it back, with everything that is stored."""
    op.drop_table("denizen_mails")
