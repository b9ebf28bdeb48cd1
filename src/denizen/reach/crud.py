"""The foreign keys of a database, from its own catalogue, and the rows that refer to others.

Not from metadata: a Denizen that stands alone knows no models of the applications in its database.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Final, cast
from uuid import UUID

from sqlalchemy import TextClause, bindparam, text
from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.types import Uuid
from denizen.reach.values import Catalogue, OnDelete, Reference, Table, Values

_AT_ONCE: Final = 500
"""Rows that a statement on SQLite asks about: it takes 32,766 parameters at most, and other builds fewer."""

# A foreign key of a partitioned table is there once more for each partition; those have a parent.
_REFERENCES = r"""
WITH RECURSIVE reached (oid) AS (
  SELECT CAST(to_regclass(:start) AS oid)
   UNION
  SELECT conrelid FROM pg_catalog.pg_constraint JOIN reached ON confrelid = reached.oid
   WHERE contype = 'f' AND conparentid = 0 AND confdeltype = 'c'
)
SELECT CAST(conrelid AS text), CAST(confrelid AS text), CAST(confdeltype AS text),
       (SELECT array_agg(CAST(attname AS text) ORDER BY place)
          FROM unnest(conkey) WITH ORDINALITY AS part (number, place)
          JOIN pg_catalog.pg_attribute ON attrelid = conrelid AND attnum = number),
       (SELECT array_agg(CAST(attname AS text) ORDER BY place)
          FROM unnest(confkey) WITH ORDINALITY AS part (number, place)
          JOIN pg_catalog.pg_attribute ON attrelid = confrelid AND attnum = number),
       (SELECT array_agg(format_type(atttypid, atttypmod) ORDER BY place)
          FROM unnest(confkey) WITH ORDINALITY AS part (number, place)
          JOIN pg_catalog.pg_attribute ON attrelid = confrelid AND attnum = number),
       EXISTS (SELECT FROM pg_catalog.pg_attribute
                WHERE attrelid = conrelid AND attnotnull
                  AND COALESCE(NULLIF(to_jsonb(found) -> 'confdelsetcols', 'null'), to_jsonb(conkey))
                       @> to_jsonb(attnum))
  FROM pg_catalog.pg_constraint AS found JOIN reached ON confrelid = reached.oid
 WHERE contype = 'f' AND conparentid = 0
 ORDER BY CAST(CAST(conrelid AS regclass) AS text), conname
"""

_TABLES = r"""
SELECT CAST(one.oid AS text), CAST(CAST(one.oid AS regclass) AS text), nspname, relname,
       has_schema_privilege(room.oid, 'USAGE') AND has_table_privilege(one.oid, 'SELECT'),
       (SELECT array_agg(CAST(attname AS text))
          FROM pg_catalog.pg_index JOIN pg_catalog.pg_attribute ON attrelid = indrelid AND attnum = ANY (indkey)
         WHERE indrelid = one.oid AND indisprimary)
  FROM pg_catalog.pg_class AS one JOIN pg_catalog.pg_namespace AS room ON room.oid = relnamespace
 WHERE CAST(one.oid AS text) = ANY (:keys) OR one.oid = to_regclass(:start)
"""

_ACTIONS: Final[dict[str, OnDelete]] = {
    "c": "CASCADE", "n": "SET NULL", "d": "SET DEFAULT", "r": "RESTRICT", "a": "NO ACTION"
}  # fmt: skip

_DEFERRED: Final = {
    "postgresql": "SELECT EXISTS (SELECT FROM pg_catalog.pg_constraint WHERE contype = 'f' AND condeferred)",
    "sqlite": "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND sql LIKE '%INITIALLY%DEFERRED%')",
}
"""SQLite tells it nowhere but in the statement that made the table."""

_SQLITE_REFERENCES = """
SELECT found.name, keys.id, keys."table", keys."from", keys."to", keys.on_delete
  FROM sqlite_master AS found JOIN pragma_foreign_key_list(found.name) AS keys
 WHERE found.type = 'table'
 ORDER BY found.name, keys.id, keys.seq
"""

_SQLITE_COLUMNS = """
SELECT lower(named.value), found.name, parts.name, parts."notnull", parts.pk
  FROM json_each(:names) AS named
  JOIN sqlite_master AS found ON found.type = 'table' AND lower(found.name) = named.value
  JOIN pragma_table_info(found.name) AS parts
 ORDER BY 1, parts.pk, parts.cid
