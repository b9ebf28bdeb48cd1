"""Accounts in bulk over HTTP."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Final

from fastapi import Query, Request
from starlette.responses import Response

from denizen.core.auth import Caller, CredentialsInvalid, CredentialsMissing, Scope, ScopeMissing
from denizen.core.deps import Here, Now, requires
from denizen.core.errors import Invalid, RepeatedParameter, Unavailable, UnknownParameter
from denizen.core.identifiers import EmailInvalid, UsernameInvalid
from denizen.core.problems import responses
from denizen.core.routing import Router, Stream
from denizen.transfer.crud import Part
from denizen.transfer.schemas import ExportQuery, Format
from denizen.transfer.service import export_users as take_out
from denizen.transfer.service import plan_export
from denizen.users.errors import ListingUnsupported

router = Router(tags=["users"])

CanExportUsers = Annotated[Caller, requires(Scope.USERS_EXPORT)]

_TYPES: Final[dict[Format, str]] = {
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
    parts = take_out(accounts.database, plan_export(query, form, with_hashes=query.with_hashes))
    name = f"users-{at:%Y-%m-%d}.{form}"
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Vary": "Accept", "Cache-Control": "no-store"}
    return await Stream.of(_bytes_of(parts), headers={**headers, "Content-Type": _TYPES[form]})
