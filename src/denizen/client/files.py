"""Calls whose bodies are files: imports, exports, and the jobs that imports are."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal, Unpack

from pydantic import BaseModel, Field

from denizen.client.calls import Answer, Call, Id, Page, dump, get, parse, part, query, reads, reads_page
from denizen.client.errors import AnswerInvalid, Unreachable, raised
from denizen.client.methods import Stream
from denizen.client.people import UserFilters
from denizen.core.ids import new_id
from denizen.jobs.schemas import JobRead, ResultRead
from denizen.users.schemas import UserRead

Format = Literal["csv", "ndjson"]


class ExportedUser(UserRead):
    """An account of an export."""

    hashed_password: Annotated[str | None, Field(repr=False)] = None


class ImportSummary(BaseModel):
    """What became of all rows of an import."""

    rows: int
    created: int
    updated: int
    unchanged: int
    skipped: int
    valid: int
    refused: int
    codes: dict[str, int]


def export_users(*, with_hashes: bool | None = None, **filters: Unpack[UserFilters]) -> Stream[ExportedUser]:
    """Give all accounts, or those under a filter, however many there are, in one answer."""
    params: dict[str, Any] = {"format": "ndjson", "with_hashes": with_hashes, **filters}
    return Stream(get("/users/export", _itself, **params), _Exported)


def export_file(
    format: Format = "csv",  # noqa: A002  (the API's name for it)
    *,
    with_hashes: bool | None = None,
    **filters: Unpack[UserFilters],
) -> Stream[bytes]:
    """Give the same as the bytes of a file."""
    params: dict[str, Any] = {"format": format, "with_hashes": with_hashes, **filters}
    return Stream(get("/users/export", _itself, **params), _Bytes)


def import_users(
    content: bytes | Iterable[bytes] | Any,
    *,
    format: Format,  # noqa: A002  (the API's name for it)
    mode: Literal["create", "skip", "upsert"] | None = None,
    match: Literal["email", "username", "external_id"] | None = None,
    rename: Mapping[str, str] | None = None,
    ignore_unknown: bool | None = None,
    dry_run: bool = False,
    idempotency_key: str | None = None,
) -> Stream[ResultRead | ImportSummary]:
    """Bring in the rows of a file. Gives a result for each as it is stored, and at last an `ImportSummary`.

    Args:
        content: of the file; an iterable of bytes for a large one, for `AsyncClient` an asynchronous one.
        format: of the file.
        mode: what happens to a row that an account is there for.
        match: by what that account is found.
        rename: columns of the file by what they are called here.
        ignore_unknown: leave out columns that accounts do not have.
        dry_run: write nothing, and tell what would be.
        idempotency_key: with the key of an import that was cut off, the same file goes on where that ended.
    """
    named = None if rename is None else [f"{old}={new}" for old, new in rename.items()]
    params = {"mode": mode, "match": match, "map": named, "ignore_unknown": ignore_unknown, "dry_run": dry_run or None}
    headers = {"content-type": "text/csv" if format == "csv" else "application/x-ndjson"}
    if not dry_run:
        headers["idempotency-key"] = idempotency_key or str(new_id())
    again = isinstance(content, bytes)
    return Stream(Call("POST", "/users/import", _itself, query(params), headers, content, again), _Imported)


def _itself(answer: Answer) -> Answer:
    return answer


class _Bytes:
    """Gives the pieces as they come."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        yield data

    def finish(self) -> Iterator[bytes]:
        return iter(())


class _Lines:
    """Cuts pieces into lines."""

    def __init__(self) -> None:
        self._rest: list[bytes] = []

    def lines(self, data: bytes) -> list[bytes]:
        if b"\n" not in data:
            self._rest.append(data)
            return []
        *found, rest = b"".join([*self._rest, data]).split(b"\n")
        self._rest = [rest]
        return found

    def must_be_empty(self) -> None:
        if any(self._rest):
            raise Unreachable("The answer was cut off in the middle of a line.", sent=True)


class _Exported(_Lines):
    """Reads accounts."""

    def feed(self, data: bytes) -> Iterator[ExportedUser]:
        for line in self.lines(data):
            yield parse(ExportedUser, line)

    def finish(self) -> Iterator[ExportedUser]:
        self.must_be_empty()
        return iter(())


class _Imported(_Lines):
    """Reads results; a stream that does not end in the summary was cut off."""

    ended = False

    def feed(self, data: bytes) -> Iterator[ResultRead | ImportSummary]:
        for line in self.lines(data):
            if line.startswith(b'{"summary"'):
                self.ended = True
                yield parse(ImportSummary, dump(_member(line, "summary")))
            elif line.startswith(b'{"error"'):
                told = _member(line, "error")
                raise raised(told, int(told.get("status", 500)))
            else:
                yield parse(ResultRead, line)

    def finish(self) -> Iterator[ResultRead | ImportSummary]:
        if not self.ended:
            raise Unreachable(
                "The import was cut off. Send the same file with the same idempotency_key, and it goes on.", sent=True
            )
        return iter(())


def _member(line: bytes, name: str) -> dict[str, Any]:
    try:
        found = json.loads(line)[name]
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or (name == "error" and not isinstance(found.get("code"), str)):
        raise AnswerInvalid("A line of the answer cannot be read.")
    return found


def list_jobs(*, limit: int = 100) -> Call[Page[JobRead]]:
    """Give all jobs, the newest first. `limit` is how many are asked for at a time."""
    return get("/jobs/", reads_page(JobRead), limit=limit)


def get_job(job_id: Id) -> Call[JobRead]:
    """Read a job, and how far it is."""
    return get(f"/jobs/{part(job_id)}", reads(JobRead))


def list_job_results(job_id: Id) -> Stream[ResultRead]:
    """Give the results of an import so far."""
    return Stream(get(f"/jobs/{part(job_id)}/results", _itself), _Results)


class _Results(_Lines):
    """Reads results that have no summary."""

    def feed(self, data: bytes) -> Iterator[ResultRead]:
        for line in self.lines(data):
            yield parse(ResultRead, line)

    def finish(self) -> Iterator[ResultRead]:
        self.must_be_empty()
        return iter(())
