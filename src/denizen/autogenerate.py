"""What keeps an application's autogenerate from our tables, whatever its `env.py` calls.

Alembic loads it as a plugin (the entry point in pyproject.toml) wherever Denizen is installed, for whichever project:
so it imports nothing, and does nothing but to metadata that have no table of ours.
"""

from __future__ import annotations

from typing import Any

OURS = "denizen_"
OWN = "denizen_users"
"""A table that metadata have where they are ours, and autogenerate is for our own history."""


def setup(plugin: Any) -> None:
    """Register with Alembic's `Plugin`, to be asked before anything is compared."""
    from alembic.util import DispatchPriority

    plugin.add_autogenerate_comparator(leave_alone, "autogenerate", "denizen", priority=DispatchPriority.FIRST)


def leave_alone(context: Any, upgrade_ops: Any) -> None:
    """Let autogenerate not see our tables in the database.

    Args:
        context: an `AutogenContext`.
        upgrade_ops: what it has found so far.
    """
    if all(table.name != OWN for table in context.sorted_tables):
        context._name_filters.append(_is_theirs)  # noqa: SLF001  (what `include_name` is put into)


def _is_theirs(name: str | None, kind: str, parents: Any) -> bool:
    return kind != "table" or not (name or "").startswith(OURS)
