"""Accounts in bulk over HTTP."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Annotated, Any, Final

from fastapi import Query, Request
from starlette.responses import Response

from denizen.core.auth import (
    AUTH,
    Caller,
    CredentialsInvalid,
    CredentialsMissing,
    NotWhileImpersonating,
    Scope,
    ScopeMissing,
)
from denizen.core.deps import CanImportUsers, Here, Now, requires
from denizen.core.errors import (
    Invalid,
    Malformed,
    RepeatedParameter,
    StorageFull,
    TooLarge,
    Unavailable,
    UnknownParameter,
    UnsupportedMedia,
)
from denizen.core.identifiers import EmailInvalid, UsernameInvalid
from denizen.core.problems import responses
from denizen.core.profiles import ProfileInvalid
from denizen.core.routing import Router, Stream
from denizen.directory.errors import ListingUnsupported
from denizen.idempotency.deps import REFUSALS, REPLAYED
from denizen.jobs.deps import LINES, NdjsonResponse
from denizen.transfer.crud import Part
from denizen.transfer.deps import TYPES, IdempotencyKey, Uploaded, answer_import, plan_import
from denizen.transfer.errors import (
    ColumnMissing,
    ColumnRepeated,
    ColumnUnknown,
    EncodingUnsupported,
    FormatUnknown,
    HeaderMissing,
    MappingInvalid,
)
from denizen.transfer.schemas import ExportQuery, Format, ImportQuery
from denizen.transfer.service import export_users as take_out
from denizen.transfer.service import plan_export

router = Router(tags=["users"])

_ANY: Final = (Invalid, UnknownParameter, RepeatedParameter, Unavailable, StorageFull)
_FILE: Final = (
    HeaderMissing, ColumnUnknown, ColumnRepeated, ColumnMissing, EncodingUnsupported, FormatUnknown, MappingInvalid,
)  # fmt: skip
_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            kind: {"schema": {"type": "string", "description": "See Import and export.", "format": "binary"}}
            for kind in TYPES
        },
    }
}
_LOCATION: Final = {"Location": {"schema": {"type": "string"}, "description": "The job. A dry run is none."}}


@router.post(
    "/users/import",
    response_class=NdjsonResponse,
    operation_id="create_import",
    summary="Import accounts",
    openapi_extra=_BODY,
    responses={
        200: LINES | {"headers": _LOCATION | REPLAYED},
        **responses(*AUTH, NotWhileImpersonating, Malformed, TooLarge, UnsupportedMedia, *_FILE, *REFUSALS, *_ANY),
    },
)
async def create_import(
    request: Request,
    caller: CanImportUsers,
    query: Annotated[ImportQuery, Query()],
    upload: Uploaded,
    idempotency_key: IdempotencyKey = None,
) -> NdjsonResponse:
    """Import a file; each result is sent once it is committed, then `{"summary": ...}`, or `{"error": ...}`."""
    options, work = plan_import(request, caller, query)
    await upload.receive()
    work = replace(work, source_digest=upload.digest, bytes_total=upload.size)
    return await answer_import(request, upload, options, work)


# --- Out -----------------------------------------------------------------------------------------------

CanExportUsers = Annotated[Caller, requires(Scope.USERS_EXPORT)]

_MEDIA: Final[dict[Format, str]] = {
    "ndjson": "application/x-ndjson",
    "csv": "text/csv; charset=utf-8; header=present",
}


def accepted_form(accept: str) -> Format:
    """Choose the form that a client would rather have: NDJSON, unless `Accept` names CSV and ranks it higher.

    Source: RFC 9110 section 12.5.1. What names neither of the two is answered all the same, with the default.
    """
    ranks: dict[str, float] = {}
    for item in accept.lower().split(","):
        kind, *parameters = (part.strip() for part in item.split(";"))
        weight = next((part[2:] for part in parameters if part.startswith("q=")), "1")
        ranks[kind] = float(weight) if weight.replace(".", "", 1).isdecimal() and len(weight) < 6 else 0.0
    return "csv" if ranks.get("text/csv", 0) > ranks.get("application/x-ndjson", 0) else "ndjson"


async def _bytes_of(parts: AsyncGenerator[Part]) -> AsyncGenerator[bytes]:
    async with aclosing(parts):
        async for part in parts:
            yield part.data


@router.get(
    "/users/export",
    response_class=Response,
    operation_id="export_users",
    summary="Take out accounts",
    responses={
        200: {
            "description": "A file that an import brings back in. One that could not be read to its end is broken off.",
            "content": {
                "application/x-ndjson": {"schema": {"type": "string"}},
                "text/csv": {"schema": {"type": "string"}},
            },
            "headers": {"Content-Disposition": {"schema": {"type": "string"}, "description": "With a name for it."}},
        },
        **responses(
            CredentialsMissing,
            CredentialsInvalid,
            ScopeMissing,
            Invalid,
            UnknownParameter,
            RepeatedParameter,
            EmailInvalid,
            UsernameInvalid,
            ProfileInvalid,
            ListingUnsupported,
            Unavailable,
        ),
    },
)
async def export_users(
    request: Request, accounts: Here, caller: CanExportUsers, at: Now, query: Annotated[ExportQuery, Query()]
) -> Response:
    """Download all accounts, or those under a filter as of a list: any number of them, as NDJSON or CSV."""
    if query.with_hashes:
        caller.must(Scope.USERS_HASHES)
    form = query.format or accepted_form(request.headers.get("accept", ""))
    extract = plan_export(query, form, with_hashes=query.with_hashes, profile=accounts.profile)
    parts = take_out(accounts.database, extract)
    name = f"users-{at:%Y-%m-%d}.{form}"
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Vary": "Accept", "Cache-Control": "no-store"}
    return await Stream.of(_bytes_of(parts), headers={**headers, "Content-Type": _MEDIA[form]})
