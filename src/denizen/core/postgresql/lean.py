"""Statements past psycopg's cursors: three of them in one way to the server and back, for a third of the processor.

A cursor looks for placeholders and types each time, and waits for each answer by itself: of a statement by key that is
most of the work. Here the text is taken apart once, values go as text, which the casts that SQLAlchemy writes tell the
types of, and what belongs together is sent together (a pipeline of libpq's, `BEGIN` and `COMMIT` included). All this
stands on psycopg's `pq`, `generators` and `adapt`, and on its lock and its wait, so that deadlines hold.

Statements are prepared under names of our own. psycopg drops all names of a connection after a rollback and after DDL:
`forget` has to be called then. A name that was dropped without our knowing costs one transaction, never a wrong answer.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection, abc, capabilities, pq
from psycopg.abc import PQGen
from psycopg.adapt import PyFormat, Transformer
from psycopg.errors import error_from_result
from psycopg.generators import execute, fetch_many, send

from denizen.core.statements import Row

Step = tuple[str, Any]
"""A statement with psycopg's placeholders, and its parameters by name."""

MOST_NAMES: Final = 100
_MOST_COUNTED: Final = 1_000
_HAS_ALL: Final = capabilities.has_pipeline() and capabilities.has_send_close_prepared()
_PLACEHOLDER: Final = re.compile(r"%(?:\(([^)]+)\)s|%)")


@lru_cache(maxsize=1_000)
def _numbered(sql: str) -> tuple[bytes, tuple[str, ...]]:
    """Give a statement with PostgreSQL's own placeholders (`$1`), and the names of its parameters in their order."""
    names: dict[str, str] = {}

    def put(found: re.Match[str]) -> str:
        return "%" if found[1] is None else names.setdefault(found[1], f"${len(names) + 1}")

    return _PLACEHOLDER.sub(put, sql).encode(), tuple(names)


