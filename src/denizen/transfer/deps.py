"""Files that come as the bodies of requests, and the answers to them."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from tempfile import TemporaryFile
from typing import Annotated, Any, Final

from fastapi import Depends, Header, Request

from denizen.core import logs
from denizen.core.accounts import Accounts
from denizen.core.auth import Caller, NotWhileImpersonating, Scope
from denizen.core.bodies import BoundedRequest
from denizen.core.deps import accounts_of
from denizen.core.errors import DenizenError, StorageFull, Unavailable, UnsupportedMedia
from denizen.core.problems import document_of, request_id_of, unexpected
from denizen.idempotency.errors import IdempotencyKeyInFlight, IdempotencyKeyReused
from denizen.idempotency.service import digest_of, read_key
from denizen.jobs.deps import NdjsonResponse
from denizen.jobs.errors import JobRunning
from denizen.jobs.models import Job
from denizen.jobs.service import Work, differing, find_job_by_key, read_results, source_digest, state_of
from denizen.transfer.adapters.formats import make_reader
from denizen.transfer.adapters.ndjson import dump_results
from denizen.transfer.schemas import Columns, Format, ImportOptions, ImportQuery, described, read_mappings
from denizen.transfer.service import Import

log = logs.logger(__name__)

ROUTE: Final = "POST /users/import"
TYPES: Final[dict[str, Format]] = {
    "application/x-ndjson": "ndjson",
    "application/jsonl": "ndjson",
    "application/ndjson": "ndjson",
    "text/csv": "csv",
}
_PIECE_BYTES: Final = 256 * 1024
_SPOOLED_BYTES: Final = 1024 * 1024
_MOST_UPLOADS: Final = 8
"""Files of one process at the same time, each of which may be as large as `DENIZEN_MAX_IMPORT_SIZE`."""


def form_of(request: Request) -> Format:
    """Tell the form of a body by its `Content-Type`.

    Raises:
        UnsupportedMedia: it is none of ours, not in UTF-8, or compressed.
    """
    kind, *parameters = request.headers.get("content-type", "").split(";")
    form = TYPES.get(kind.strip().lower())
    charsets = [
        value for name, _, value in (each.partition("=") for each in parameters) if name.strip().lower() == "charset"
    ]
    if form is None or any(charset.strip(" \t\"'").lower() not in {"utf-8", "utf8"} for charset in charsets):
        raise UnsupportedMedia(f"Send the file as {', '.join(TYPES)}, in UTF-8.")
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise UnsupportedMedia("Send the file uncompressed.")
    return form


class Upload:
    """The body of a request, in a temporary file that is gone with it.

    Attributes:
        size: in bytes.
        digest: what a job knows it by.
        running: the import of it, which ends with it: also where nobody was left to begin with the answer.
    """

    def __init__(self, request: Request) -> None:
        self._request = request
        self.accounts = accounts_of(request)
        self.size = 0
        self.digest = b""
        self.running: Import | None = None
        self._file = TemporaryFile()  # noqa: SIM115  (closed by `upload_of`, once the answer was sent)

    async def receive(self) -> None:
        """Take the body.

        Raises:
            TooLarge: more than `DENIZEN_MAX_IMPORT_SIZE`.
            Malformed: it ended too early.
            StorageFull: there is no room for it.
        """
        limit = self.accounts.settings.max_import_size
        plain = self._request
        bounded = BoundedRequest(plain.scope, plain.receive, plain._send, limit=limit)  # noqa: SLF001  (no other way)
        sha256, waiting, size = hashlib.sha256(), list[bytes](), 0

        def spool(data: bytes) -> None:
            sha256.update(data)
            self._file.write(data)

        try:
            async with aclosing(bounded.stream()) as chunks:
                async for chunk in chunks:
                    waiting.append(chunk)
                    size += len(chunk)
                    if size >= _SPOOLED_BYTES:
                        await asyncio.to_thread(spool, b"".join(waiting))
                        self.size, waiting, size = self.size + size, [], 0
            await asyncio.to_thread(spool, b"".join(waiting))
            await asyncio.to_thread(self._file.seek, 0)  # what is still in memory is written here, or does not fit
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise StorageFull("There is no room for the file right now.", retry_after=60) from None
            raise
        self.size += size
        self.digest = source_digest(self.accounts, sha256.digest())

    async def chunks(self) -> AsyncIterator[bytes]:
        """Give it in pieces, from its beginning."""
        self._file.seek(0)
        while chunk := await asyncio.to_thread(self._file.read, _PIECE_BYTES):
            yield chunk

    async def close(self) -> None:
        """Erase it."""
        if self.running is not None:
            await self.running.close()
        with suppress(OSError):  # of what did not fit it would tell once more
            self._file.close()


async def upload_of(request: Request) -> AsyncIterator[Upload]:
    """Give room for a body until the answer was sent; the route asks who the caller is before it asks for this.

    Raises:
        Unavailable: there is no room for one more, and not a byte of it is read.
    """
    uploads = accounts_of(request).uploads
    if len(uploads) >= _MOST_UPLOADS:
        raise Unavailable(f"{_MOST_UPLOADS} files are being imported here already. Try again later.", retry_after=10)
    upload = Upload(request)
    uploads.add(upload)
    try:
        yield upload
    finally:
        uploads.discard(upload)
        await upload.close()


Uploaded = Annotated[Upload, Depends(upload_of)]

IdempotencyKey = Annotated[
    str | None,
    Header(
        description="Send the same file again with the same key, and it is imported once: where the first request was "
        "cut off the import goes on, and afterwards the same results are given again. 1 to 255 printable characters of "
        "ASCII, a UUID say; known for each caller, for a week.",
        json_schema_extra={"minLength": 1, "maxLength": 255},
    ),
]


def plan_import(request: Request, caller: Caller, query: ImportQuery) -> tuple[ImportOptions, Work]:
    """Read what an import is to do, before its body is read.

    Raises:
        UnsupportedMedia, MappingInvalid, IdempotencyKeyInvalid: it cannot be meant.
        ScopeMissing: changing accounts takes `users:write` as well.
        NotWhileImpersonating: changing accounts, by somebody in somebody else's place.
    """
    accounts, form = accounts_of(request), form_of(request)
    renamed = read_mappings(query.map, Columns(accounts.profile))
    if query.mode == "upsert":
        caller.must(Scope.USERS_WRITE)
    key = read_key(request.headers.getlist("idempotency-key"))
    himself = caller.impersonator_id is None
    if query.mode == "upsert" and not himself:
        raise NotWhileImpersonating("Nobody changes accounts by a file in somebody else's place.")
    options = ImportOptions(
        query.mode,
        query.match,
        with_hashes=caller.may(Scope.USERS_HASHES) and himself,
        with_roles=caller.may(Scope.ROLES_WRITE) and himself,
        dry_run=query.dry_run,
        caller=caller,
    )
    work = Work(
        kind="import",
        source=ROUTE,
        options=described(options, form, renamed, ignore_unknown=query.ignore_unknown, profile=accounts.profile),
        caller_id=caller.id,
        key_digest=None if key is None or query.dry_run else digest_of(accounts, caller, None, route=ROUTE, key=key),
    )
    return options, work


async def answer_import(request: Request, upload: Upload, options: ImportOptions, work: Work) -> NdjsonResponse:
    """Begin an import, go on with it, or give its results again, as its Idempotency-Key says.

    Raises:
        FileRefused: nothing was written.
        IdempotencyKeyReused, IdempotencyKeyInFlight: the key was for something else, or somebody is at it.
    """
    accounts, kept = upload.accounts, work.options
    job = await _job_before(accounts, work)
    if job is not None and job.state == "done":
        return _answer(accounts, job.id, _again(accounts, job), replayed=True)
    reader = make_reader(
        kept["format"],
        ignore_unknown=kept["ignore_unknown"],
        renamed=kept["map"],
        needed=options.needed,
        columns=Columns(accounts.profile),
    )
    running = upload.running = Import(accounts, upload.chunks(), reader, options, work=work)
    try:
        await running.begin(job)
    except JobRunning:
        raise _in_flight() from None
    job_id = None if running.held is None else running.held.job_id
    return _answer(accounts, job_id, _lines(running, request))


async def _job_before(accounts: Accounts, work: Work) -> Job | None:
    job = None if work.key_digest is None else await find_job_by_key(accounts, work.key_digest)
    if job is None:
        return None
    if job.source_digest != work.source_digest or differing(job, work):
        raise IdempotencyKeyReused(
            "This Idempotency-Key was sent before with another file or other parameters. Take a new key."
        )
    if state_of(job, accounts.clock()) == "running":
        raise _in_flight()
    return job


def _in_flight() -> IdempotencyKeyInFlight:
    return IdempotencyKeyInFlight(
        "An import with this Idempotency-Key is being worked on. Look at it: GET /jobs/", retry_after=5
    )


def _answer(accounts: Accounts, job_id: Any, lines: AsyncGenerator[bytes], *, replayed: bool = False) -> NdjsonResponse:
    headers = {} if job_id is None else {"Location": accounts.public_url(f"/jobs/{job_id}")}
    if replayed:
        headers["Idempotency-Replayed"] = "true"
    return NdjsonResponse(lines, headers=headers)


async def _lines(running: Import, request: Request) -> AsyncGenerator[bytes]:
    """Give every result once it is committed, and the summary; or why it could not go on."""
    request_id = request_id_of(request.scope)
    try:
        async with aclosing(running.results()) as parts:
            async for results in parts:
                yield (await asyncio.to_thread(dump_results, results)).encode()
        last: dict[str, Any] = {"summary": running.summary.counts()}
    except DenizenError as error:
        log.warning("import_ended", code=error.code, detail=str(error))
        last = {"error": document_of(error, request_id)}
    except Exception as error:  # noqa: BLE001  (the status was sent long ago; the logs have it, the client is told)
        logs.report(log, "unexpected_error", error, method="POST", route="/users/import")
        last = {"error": unexpected(request_id)}
    yield _line(last)


async def _again(accounts: Accounts, job: Job) -> AsyncGenerator[bytes]:
    async with aclosing(read_results(accounts, job)) as parts:
        async for part in parts:
            yield part
    yield _line({"summary": json.loads(job.counts)})


def _line(content: Any) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode() + b"\n"
