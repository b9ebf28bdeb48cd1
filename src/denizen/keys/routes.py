"""API keys over HTTP."""

from typing import Annotated
from uuid import UUID

from fastapi import Path, Query, Request, Response
from pydantic import BeforeValidator

from denizen.core.auth import (
    AUTH,
    BeyondCaller,
    CredentialsInvalid,
    CredentialsMissing,
    NotWhileImpersonating,
    ReauthenticationNeeded,
)
from denizen.core.deps import CurrentCaller, Db, Here, Now, Reads
from denizen.core.errors import RepeatedParameter
from denizen.core.ids import parse_id
from denizen.core.paging import NEXT_PAGE, CursorInvalid, next_page
from denizen.core.problems import ANY, WRITING, responses
from denizen.core.routing import Router
from denizen.idempotency.deps import REFUSALS, REPLAYED, Once
from denizen.keys import crud, service
from denizen.keys.deps import MayMakeKeys, MayRevokeKeys
from denizen.keys.errors import KeyBeyondMaker, KeyExpiryInvalid, KeyNotFound, KeysTooMany
from denizen.keys.schemas import KeyCreate, KeyCreated, KeyQuery, KeyRead, add_token, dump_key, dump_keys

router = Router(tags=["keys"])

_PERSON = (NotWhileImpersonating, ReauthenticationNeeded)


def _parse_key_id(text: object) -> UUID:
    """Read the id of the path. Whatever is no id of ours names no key: a 404, not a 422."""
    found = parse_id(text) if isinstance(text, str) else None
    if found is None:
        raise KeyNotFound("API key not found")
    return found


KeyId = Annotated[UUID, BeforeValidator(_parse_key_id), Path(description="A UUIDv7.")]


@router.post(
    "/keys/",
    status_code=201,
    response_model=KeyCreated,
    operation_id="create_key",
    summary="Make an API key",
    responses={
        201: {"headers": REPLAYED},
        **responses(*AUTH, *_PERSON, KeyBeyondMaker, KeyExpiryInvalid, KeysTooMany, *REFUSALS, *WRITING),
    },
)
async def create_key(caller: MayMakeKeys, attempt: Once, db: Db, at: Now, data: KeyCreate) -> Response:
    """Make a key that may do no more than you. A person's is his own, and goes with his account; one made with a key,
    which takes `keys:write`, ends no later than that one, and is revoked with it.
    """
    answer = await attempt.begin(caller)
    token = attempt.token("dzk_")
    if answer is None:
        key, _ = await service.issue_key(
            db, name=data.name, scopes=data.scopes, maker=caller, expires_at=data.expires_at, at=at, token=token
        )
        kept = Response(dump_key(crud.row_of(key)), 201, {"Cache-Control": "no-store"}, "application/json")
        answer = await attempt.keep(db, kept)
    return _with_token(answer, token)


def _with_token(answer: Response, token: str) -> Response:
    """Give the answer with the key itself in it, which is never kept."""
    headers = {name: value for name, value in answer.headers.items() if name != "content-length"}
    return Response(add_token(bytes(answer.body), token), answer.status_code, headers)


@router.get(
    "/keys/",
    response_model=list[KeyRead],
    operation_id="list_keys",
    summary="List API keys",
    responses={200: {"headers": NEXT_PAGE}, **responses(*AUTH, *ANY, RepeatedParameter, CursorInvalid)},
)
async def list_keys(
    request: Request, accounts: Here, caller: CurrentCaller, reads: Reads, query: Annotated[KeyQuery, Query()]
) -> Response:
    """Page through your own keys, or with `keys:write` through all, ended ones too, in the order of their making."""
    page = await service.list_keys(reads, accounts.cursors, query, user_id=service.whose_keys(caller))
    headers = next_page(accounts.public_url("/keys/"), request.query_params.multi_items(), page.next_cursor)
    return Response(dump_keys(page.rows), media_type="application/json", headers=headers)


@router.get(
    "/keys/current",
    response_model=KeyRead,
    operation_id="get_current_key",
    summary="Read your own API key",
    responses=responses(CredentialsMissing, CredentialsInvalid, KeyNotFound, *ANY),
)
async def get_current_key(caller: CurrentCaller, reads: Reads) -> Response:
    """Describe the key that this request was made with. Needs no scope."""
    return Response(dump_key(await crud.read_key(reads, caller.id)), media_type="application/json")


@router.get(
    "/keys/{key_id}",
    response_model=KeyRead,
    operation_id="get_key",
    summary="Read an API key",
    responses=responses(CredentialsMissing, CredentialsInvalid, KeyNotFound, *ANY),
)
async def get_key(caller: CurrentCaller, key_id: KeyId, reads: Reads) -> Response:
    """Describe one of your own keys, or with `keys:write` any."""
    return Response(dump_key(await service.read_key(reads, key_id, caller=caller)), media_type="application/json")


@router.delete(
    "/keys/{key_id}",
    status_code=204,
    operation_id="revoke_key",
    summary="Revoke an API key",
    responses=responses(
        CredentialsMissing,
        CredentialsInvalid,
        NotWhileImpersonating,
        KeyNotFound,
        KeyBeyondMaker,
        BeyondCaller,
        *WRITING,
    ),
)
async def revoke_key(caller: MayRevokeKeys, key_id: KeyId, db: Db, at: Now) -> None:
    """End a key at once, and every key that was made with it: one of your own, or with `keys:write` others' as well."""
    await service.revoke_key(db, key_id, by=caller, at=at)
