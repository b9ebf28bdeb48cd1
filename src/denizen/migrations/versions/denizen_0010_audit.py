"""What happened, and what is personal about it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "denizen_0010"
down_revision = "denizen_0009"
branch_labels = None
depends_on = None

breaking = False
"""Whether releases that do not know this revision must keep off the database."""

_UUID = sa.String(36).with_variant(sa.Uuid(), "postgresql")
_INSTANT = sa.String(27).with_variant(sa.DateTime(timezone=True), "postgresql")


def upgrade() -> None:
    """Bring the schema here."""
    _create_audit()
    _create_audit_details()


def _create_audit() -> None:
    table = "denizen_audit"
    op.create_table(
        table,
        sa.Column("id", _UUID, nullable=False),
        sa.Column("at", _INSTANT, nullable=False),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("actor_kind", sa.String(16), nullable=False),
        sa.Column("facts", sa.Text(), nullable=False),
        sa.Column("actor_id", _UUID, nullable=True),
        sa.Column("credential_id", _UUID, nullable=True),
        sa.Column("impersonator_id", _UUID, nullable=True),
        sa.Column("subject_kind", sa.String(16), nullable=True),
        sa.Column("subject_id", _UUID, nullable=True),
        sa.Column("request_id", sa.String(200), nullable=True),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("group_digest", sa.LargeBinary(32), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
        sa.CheckConstraint("length(group_digest) = 32", name=op.f(f"ck_{table}_group_digest_length")),
    )
    op.create_index(op.f(f"ix_{table}_at_id"), table, ["at", "id"])
    for column in ("action", "actor_id", "outcome", "subject_id"):
        op.create_index(op.f(f"ix_{table}_{column}_at_id"), table, [column, "at", "id"])
    op.create_index(op.f(f"uq_{table}_group_digest"), table, ["group_digest"], unique=True)


def _create_audit_details() -> None:
    table = "denizen_audit_details"
    op.create_table(
        table,
        sa.Column("id", _UUID, nullable=False),
        sa.Column("entry_id", _UUID, nullable=False),
        sa.Column("facts", sa.Text(), nullable=False),
        sa.Column("user_id", _UUID, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
        sa.ForeignKeyConstraint(
            ["entry_id"], ["denizen_audit.id"], name=op.f(f"fk_{table}_entry_id_denizen_audit"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["denizen_users.id"], name=op.f(f"fk_{table}_user_id_denizen_users"), ondelete="CASCADE"
        ),
    )
    op.create_index(op.f(f"ix_{table}_entry_id"), table, ["entry_id"])
    op.create_index(op.f(f"ix_{table}_user_id"), table, ["user_id"])


def downgrade() -> None:
    """Take it back, with everything that is stored."""
    op.drop_table("denizen_audit_details")
    op.drop_table("denizen_audit")
