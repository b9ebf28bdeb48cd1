"""What opens once: links, codes, tickets, invitations."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "denizen_0006"
down_revision = "denizen_0005"
branch_labels = None
depends_on = None

breaking = False
"""Whether releases that do not know this revision must keep off the database."""

_UUID = sa.String(36).with_variant(sa.Uuid(), "postgresql")
_INSTANT = sa.String(27).with_variant(sa.DateTime(timezone=True), "postgresql")
_STRINGS = sa.String().with_variant(sa.JSON(), "postgresql")


def _key(length: int) -> sa.types.TypeEngine[str]:
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def upgrade() -> None:
    """Bring the schema here."""
    _create_one_time_tokens()
    _create_invitations()


def _create_one_time_tokens() -> None:
    table = "denizen_one_time_tokens"
    op.create_table(
        table,
        sa.Column("id", _UUID, nullable=False),
        sa.Column("purpose", sa.String(32), nullable=False),
        sa.Column("token_digest", sa.LargeBinary(32), nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("expires_at", _INSTANT, nullable=False),
        sa.Column("user_id", _UUID, nullable=True),
        sa.Column("email", sa.String(254), nullable=True),
        sa.Column("email_key", _key(512), nullable=True),
        sa.Column("payload", sa.LargeBinary(), nullable=True),
        sa.Column("code_digest", sa.LargeBinary(32), nullable=True),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
        sa.ForeignKeyConstraint(
            ["user_id"], ["denizen_users.id"], name=op.f(f"fk_{table}_user_id_denizen_users"), ondelete="CASCADE"
        ),
        sa.CheckConstraint("length(code_digest) = 32", name=op.f(f"ck_{table}_code_digest_length")),
        sa.CheckConstraint("length(token_digest) = 32", name=op.f(f"ck_{table}_token_digest_length")),
    )
    op.create_index(op.f(f"ix_{table}_email_key"), table, ["email_key"])
    op.create_index(op.f(f"ix_{table}_expires_at"), table, ["expires_at"])
    op.create_index(op.f(f"ix_{table}_user_id_purpose"), table, ["user_id", "purpose"])
    op.create_index(op.f(f"uq_{table}_token_digest"), table, ["token_digest"], unique=True)


def _create_invitations() -> None:
    table = "denizen_invitations"
    op.create_table(
        table,
        sa.Column("id", _UUID, nullable=False),
        sa.Column("token_digest", sa.LargeBinary(32), nullable=False),
        sa.Column("roles", _STRINGS, nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("expires_at", _INSTANT, nullable=False),
        sa.Column("email", sa.String(254), nullable=True),
        sa.Column("email_key", _key(512), nullable=True),
        sa.Column("inviter_id", _UUID, nullable=True),
        sa.Column("inviter_key_id", _UUID, nullable=True),
        sa.Column("accepted_at", _INSTANT, nullable=True),
        sa.Column("user_id", _UUID, nullable=True),
        sa.Column("revoked_at", _INSTANT, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
        sa.ForeignKeyConstraint(
            ["inviter_id"], ["denizen_users.id"], name=op.f(f"fk_{table}_inviter_id_denizen_users"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["inviter_key_id"],
            ["denizen_keys.id"],
            name=op.f(f"fk_{table}_inviter_key_id_denizen_keys"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["denizen_users.id"], name=op.f(f"fk_{table}_user_id_denizen_users"), ondelete="CASCADE"
        ),
        sa.CheckConstraint("length(token_digest) = 32", name=op.f(f"ck_{table}_token_digest_length")),
    )
    op.create_index(op.f(f"ix_{table}_email_key"), table, ["email_key"])
    op.create_index(op.f(f"ix_{table}_expires_at"), table, ["expires_at"])
    op.create_index(op.f(f"ix_{table}_inviter_id"), table, ["inviter_id"])
    op.create_index(op.f(f"ix_{table}_inviter_key_id"), table, ["inviter_key_id"])
    op.create_index(op.f(f"ix_{table}_user_id"), table, ["user_id"])
    op.create_index(op.f(f"uq_{table}_token_digest"), table, ["token_digest"], unique=True)


def downgrade() -> None:
    """Take it back, with everything that is stored."""
    op.drop_table("denizen_invitations")
    op.drop_table("denizen_one_time_tokens")
