"""Sign-ins, their refresh tokens, and the keys that sign access tokens."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "denizen_0007"
down_revision = "denizen_0006"
branch_labels = None
depends_on = None

breaking = False
"""Whether releases that do not know this revision must keep off the database."""

_UUID = sa.String(36).with_variant(sa.Uuid(), "postgresql")
_INSTANT = sa.String(27).with_variant(sa.DateTime(timezone=True), "postgresql")


def upgrade() -> None:
    """Bring the schema here."""
    _create_sessions()
    _create_refresh_tokens()
    _create_signing_keys()


def _create_sessions() -> None:
    table = "denizen_sessions"
    op.create_table(
        table,
        sa.Column("id", _UUID, nullable=False),
        sa.Column("user_id", _UUID, nullable=False),
        sa.Column("token_digest", sa.LargeBinary(32), nullable=False),
        sa.Column("method", sa.String(16), nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("authenticated_at", _INSTANT, nullable=False),
        sa.Column("last_used_at", _INSTANT, nullable=False),
        sa.Column("expires_at", _INSTANT, nullable=False),
        sa.Column("device", sa.String(200), nullable=True),
        sa.Column("address", sa.String(64), nullable=True),
        sa.Column("impersonator_id", _UUID, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
        sa.ForeignKeyConstraint(
            ["impersonator_id"],
            ["denizen_users.id"],
            name=op.f(f"fk_{table}_impersonator_id_denizen_users"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["denizen_users.id"], name=op.f(f"fk_{table}_user_id_denizen_users"), ondelete="CASCADE"
        ),
        sa.CheckConstraint("length(token_digest) = 32", name=op.f(f"ck_{table}_token_digest_length")),
    )
    op.create_index(op.f(f"ix_{table}_expires_at"), table, ["expires_at"])
    op.create_index(op.f(f"ix_{table}_impersonator_id"), table, ["impersonator_id"])
    op.create_index(op.f(f"ix_{table}_last_used_at"), table, ["last_used_at"])
    op.create_index(op.f(f"ix_{table}_user_id"), table, ["user_id"])
    op.create_index(op.f(f"uq_{table}_token_digest"), table, ["token_digest"], unique=True)


def _create_refresh_tokens() -> None:
    table = "denizen_refresh_tokens"
    op.create_table(
        table,
        sa.Column("token_digest", sa.LargeBinary(32), nullable=False),
        sa.Column("family_digest", sa.LargeBinary(32), nullable=False),
        sa.Column("session_id", _UUID, nullable=False),
        sa.Column("issued_at", _INSTANT, nullable=False),
        sa.Column("spent_at", _INSTANT, nullable=True),
        sa.PrimaryKeyConstraint("token_digest", name=op.f(f"pk_{table}")),
        sa.ForeignKeyConstraint(
            ["session_id"],
            ["denizen_sessions.id"],
            name=op.f(f"fk_{table}_session_id_denizen_sessions"),
            ondelete="CASCADE",
        ),
        sa.CheckConstraint("length(token_digest) = 32", name=op.f(f"ck_{table}_token_digest_length")),
        sa.CheckConstraint("length(family_digest) = 32", name=op.f(f"ck_{table}_family_digest_length")),
    )
    op.create_index(op.f(f"ix_{table}_family_digest"), table, ["family_digest"])
    op.create_index(op.f(f"ix_{table}_session_id"), table, ["session_id"])


def _create_signing_keys() -> None:
    table = "denizen_signing_keys"
    op.create_table(
        table,
        sa.Column("id", _UUID, nullable=False),
        sa.Column("predecessor_id", _UUID, nullable=False),
        sa.Column("algorithm", sa.String(16), nullable=False),
        sa.Column("public", sa.Text(), nullable=False),
        sa.Column("private", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("signs_from", _INSTANT, nullable=False),
        sa.Column("signs_until", _INSTANT, nullable=True),
        sa.Column("published_until", _INSTANT, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
    )
    op.create_index(op.f(f"uq_{table}_predecessor_id"), table, ["predecessor_id"], unique=True)


def downgrade() -> None:
    """Take it back, with everything that is stored."""
    op.drop_table("denizen_signing_keys")
    op.drop_table("denizen_refresh_tokens")
    op.drop_table("denizen_sessions")