"""


async def read_catalogue(db: AsyncSession, start: str) -> Catalogue:
    """Find the foreign keys to a table, to those whose rows are deleted with its own, and so on.

    Args:
        db: any session; nothing is written.
        start: the name of the table, which is found without its schema.
    """
    connection = await db.connection()
    return await (_read_postgresql if connection.dialect.name == "postgresql" else _read_sqlite)(db, start)


async def has_deferred(db: AsyncSession) -> bool:
    """Whether there is a foreign key anywhere that is heeded only at the commit. On SQLite, whether one may be."""
    connection = await db.connection()
    return bool(await db.scalar(text(_DEFERRED[connection.dialect.name])))


async def list_start(
    db: AsyncSession, catalogue: Catalogue, column: str, value: UUID, wanted: Sequence[str]
) -> list[Values]:
    """Return `wanted`, which are expressions, of the rows that the deletion begins with."""
    where = f"{quoted(column)} = :value"
    query = f"SELECT {', '.join(wanted)} FROM {catalogue.tables[catalogue.start].sql} WHERE {where}"  # noqa: S608  (names of the catalogue, quoted)
    found = _statement(query).bindparams(bindparam("value", type_=Uuid()))
    return [tuple(row) for row in await db.execute(found, {"value": value})]


async def list_rows(
    db: AsyncSession, child: Table, reference: Reference, keys: Iterable[Values], wanted: Sequence[str], *, limit: int
) -> list[Values]:
    """Return `wanted`, which are expressions, of the rows of `child` that refer to one of `keys`; about `limit` at
    most, and at least as many if there are.
    """
    columns = ", ".join(quoted(name) for name in reference.columns)
    query = f"SELECT {', '.join(wanted)} FROM {child.sql} WHERE ({columns}) IN "  # noqa: S608  (names of the catalogue, quoted)
    if reference.types:
        return await _list_on_postgresql(db, query, reference, list(keys), limit)
    rows: list[Values] = []
    single = len(reference.columns) == 1
    found = _statement(f"{query} :keys LIMIT {limit}").bindparams(bindparam("keys", expanding=True))
    asked: list[Any] = [key[0] if single else key for key in keys]
    for first in range(0, len(asked), _AT_ONCE):
        rows += [tuple(row) for row in await db.execute(found, {"keys": asked[first : first + _AT_ONCE]})]
        if len(rows) >= limit:
            break
    return rows


async def _list_on_postgresql(
    db: AsyncSession, query: str, reference: Reference, keys: list[Values], limit: int
) -> list[Values]:
    """As `list_rows`. Keys come and go as text, which every type of PostgreSQL has, whatever Python makes of it."""
    names = [f"part{place}" for place in range(len(reference.types))]
    casts = ", ".join(f"CAST({name} AS {kind})" for name, kind in zip(names, reference.types, strict=True))
    arrays = ", ".join(f"CAST(:{name} AS text[])" for name in names)
    inner = f"SELECT {casts} FROM unnest({arrays}) AS keys ({', '.join(names)})"  # noqa: S608  (names of the catalogue, quoted)
    values = {name: [key[place] for key in keys] for place, name in enumerate(names)}
    found = text(_escaped(query) + f"({inner}) LIMIT {limit}")
    return [tuple(row) for row in await db.execute(found, values)]


def quoted(name: str) -> str:
    """Write an identifier for a statement, as both databases take it."""
    return '"' + name.replace('"', '""') + '"'


def _escaped(sql: str) -> str:
    """Keep a colon in somebody's identifier from being taken for a parameter."""
    return sql.replace(":", r"\:")


def _statement(sql: str) -> TextClause:
    """Take a statement whose only parameter stands after a space; names of a host may hold colons anywhere else."""
    head, mark, tail = sql.rpartition(" :")
    return text(_escaped(head) + mark + tail)


# --- PostgreSQL ---------------------------------------------------------------------------------------


async def _read_postgresql(db: AsyncSession, start: str) -> Catalogue:
    references = [
        Reference(child, tuple(columns), parent, tuple(targets), tuple(types), _ACTIONS[action], needed)
        for child, parent, action, columns, targets, types, needed in await db.execute(
            text(_REFERENCES), {"start": start}
        )
    ]
    keys = sorted({key for each in references for key in (each.child, each.parent)})
    tables, first = {}, ""
    for key, name, schema, bare, readable, primary in await db.execute(text(_TABLES), {"start": start, "keys": keys}):
        identity = tuple(f"CAST({quoted(part)} AS text)" for part in primary or ("tableoid", "ctid"))
        tables[key] = Table(name, f"{quoted(schema)}.{quoted(bare)}", identity, readable)
        first = key if bare == start and name == start else first
    return Catalogue(first, tables, tuple(references))


def expression(catalogue: Catalogue, name: str) -> str:
    """Write a column that others refer to, as `list_rows` wants it: as text where its keys are text."""
    on_postgresql = any(each.types for each in catalogue.references)
    return f"CAST({quoted(name)} AS text)" if on_postgresql else quoted(name)


# --- SQLite -------------------------------------------------------------------------------------------


async def _read_sqlite(db: AsyncSession, start: str) -> Catalogue:
    """Names of tables are keys in lower case: SQLite does not tell them apart by it."""
    parts: dict[tuple[str, int], list[Any]] = defaultdict(list)
    for row in await db.execute(text(_SQLITE_REFERENCES)):
        parts[row.name, row.id].append(row)
    reached, before = {start}, 0
    while len(reached) > before:
        before = len(reached)
        reached |= {
            key[0].lower()
            for key, rows in parts.items()
            if rows[0].table.lower() in reached and rows[0].on_delete == "CASCADE"
        }
    held = {key: rows for key, rows in parts.items() if rows[0].table.lower() in reached}
    tables: dict[str, Table] = {}
    primary: dict[str, tuple[str, ...]] = {}
    needed: dict[str, set[str]] = defaultdict(set)
    asked = {"names": json.dumps(sorted(reached | {child.lower() for child, _ in held}))}
    for key, name, column, takes_no_null, place in (await db.execute(text(_SQLITE_COLUMNS), asked)).all():
        primary[key] = (*primary.get(key, ()), column) if place else primary.get(key, ())
        if takes_no_null:
            needed[key].add(column.lower())
        tables[key] = Table(name, quoted(name), tuple(map(quoted, primary[key])) or ("rowid",))
    references = [
        _sqlite_reference(child.lower(), rows, primary[rows[0].table.lower()], needed[child.lower()])
        for (child, _), rows in held.items()
    ]
    return Catalogue(start, tables, tuple(references))


def _sqlite_reference(child: str, rows: list[Any], primary: tuple[str, ...], needed: set[str]) -> Reference:
    columns = tuple(str(row[3]) for row in rows)
    targets = primary if rows[0].to is None else tuple(str(row.to) for row in rows)  # none named: the primary key
    no_null = any(name.lower() in needed for name in columns)
    return Reference(child, columns, rows[0].table.lower(), targets, (), cast(OnDelete, rows[0].on_delete), no_null)
