"""What a deletion reaches: which rows of which tables, and what happens to them."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from denizen.reach import crud
from denizen.reach.schemas import Fate, ReachedTable, ReachedThrough
from denizen.reach.values import BOUND, Catalogue, Reference, Table, Values

_FATES: dict[str, Fate] = {"CASCADE": "deleted", "SET NULL": "emptied", "SET DEFAULT": "reset"}


async def find_reach(db: AsyncSession, table: str, column: str, value: UUID) -> list[ReachedTable]:
    """Find what the database would do to which rows if one were deleted.

    Rows that go in several ways count once, and cycles end. What two foreign keys in a race would do is told as if all
    that is deleted went at once: a RESTRICT or NO ACTION among rows that go themselves refuses nothing. Whether what
    SET DEFAULT writes refers to anything is not looked at.

    Args:
        db: any session; nothing is written.
        table: where the row is, by its name without a schema.
        column: that names the row; unique.
        value: of it.

    Returns:
        The table itself first, then in the order in which they are reached; the bound of each is `BOUND`.
    """
    search = _Search(db, await crud.read_catalogue(db, table))
    await search.follow(column, value)
    await search.look_aside()
    return search.told()


async def is_kept_at_commit(db: AsyncSession, table: str, column: str, value: UUID) -> bool:
    """Whether rows that refer to one would keep it, and the database say so only at the commit: too late to be told
    from other reasons, and for all else in the transaction.

    Args:
        db, table, column, value: as `find_reach`.
    """
    if not await crud.has_deferred(db):
        return False
    return is_refused(await find_reach(db, table, column, value))


def is_refused(reached: Iterable[ReachedTable]) -> bool:
    """Whether there are rows that keep the deletion from being done."""
    return any(each.action == "refused" and each.rows for each in reached)


class _Search:
    """One walk along the foreign keys.

    Attributes:
        deleted: of each table the rows that go: by what tells them apart, the values that others refer to.
        cut: tables of which more may go than is known.
        others: of each table and fate the rows that stay, and those that refuse.
        via: the foreign keys that have led there.
    """

    def __init__(self, db: AsyncSession, catalogue: Catalogue) -> None:
        self._db = db
        self._catalogue = catalogue
        self.deleted: dict[str, dict[Values, Values]] = defaultdict(dict)
        self.cut: set[tuple[str, Fate]] = set()
        self.others: dict[tuple[str, Fate], set[Values]] = {}
        self.via: dict[tuple[str, Fate], list[Reference]] = defaultdict(list)

    async def follow(self, column: str, value: UUID) -> None:
        """Find all rows that go, table by table, until nothing new is found."""
        start = self._catalogue.start
        rows = await crud.list_start(self._db, self._catalogue, column, value, self._wanted(start))
        queue = deque([(start, self._keep(start, rows))])
        while queue:
            parent, fresh = queue.popleft()
            for reference in self._catalogue.leading_to(parent):
                if reference.on_delete == "CASCADE":
                    rows = await self._ask(reference, fresh, "deleted")
                    if new := self._keep(reference.child, rows):
                        queue.append((reference.child, new))

    async def look_aside(self) -> None:
        """Find the rows that refer to those that go, and do not go themselves."""
        for parent in list(self.deleted):
            for reference in self._catalogue.leading_to(parent):
                if reference.on_delete != "CASCADE":
                    fate = _fate(reference)
                    rows = await self._ask(reference, list(self.deleted[parent].values()), fate)
                    going = self.deleted.get(reference.child, {})
                    size = len(self._table(reference.child).identity)
                    left = {row[:size] for row in rows} - going.keys()
                    if left:
                        self.others.setdefault((reference.child, fate), set()).update(left)

    def told(self) -> list[ReachedTable]:
        """Give what was found."""
        deleted: Fate = "deleted"
        counts = {(table, deleted): len(rows) for table, rows in self.deleted.items() if rows}
        counts |= {key: len(rows) for key, rows in self.others.items()}
        counts |= {key: 0 for key in self.cut if key not in counts}
        self._spread()
        return [
            ReachedTable(
                table=self._table(table).name,
                rows=min(rows, BOUND),
                more=(table, fate) in self.cut or rows > BOUND,
                action=fate,
                via=[self._through(each) for each in self.via[table, fate]],
            )
            for (table, fate), rows in counts.items()
        ]

    async def _ask(self, reference: Reference, parents: Iterable[Values], fate: Fate) -> list[Values]:
        """Find the rows that refer to `parents`, and remember that this foreign key has led to some."""
        key, child = (reference.child, fate), self._table(reference.child)
        known = self._catalogue.targets_in(reference.parent)
        places = [known.index(name) for name in reference.targets]
        keys = {tuple(row[place] for place in places) for row in parents}
        keys = {values for values in keys if None not in values}  # nothing refers to those
        if not keys:
            return []
        if not child.readable:
            self.cut.add(key)
            rows: list[Values] = []
        else:
            wanted = self._wanted(reference.child)
            rows = await crud.list_rows(self._db, child, reference, keys, wanted, limit=BOUND + 1)
        if len(rows) > BOUND:
            self.cut.add(key)
        if (rows or not child.readable) and reference not in self.via[key]:
            self.via[key].append(reference)
        return rows

    def _keep(self, table: str, rows: list[Values]) -> list[Values]:
        """Take rows among those that go, as long as there is room; give what others refer to in the new ones."""
        kept, fresh, size = self.deleted[table], [], len(self._table(table).identity)
        for row in rows:
            if row[:size] in kept:
                continue
            if len(kept) == BOUND:
                self.cut.add((table, "deleted"))
                break
            kept[row[:size]] = row[size:]
            fresh.append(row[size:])
        return fresh

    def _spread(self) -> None:
        """Where more rows may go than are known, more of those that refer to them may be reached as well."""
        before = -1
        while len(self.cut) > before:
            before = len(self.cut)
            for key, references in self.via.items():
                if any((each.parent, "deleted") in self.cut for each in references):
                    self.cut.add(key)

    def _wanted(self, table: str) -> Sequence[str]:
        """Write what is asked of a row: what tells it apart, then what others refer to."""
        names = self._catalogue.targets_in(table)
        return (*self._table(table).identity, *(crud.expression(self._catalogue, name) for name in names))

    def _table(self, key: str) -> Table:
        return self._catalogue.tables[key]

    def _through(self, reference: Reference) -> ReachedThrough:
        return ReachedThrough(
            columns=list(reference.columns),
            references=self._table(reference.parent).name,
            on_delete=reference.on_delete,
        )


def _fate(reference: Reference) -> Fate:
    """Tell what becomes of rows that refer to what is deleted. A column that takes no NULL cannot be emptied."""
    if reference.on_delete == "SET NULL" and reference.needed:
        return "refused"
    return _FATES.get(reference.on_delete, "refused")
