"""The search index: the words of every account, with trigrams of them in FTS5 or under pg_trgm; and the values of own
fields, which SQLite finds accounts by.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "denizen_0002"
down_revision = "denizen_0001"
branch_labels = None
depends_on = None

breaking = False
"""Whether releases that do not know this revision must keep off the database."""

_UUID = sa.String(36).with_variant(sa.Uuid(), "postgresql")
_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")

_ON_SQLITE = """
CREATE VIRTUAL TABLE denizen_search_index USING fts5(
    text, tokenize='trigram case_sensitive 1', detail='none', columnsize=0
)
"""

_EXTENSION = """
DO $$ BEGIN
    CREATE EXTENSION IF NOT EXISTS pg_trgm;
EXCEPTION WHEN insufficient_privilege OR undefined_file OR feature_not_supported THEN
    RAISE WARNING 'Search finds beginnings of names alone, since this role may not create the extension pg_trgm. '
        'Let an administrator run CREATE EXTENSION pg_trgm in this database, then run: denizen search rebuild';
END $$
"""

_INDEX = """
DO $$ BEGIN
    EXECUTE (
        SELECT format(
            'CREATE INDEX IF NOT EXISTS ix_denizen_search_text ON denizen_search USING gin (text %I.gin_trgm_ops)',
            nspname
        )
        FROM pg_catalog.pg_extension JOIN pg_catalog.pg_namespace AS place ON place.oid = extnamespace
        WHERE extname = 'pg_trgm'
    );
EXCEPTION WHEN null_value_not_allowed OR insufficient_privilege OR undefined_object THEN NULL;
END $$
"""


def _key(length: int) -> sa.types.TypeEngine[str]:
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def upgrade() -> None:
    """Bring the schema here. Accounts that are there already come in with `denizen search rebuild`."""
    table = "denizen_search"
    op.create_table(
        table,
        sa.Column("number", _NUMBER, nullable=False, autoincrement=True),
        sa.Column("user_id", _UUID, nullable=False),
        sa.Column("text", _TEXT, nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f(f"pk_{table}")),
        sa.ForeignKeyConstraint(
            ["user_id"], ["denizen_users.id"], name=op.f(f"fk_{table}_user_id_denizen_users"), ondelete="CASCADE"
        ),
    )
    op.create_index(op.f(f"uq_{table}_user_id"), table, ["user_id"], unique=True)
    if op.get_context().dialect.name == "sqlite":
        op.execute(_ON_SQLITE)
    else:
        op.execute(_EXTENSION)
        op.execute(_INDEX)
    _create_values()


def _create_values() -> None:
    table = "denizen_profile_values"
    op.create_table(
        table,
        sa.Column("name", _key(40), nullable=False),
        sa.Column("value", _key(80), nullable=False),
        sa.Column("user_id", _UUID, nullable=False),
        sa.PrimaryKeyConstraint("name", "value", "user_id", name=op.f(f"pk_{table}")),
        sa.ForeignKeyConstraint(
            ["user_id"], ["denizen_users.id"], name=op.f(f"fk_{table}_user_id_denizen_users"), ondelete="CASCADE"
        ),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f(f"ix_{table}_user_id"), table, ["user_id"])


def downgrade() -> None:
    """Take it back. The extension stays, since others may use it."""
    op.drop_table("denizen_profile_values")
    if op.get_context().dialect.name == "sqlite":
        op.execute("DROP TABLE denizen_search_index")
    op.drop_table("denizen_search")
