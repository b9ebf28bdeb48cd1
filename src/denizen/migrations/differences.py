"""Whether the tables in a database are those that the models describe."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import CheckConstraint, Connection, Table, inspect

from denizen.migrations.environment import METADATA, options
from denizen.profiles.models import PROFILE_INDEX

_WORDS = {"add": "lacks", "remove": "has, and should not have,"}


def differences(connection: Connection) -> list[str]:
    """Say in words how the database differs from the models, as Alembic sees it."""
    context = MigrationContext.configure(connection, opts=options())
    found = [sentence for one in compare_metadata(context, METADATA) for sentence in _in_words(one)]
    return [*found, *_rules(connection)]


def _rules(connection: Connection) -> Iterator[str]:
    """CHECKs by their names, and the index of own fields, which Alembic does not compare."""
    inspector = inspect(connection)
    there = set(inspector.get_table_names())
    if connection.dialect.name == "postgresql" and "denizen_users" in there:
        known = {each["name"] for each in inspector.get_indexes("denizen_users")}
        if PROFILE_INDEX not in known:
            yield f"The database lacks the index denizen_users.{PROFILE_INDEX}."
    for table in METADATA.sorted_tables:
        if table.name in there:
            has = {str(rule["name"]) for rule in inspector.get_check_constraints(table.name)}
            wants = {str(rule.name) for rule in table.constraints if isinstance(rule, CheckConstraint)}
            yield from (f"The database lacks the rule {table.name}.{name}." for name in sorted(wants - has))
            yield from (
                f"The database has, and should not have, the rule {table.name}.{name}." for name in sorted(has - wants)
            )


def broken_references(connection: Connection) -> list[str]:
    """Name rows that point to what is not there; only SQLite can have any, written with its checks off."""
    if connection.dialect.name != "sqlite":
        return []
    found = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchmany(100)
    return [f"Row {row[1]} of {row[0]} points to nothing in {row[2]}." for row in found]


def _in_words(found: Any) -> Iterator[str]:
    if isinstance(found, list):  # all that differs in one column
        for one in found:
            what, table, column = one[0].removeprefix("modify_"), one[2], one[3]
            yield f"The {what} of {table}.{column} is {one[5]!r} and should be {one[6]!r}."
        return
    action, _, kind = found[0].partition("_")
    subject = found[-1]
    words = kind.replace("_", " ").replace("fk", "reference").removesuffix(" constraint")
    yield f"The database {_WORDS.get(action, action)} the {words} {_name(subject)}."


def _name(subject: Any) -> str:
    table = getattr(subject, "table", None)
    name = getattr(subject, "name", None) or str(subject)
    return f"{table.name}.{name}" if isinstance(table, Table) and not isinstance(subject, Table) else str(name)
