"""Accounts in bulk over HTTP."""

from dataclasses import replace
from typing import Annotated, Any, Final

from fastapi import Query, Request

from denizen.core.auth import CredentialsInvalid, CredentialsMissing, ScopeMissing
from denizen.core.deps import CanImportUsers
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
from denizen.core.problems import responses
from denizen.core.routing import Router
from denizen.idempotency.deps import REFUSALS, REPLAYED
from denizen.jobs.deps import LINES, NdjsonResponse
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
from denizen.transfer.schemas import ImportQuery

router = Router(tags=["users"])

_AUTH: Final = (CredentialsMissing, CredentialsInvalid, ScopeMissing)
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
        **responses(*_AUTH, Malformed, TooLarge, UnsupportedMedia, *_FILE, *REFUSALS, *_ANY),
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