class LeanConnection(AsyncConnection[Any]):
    """A psycopg connection that runs statements in steps."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._names: OrderedDict[bytes, bytes] = OrderedDict()
        self._named = 0
        self._runs: dict[bytes, int] = {}
        self._stale: list[bytes] = []
        self._later: list[Step] = []

    @property
    def is_behind(self) -> bool:
        """Whether something was put off."""
        return bool(self._later)

    async def rows(self, steps: Sequence[Step], *, prepare: bool | None = None) -> list[Sequence[Row]]:
        """Run what was put off, then statements one after the other; give the rows of each of these.

        A transaction begins with them, unless the connection is in autocommit. One that fails is the last that is run.

        Args:
            steps: what to run.
            prepare: `False` for never, so that each run is planned for its parameters; otherwise after some runs.

        Raises:
            psycopg.Error: what the server or the driver says.
        """
        if not self._is_lean:
            return [await self._by_cursor(step, prepare) for step in steps]
        async with self.lock:
            return await self.wait(self._run(steps, prepare=prepare))

    async def put_off(self, step: Step) -> None:
        """Run a statement with the next ones, or with the commit; now, where they are not sent together."""
        if self._is_lean:
            self._later.append(step)
        else:
            await self._by_cursor(step, None)

    async def catch_up(self) -> None:
        """Run what was put off."""
        await self.rows(())

    def drop_put_off(self) -> None:
        """Never run what was put off."""
        self._later.clear()

    def forget(self) -> None:
        """Prepare everything anew: psycopg may have dropped all that was prepared, under its names and ours. What it
        left is closed with the next statements, or each rollback would leave some more on the server.
        """
        self._stale.extend(self._names.values())
        self._names.clear()

    async def commit(self) -> None:
        """Commit, and with that run what was put off."""
        if not self._later:
            await super().commit()
            return
        try:
            async with self.lock:
                await self.wait(self._run((), ends=True))
        except psycopg.Error:
            if self.pgconn.transaction_status == pq.TransactionStatus.INERROR:
                await self.rollback()  # the commit was not run; nobody who asks for one expects that
            raise

    async def rollback(self) -> None:
        """Roll back as psycopg does."""
        self.drop_put_off()
        if self.pgconn.transaction_status != pq.TransactionStatus.IDLE:
            self.forget()
        await super().rollback()

    @property
    def _is_lean(self) -> bool:
        return _HAS_ALL and self.prepare_threshold is not None

    async def _by_cursor(self, step: Step, prepare: bool | None) -> Sequence[Row]:
        cursor = self.cursor()
        await cursor.execute(*step, prepare=prepare)
        return [] if cursor.description is None else await cursor.fetchall()

    # ------------------------------------------------------------------------------------------------------- protocol

    def _run(
        self, steps: Sequence[Step], *, prepare: bool | None = None, ends: bool = False
    ) -> PQGen[list[Sequence[Row]]]:
        later, self._later = self._later, []
        transformer = Transformer(self)
        begins = not self.autocommit and self.pgconn.transaction_status == pq.TransactionStatus.IDLE
        batch = _Batch()
        if begins:
            batch.add(partial(self.pgconn.send_query_params, self._begin(), None))
        for name in self._stale:
            batch.add(partial(self.pgconn.send_close_prepared, name))
        self._stale = []
        for number, step in enumerate((*later, *steps)):
            self._add(batch, step, transformer, prepare=prepare, wanted=number >= len(later))
        if ends:
            batch.add(partial(self.pgconn.send_query_params, b"COMMIT", None))
        if len(batch.commands) == 1 and not begins:
            results = yield from self._alone(batch)
        else:
            results = yield from self._together(batch)
        return self._read(batch, results, transformer)

    def _alone(self, batch: _Batch) -> PQGen[list[pq.abc.PGresult]]:
        batch.commands[0]()
        results: list[pq.abc.PGresult] = yield from execute(self.pgconn)
        return results

    def _together(self, batch: _Batch) -> PQGen[list[pq.abc.PGresult]]:
        """Send all, then take all answers; after them comes that of the synchronisation.

        libpq keeps what it is given until the synchronisation, or until it has 64 KiB. psycopg's own way
        (`pipeline_communicate`) writes each command to the socket by itself, and wakes the server for each.
        """
        self.pgconn.enter_pipeline_mode()
        try:
            for command in batch.commands:
                command()
            self.pgconn.pipeline_sync()
            yield from send(self.pgconn)
            found: list[pq.abc.PGresult] = []
            for _ in batch.commands:
                results = yield from fetch_many(self.pgconn)
                found.extend(results[-1:])
            yield from fetch_many(self.pgconn)
            self.pgconn.exit_pipeline_mode()
        except BaseException:
            self.pgconn.finish()  # nobody knows which answers are still to come
            raise
        if len(found) < len(batch.commands):
            self.pgconn.finish()
            raise psycopg.OperationalError("what the server answers does not belong to what it was asked")
        return found

    def _add(
        self, batch: _Batch, step: Step, transformer: abc.Transformer, *, prepare: bool | None, wanted: bool
    ) -> None:
        sql, values = step
        text, order = (sql.encode(), ()) if values is None else _numbered(sql)
        given = transformer.dump_sequence([values[name] for name in order], [PyFormat.TEXT] * len(order))
        name = None if prepare is False else self._name_of(text, batch)
        if name is None:
            batch.add(partial(self.pgconn.send_query_params, text, given), wanted=wanted)
        else:
            batch.add(partial(self.pgconn.send_query_prepared, name, given), wanted=wanted)

    def _name_of(self, text: bytes, batch: _Batch) -> bytes | None:
        """Give the name that a statement is prepared under, and prepare it where it is time; `None` before that."""
        name = self._names.get(text) or batch.named.get(text)
        if name is not None:
            if text in self._names:
                self._names.move_to_end(text)
            return name
        runs = self._runs[text] = self._runs.get(text, 0) + 1
        if len(self._runs) > _MOST_COUNTED:
            self._runs.clear()
        if runs <= (self.prepare_threshold or 0):
            return None
        self._named += 1
        name = batch.named[text] = b"denizen_%d" % self._named
        batch.add(partial(self.pgconn.send_prepare, name, text), text=text)
        return name

    def _read(
        self, batch: _Batch, results: Sequence[pq.abc.PGresult], transformer: abc.Transformer
    ) -> list[Sequence[Row]]:
        found: list[Sequence[Row]] = []
        for result, wanted, text in zip(results, batch.wanted, batch.texts, strict=True):
            if result.status == pq.ExecStatus.TUPLES_OK:
                if wanted:
                    transformer.set_pgresult(result)
                    found.append(transformer.load_rows(0, result.ntuples, tuple))
            elif result.status == pq.ExecStatus.COMMAND_OK:
                if wanted:
                    found.append([])
                if text is not None:
                    self._keep(text, batch.named[text])
            else:
                raise self._error(result)
        return found

    def _keep(self, text: bytes, name: bytes) -> None:
        self._names[text] = name
        if len(self._names) > MOST_NAMES:
            _, oldest = self._names.popitem(last=False)
            self._stale.append(oldest)

    def _error(self, result: pq.abc.PGresult) -> psycopg.Error:
        if result.status != pq.ExecStatus.FATAL_ERROR:
            return psycopg.InterfaceError(f"an answer that was not asked for: {pq.ExecStatus(result.status).name}")
        error = error_from_result(result, encoding=self.info.encoding)
        if isinstance(error, psycopg.errors.InvalidSqlStatementName):
            self.forget()
        return error

    def _begin(self) -> bytes:
        words = ["BEGIN"]
        if self.isolation_level is not None:
            words.append(f"ISOLATION LEVEL {self.isolation_level.name.replace('_', ' ')}")
        if self.read_only is not None:
            words.append("READ ONLY" if self.read_only else "READ WRITE")
        return " ".join(words).encode()


class _Batch:
    """Commands that are sent together.

    Attributes:
        commands: in their order.
        wanted: for each, whether its rows are given.
        texts: for each, the statement that it prepares.
        named: the names of those.
    """

    def __init__(self) -> None:
        self.commands: list[Callable[[], None]] = []
        self.wanted: list[bool] = []
        self.texts: list[bytes | None] = []
        self.named: dict[bytes, bytes] = {}

    def add(self, command: Callable[[], None], *, wanted: bool = False, text: bytes | None = None) -> None:
        self.commands.append(command)
        self.wanted.append(wanted)
        self.texts.append(text)
