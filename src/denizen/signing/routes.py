"""`GET /.well-known/jwks.json`."""

import hashlib

from fastapi import Request
from starlette.responses import Response

from denizen.core.deps import Now, Reads
from denizen.core.errors import Invalid, Unavailable, UnknownParameter
from denizen.core.problems import responses
from denizen.core.routing import Router
from denizen.signing import crud
from denizen.signing.schemas import PublicKeys
from denizen.signing.service import MAX_AGE

router = Router(tags=["tokens"])

_KEPT = f"public, max-age={int(MAX_AGE.total_seconds())}"
_HEADERS = {
    "Cache-Control": {"description": "For how long to keep the set.", "schema": {"type": "string"}, "example": _KEPT},
    "ETag": {"description": "Changes with the set; for `If-None-Match`.", "schema": {"type": "string"}},
}


@router.get(
    "/.well-known/jwks.json",
    response_model=PublicKeys,
    operation_id="list_public_keys",
    summary="List the keys that sign access tokens",
    responses={
        200: {"headers": _HEADERS},
        304: {"description": "The set is the one that `If-None-Match` names."},
        **responses(Invalid, UnknownParameter, Unavailable),
    },
)
async def list_public_keys(request: Request, reads: Reads, at: Now) -> Response:
    """Give the public keys by which services check access tokens. A key is in the set for ten minutes before it signs,
    and as long as anything it signed may be valid.
    """
    keys = await crud.list_public(reads, at=at)
    body = f'{{"keys":[{",".join(keys)}]}}'.encode()
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    # An empty set is not to be kept: the first key signs as soon as it is made.
    headers = {"cache-control": _KEPT if keys else "no-cache", "etag": tag}
    known = {each.strip().removeprefix("W/") for each in request.headers.get("if-none-match", "").split(",")}
    if tag in known or "*" in known:
        return Response(status_code=304, headers=headers)
    return Response(body, media_type="application/json", headers=headers)
