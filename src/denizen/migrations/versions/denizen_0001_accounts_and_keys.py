"""Accounts, API keys, and the table that says which revisions a database has."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "denizen_0001"
down_revision = None
branch_labels = ("denizen",)
depends_on = None

breaking = False
"""Whether releases that do not know this revision must keep off the database."""

_UUID = sa.String(36).with_variant(sa.Uuid(), "postgresql")
_INSTANT = sa.String(27).with_variant(sa.DateTime(timezone=True), "postgresql")
_OBJECT = sa.String().with_variant(JSONB(), "postgresql")
_STRINGS = sa.String().with_variant(sa.JSON(), "postgresql")


def _key(length: int) -> sa.types.TypeEngine[str]:
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def _check(table: str, name: str, condition: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(condition, name=op.f(f"ck_{table}_{name}"))


def _at_most(table: str, column: str, length: int) -> sa.CheckConstraint:
    return _check(table, f"{column}_length", f"length({column}) <= {length}")


def upgrade() -> None:
    """Bring the schema here."""
    _create_schema()
    _create_users()
    _create_keys()


def _create_schema() -> None:
    op.create_table(
        "denizen_schema",
        sa.Column("revision", _key(32), nullable=False),
        sa.Column("breaking", sa.Boolean(), nullable=False),
        sa.Column("release", sa.String(64), nullable=False),
        sa.Column("applied_at", _INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("revision", name=op.f("pk_denizen_schema")),
        _at_most("denizen_schema", "revision", 32),
    )


def _create_users() -> None:
    table = "denizen_users"
    op.create_table(
        table,
        sa.Column("id", _UUID, nullable=False),
        sa.Column("username", sa.String(64), nullable=True),
        sa.Column("email", sa.String(254), nullable=True),
        sa.Column("external_id", _key(255), nullable=True),
        sa.Column("full_name", sa.String(200), nullable=True),
        sa.Column("hashed_password", sa.String(1024), nullable=True),
        sa.Column("profile", _OBJECT, server_default=sa.text("'{}'"), nullable=False),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("updated_at", _INSTANT, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("email_key", _key(512), nullable=True),
        sa.Column("username_key", _key(512), nullable=True),
        sa.Column("username_skeleton", _key(512), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_denizen_users")),
        _check(table, "username_or_email", "username IS NOT NULL OR email IS NOT NULL"),
        _check(table, "username_has_key", "(username IS NULL) = (username_key IS NULL)"),
        _check(table, "username_has_skeleton", "(username IS NULL) = (username_skeleton IS NULL)"),
        _check(table, "email_has_key", "(email IS NULL) = (email_key IS NULL)"),
        _at_most(table, "username", 64),
        _at_most(table, "email", 254),
        _at_most(table, "external_id", 255),
        _at_most(table, "full_name", 200),
        _at_most(table, "hashed_password", 1024),
        _at_most(table, "email_key", 512),
        _at_most(table, "username_key", 512),
        _at_most(table, "username_skeleton", 512),
    )
    for column in ("email_key", "username_key", "username_skeleton", "external_id"):
        op.create_index(op.f(f"uq_{table}_{column}"), table, [column], unique=True)
    for column in ("created_at", "updated_at", "is_active"):
        op.create_index(op.f(f"ix_{table}_{column}_id"), table, [column, "id"])
    for column in ("username", "email"):
        without = sa.text(f"{column} IS NULL")
        name = op.f(f"ix_{table}_id_no_{column}")
        op.create_index(name, table, ["id"], sqlite_where=without, postgresql_where=without)
    if op.get_context().dialect.name == "postgresql":
        op.create_index(
            op.f(f"ix_{table}_profile"),
            table,
            ["profile"],
            postgresql_using="gin",
            postgresql_ops={"profile": "jsonb_path_ops"},
            postgresql_with={"gin_pending_list_limit": 512},
            postgresql_where=sa.text("profile <> '{}'"),
        )


def _create_keys() -> None:
    table = "denizen_keys"
    op.create_table(
        table,
        sa.Column("id", _UUID, nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("hint", sa.String(16), nullable=False),
        sa.Column("token_digest", sa.LargeBinary(32), nullable=False),
        sa.Column("user_id", _UUID, nullable=True),
        sa.Column("maker_id", _UUID, nullable=True),
        sa.Column("scopes", _STRINGS, nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("expires_at", _INSTANT, nullable=True),
        sa.Column("last_used_at", _INSTANT, nullable=True),
        sa.Column("revoked_at", _INSTANT, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_denizen_keys")),
        sa.ForeignKeyConstraint(
            ["user_id"], ["denizen_users.id"], name=op.f("fk_denizen_keys_user_id_denizen_users"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["maker_id"], ["denizen_keys.id"], name=op.f("fk_denizen_keys_maker_id_denizen_keys"), ondelete="CASCADE"
        ),
        _at_most(table, "name", 100),
        _check(table, "token_digest_length", "length(token_digest) = 32"),
    )
    op.create_index(op.f("uq_denizen_keys_token_digest"), table, ["token_digest"], unique=True)
    op.create_index(op.f("ix_denizen_keys_user_id"), table, ["user_id"])
    op.create_index(op.f("ix_denizen_keys_maker_id"), table, ["maker_id"])


def downgrade() -> None:
    """Take it back, with everything that is stored."""
    op.drop_table("denizen_keys")
    op.drop_table("denizen_users")
    op.drop_table("denizen_schema")
