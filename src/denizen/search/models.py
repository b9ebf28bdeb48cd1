"""The table of the search index. The trigrams themselves are the database's: FTS5 on SQLite, pg_trgm on PostgreSQL."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from sqlalchemy import DDL, BigInteger, ForeignKey, Index, Integer, Text, event
from sqlalchemy.orm import Mapped, mapped_column

from denizen.core.base import Base
from denizen.core.types import Uuid

FOUND_BY: Final = ("username", "email", "full_name", "external_id")
"""The names of an account that it is found by."""

INDEX: Final = "denizen_search_index"
"""The FTS5 table on SQLite; its shadow tables begin with its name."""

TRIGRAMS: Final = "ix_denizen_search_text"
"""The trigram index on PostgreSQL; not there where nobody could create the extension."""


class SearchEntry(Base):
    """What one account is found by.

    Attributes:
        number: names the entry in FTS5. A column and not SQLite's own row number, which a rebuilt table loses.
        user_id: whose.
        text: the words of its names, as `core.words.search_text` writes them.
    """

    __tablename__ = "denizen_search"
    __table_args__ = (Index("uq_denizen_search_user_id", "user_id", unique=True),)

    number: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True, init=False
    )
    # By name: `users` stands above this room, since it writes the index; it may be loaded later, so the type is said.
    user_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("denizen_users.id", ondelete="CASCADE"))
    text: Mapped[str] = mapped_column(Text().with_variant(Text(collation="C"), "postgresql"))


ON_SQLITE: Final = (
    """
CREATE VIRTUAL TABLE denizen_search_index USING fts5(
    text, tokenize='trigram case_sensitive 1', detail='none', columnsize=0
)
""",
)

ON_POSTGRESQL: Final = (
    """
DO $$ BEGIN
    CREATE EXTENSION IF NOT EXISTS pg_trgm;
EXCEPTION WHEN insufficient_privilege OR undefined_file OR feature_not_supported THEN NULL;
END $$
""",
    """
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
""",
)
"""The extension may be in a schema of its own. How much may wait to be sorted into the index is for whoever writes to
say: see `search.crud.create_entries`."""

WHAT_IS_BUILT: Final = "LOCK TABLE denizen_search IN SHARE UPDATE EXCLUSIVE MODE"
"""Waits for whoever builds an index of this table, and holds up nobody who writes."""

TO_BUILD: Final = """
SELECT 'DROP INDEX CONCURRENTLY IF EXISTS ' || CAST(CAST(indexrelid AS regclass) AS text) AS statement, 1 AS step
  FROM pg_catalog.pg_index WHERE indexrelid = to_regclass('ix_denizen_search_text') AND NOT indisvalid
 UNION ALL
SELECT format(
         'CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_denizen_search_text '
         'ON denizen_search USING gin (text %I.gin_trgm_ops)', nspname
       ), 2
  FROM pg_catalog.pg_extension JOIN pg_catalog.pg_namespace AS place ON place.oid = extnamespace
 WHERE extname = 'pg_trgm'
 ORDER BY step
"""
"""Writes the statements that make the index beside those who write; an invalid one is of a run that was cut off."""

for _dialect, _statements in (("sqlite", ON_SQLITE), ("postgresql", ON_POSTGRESQL)):
    for _statement in _statements:
        _ddl = DDL(_statement.replace("%", "%%")).execute_if(dialect=_dialect)  # type: ignore[no-untyped-call]  # SQLAlchemy's DDL is
        event.listen(SearchEntry.__table__, "after_create", _ddl)
