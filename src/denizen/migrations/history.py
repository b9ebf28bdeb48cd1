"""The revisions that a release knows, read from their files without Alembic: the server asks at every start."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

VERSIONS = Path(__file__).with_name("versions")


@dataclass(frozen=True, slots=True)
class Revision:
    """One step of the schema.

    Attributes:
        id: such as `denizen_0001`.
        follows: the ids it builds on; none for the first.
        breaking: whether releases that do not know it must keep off the database.
        summary: one line on what it does.
    """

    id: str
    follows: tuple[str, ...]
    breaking: bool
    summary: str


class History:
    """All revisions in some folders.

    Args:
        folders: where the files are; the one that is shipped, unless told otherwise.
    """

    def __init__(self, *folders: Path) -> None:
        self.folders = folders or (VERSIONS,)

    @cached_property
    def revisions(self) -> tuple[Revision, ...]:
        """Every revision, each after those that it builds on.

        Raises:
            ValueError: a file does not say what it must, or revisions build on what is not there.
        """
        waiting = {revision.id: revision for revision in self._read()}
        ordered: dict[str, Revision] = {}
        while waiting:
            ready = sorted(name for name, one in waiting.items() if ordered.keys() >= set(one.follows))
            if not ready:
                raise ValueError(f"these revisions build on ones that are not there: {', '.join(sorted(waiting))}")
            ordered.update({name: waiting.pop(name) for name in ready})
        return tuple(ordered.values())

    @cached_property
    def heads(self) -> tuple[str, ...]:
        """The ids that no other revision builds on: one, as long as nobody made a branch."""
        followed = {name for revision in self.revisions for name in revision.follows}
        return tuple(revision.id for revision in self.revisions if revision.id not in followed)

    def _read(self) -> Iterator[Revision]:
        for folder in self.folders:
            for path in sorted(folder.glob("[!_]*.py")):
                yield _read_revision(path)


SHIPPED = History()
"""The revisions of this release."""


def _read_revision(path: Path) -> Revision:
    tree = ast.parse(path.read_text(encoding="utf-8"), path.name)
    values: dict[str, Any] = {}
    for node in tree.body:
        match node:
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=value)
                | ast.AnnAssign(target=ast.Name(id=name), value=value)
            ):
                if name in {"revision", "down_revision", "breaking"} and value is not None:
                    values[name] = ast.literal_eval(value)
    if type(values.get("revision")) is not str or type(values.get("breaking")) is not bool:
        raise ValueError(f"{path.name} must say `revision = '...'` and `breaking = True` or `False`")
    follows = values.get("down_revision") or ()
    lines = (ast.get_docstring(tree) or path.stem).splitlines()
    return Revision(
        values["revision"],
        (follows,) if isinstance(follows, str) else tuple(follows),
        values["breaking"],
        lines[0].rstrip("."),
    )
