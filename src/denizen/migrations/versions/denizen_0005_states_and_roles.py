"""States of accounts (proved, suspended, deleted), roles, and who has them; what finds API keys that have ended."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "denizen_0005"
down_revision = "denizen_0004"
branch_labels = None
depends_on = None

breaking = True
"""Whether releases that do not know this revision must keep off the database: one that does not would show accounts
that were deleted."""

_UUID = sa.String(36).with_variant(sa.Uuid(), "postgresql")
_INSTANT = sa.String(27).with_variant(sa.DateTime(timezone=True), "postgresql")
_STRINGS = sa.String().with_variant(sa.JSON(), "postgresql")


def _key(length: int) -> sa.types.TypeEngine[str]:
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def upgrade() -> None:
    """Bring the schema here."""
    _widen_users()
    _index_keys()
    _create_roles()
    _create_user_roles()
    _insert_admin()


_ADDED = {
    "email_verified_at": _INSTANT,
    "suspended_at": _INSTANT,
    "suspended_until": _INSTANT,
    "suspension_reason": sa.String(500),
    "deleted_at": _INSTANT,
    "erase_at": _INSTANT,
}
_ERASE_AT = "ix_denizen_users_erase_at"
_LOOK_AT_THEM = """
DO $$ BEGIN
    IF EXISTS (SELECT FROM denizen_users) THEN ANALYZE denizen_users (deleted_at, erase_at); END IF;
END $$
"""


def _widen_users() -> None:
    # Added in place, all of them empty: the table is not written anew, however many accounts there are.
    for name, kind in _ADDED.items():
        op.add_column("denizen_users", sa.Column(name, kind, nullable=True))
    deleted = sa.text("erase_at IS NOT NULL")
    op.create_index(op.f(_ERASE_AT), "denizen_users", ["erase_at"], sqlite_where=deleted, postgresql_where=deleted)
    if op.get_context().dialect.name == "postgresql":
        # Of a new column it would believe that nearly nobody has none, and plan lists of who is not deleted as short.
        op.execute(_LOOK_AT_THEM)


_ENDINGS = ("expires_at", "revoked_at")


def _index_keys() -> None:
    for column in _ENDINGS:
        ends = sa.text(f"{column} IS NOT NULL")
        op.create_index(
            op.f(f"ix_denizen_keys_{column}"), "denizen_keys", [column], sqlite_where=ends, postgresql_where=ends
        )
    op.drop_index(
        op.f("ix_denizen_keys_user_id"), table_name="denizen_keys"
    )  # the keys of a person are listed in order
    op.create_index(op.f("ix_denizen_keys_user_id_id"), "denizen_keys", ["user_id", "id"])


def _create_roles() -> None:
    table = "denizen_roles"
    op.create_table(
        table,
        sa.Column("id", _UUID, nullable=False),
        sa.Column("name", _key(64), nullable=False),
        sa.Column("description", sa.String(200), nullable=False),
        sa.Column("permissions", _STRINGS, nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("updated_at", _INSTANT, nullable=False),
        sa.Column("is_built_in", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
        sa.CheckConstraint("length(description) <= 200", name=op.f(f"ck_{table}_description_length")),
        sa.CheckConstraint("length(name) <= 64", name=op.f(f"ck_{table}_name_length")),
    )
    op.create_index(op.f(f"uq_{table}_name"), table, ["name"], unique=True)


def _create_user_roles() -> None:
    table = "denizen_user_roles"
    op.create_table(
        table,
        sa.Column("user_id", _UUID, nullable=False),
        sa.Column("role_id", _UUID, nullable=False),
        sa.Column("granted_at", _INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("user_id", "role_id", name=op.f(f"pk_{table}")),
        sa.ForeignKeyConstraint(
            ["role_id"], ["denizen_roles.id"], name=op.f(f"fk_{table}_role_id_denizen_roles"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["denizen_users.id"], name=op.f(f"fk_{table}_user_id_denizen_users"), ondelete="CASCADE"
        ),
    )
    op.create_index(op.f(f"ix_{table}_role_id"), table, ["role_id"])


def _insert_admin() -> None:
    """Insert the role that is always there; its id and its time are alike in every database."""
    op.execute(
        "INSERT INTO denizen_roles (id, name, description, permissions, created_at, updated_at, is_built_in) VALUES "
        "('019ab000-0000-7000-8000-000000000001', 'admin', 'May do everything.', '[\"*\"]', "
        "'2026-01-01T00:00:00.000000Z', '2026-01-01T00:00:00.000000Z', true)"
    )


_NOW = {"sqlite": "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')", "postgresql": "now()"}


def _keep_out() -> None:
    """Make inactive who is deleted or suspended just now: for releases that do not know these states, that is what
    keeps them from being shown as, and signing in as, anybody else.
    """
    op.execute(
        "UPDATE denizen_users SET is_active = false WHERE deleted_at IS NOT NULL OR (suspended_at IS NOT NULL "  # noqa: S608  (nothing of it comes from outside)
        f"AND (suspended_until IS NULL OR suspended_until > {_NOW[op.get_context().dialect.name]}))"
    )


def _narrow_users() -> None:
    op.drop_index(op.f(_ERASE_AT), table_name="denizen_users")
    for name in reversed(_ADDED):
        op.drop_column("denizen_users", name)


def downgrade() -> None:
    """Take it back, with everything that is stored; whoever is deleted or suspended is inactive then."""
    _keep_out()
    op.drop_table("denizen_user_roles")
    op.drop_table("denizen_roles")
    op.drop_index(op.f("ix_denizen_keys_user_id_id"), table_name="denizen_keys")
    op.create_index(op.f("ix_denizen_keys_user_id"), "denizen_keys", ["user_id"])
    for column in _ENDINGS:
        op.drop_index(op.f(f"ix_denizen_keys_{column}"), table_name="denizen_keys")
    _narrow_users()
