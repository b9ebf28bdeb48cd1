"""API keys over HTTP."""

from typing import Annotated
from uuid import UUID

from fastapi import Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from denizen.core.auth import CredentialsInvalid, CredentialsMissing, ScopeMissing
from denizen.core.deps import CanWriteKeys, CurrentCaller, Db, Now, ReadDb, Reads
from denizen.core.errors import Invalid, RepeatedParameter, StorageFull, Unavailable, UnknownParameter
from denizen.core.ids import parse_id
from denizen.core.problems import responses
from denizen.core.routing import Router
from denizen.keys import crud, service
from denizen.keys.errors import KeyBeyondMaker, KeyExpiryInvalid, KeyNotFound
from denizen.keys.models import Key
from denizen.keys.schemas import KeyCreate, KeyCreated, KeyRead, dump_key

router = Router(tags=["keys"])

_AUTH = (CredentialsMissing, CredentialsInvalid, ScopeMissing)
_ANY = (Invalid, UnknownParameter, Unavailable)
_WRITING = (*_ANY, StorageFull)


class KeyQuery(BaseModel):
    """Which keys."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=1000)] = 100
    after: Annotated[UUID | None, Field(description="The id of the last key seen.")] = None


@router.post(
    "/keys/",
    status_code=201,
    response_model=KeyCreated,
    operation_id="create_key",
    summary="Make an API key",
    responses=responses(*_AUTH, KeyBeyondMaker, KeyExpiryInvalid, *_WRITING),
)
async def create_key(caller: CanWriteKeys, db: Db, at: Now, data: KeyCreate, response: Response) -> KeyCreated:
    """Make a key with no more scopes than your own, that ends no later, and that is revoked when yours is."""
    key, token = await service.issue_key(
        db, name=data.name, scopes=data.scopes, maker=caller, expires_at=data.expires_at, at=at
    )
    response.headers["Cache-Control"] = "no-store"
    return KeyCreated(**KeyRead.model_validate(key).model_dump(), token=token)


@router.get(
    "/keys/",
    response_model=list[KeyRead],
    operation_id="list_keys",
    summary="List API keys",
    responses=responses(*_AUTH, *_ANY, RepeatedParameter),
)
async def list_keys(caller: CanWriteKeys, db: ReadDb, query: Annotated[KeyQuery, Query()]) -> list[Key]:
    """List all keys, ended ones too, in the order of their making."""
    return list(await crud.list_keys(db, limit=query.limit, after=query.after))


@router.get(
    "/keys/current",
    response_model=KeyRead,
    operation_id="get_current_key",
    summary="Read your own API key",
    responses=responses(CredentialsMissing, CredentialsInvalid, *_ANY),
)
async def get_current_key(caller: CurrentCaller, reads: Reads) -> Response:
    """Describe the key that this request was made with. Needs no scope."""
    return Response(dump_key(await crud.read_key(reads, caller.id)), media_type="application/json")


@router.delete(
    "/keys/{key_id}",
    status_code=204,
    operation_id="revoke_key",
    summary="Revoke an API key",
    responses=responses(*_AUTH, KeyNotFound, KeyBeyondMaker, *_WRITING),
)
async def revoke_key(
    caller: CanWriteKeys, key_id: Annotated[str, Path(description="A UUIDv7.")], db: Db, at: Now
) -> None:
    """End a key at once, and every key that was made with it."""
    found = parse_id(key_id)
    if found is None:
        raise KeyNotFound("API key not found")
    await service.revoke_key(db, found, by=caller, at=at)
