"""Lists of accounts over HTTP."""

from typing import Annotated

from fastapi import Query, Request, Response

from denizen.core.auth import AUTH
from denizen.core.deps import CanReadUsers, Here, Reads
from denizen.core.errors import RepeatedParameter
from denizen.core.identifiers import EmailInvalid, UsernameInvalid
from denizen.core.paging import NEXT_PAGE, CursorInvalid, next_page
from denizen.core.problems import ANY, responses
from denizen.core.profiles import ProfileInvalid
from denizen.core.routing import Router
from denizen.directory import service
from denizen.directory.errors import ListingUnsupported
from denizen.directory.schemas import UserQuery
from denizen.search.errors import SearchInvalid
from denizen.users.schemas import UserRead, dump_users

router = Router(tags=["users"])

_NAMES = (EmailInvalid, UsernameInvalid)


@router.get(
    "/users/",
    response_model=list[UserRead],
    operation_id="list_users",
    summary="List accounts",
    responses={
        200: {
            "headers": {
                **NEXT_PAGE,
                "X-Total-Count": {"schema": {"type": "integer"}, "description": "Where `count` asked for it."},
                "X-Results-Cut": {
                    "schema": {"type": "boolean"},
                    "description": "`true` where `q` found more than these.",
                },
            }
        },
        **responses(
            *AUTH, *ANY, RepeatedParameter, *_NAMES, ProfileInvalid, ListingUnsupported, SearchInvalid, CursorInvalid
        ),
    },
)
async def list_users(
    request: Request, accounts: Here, caller: CanReadUsers, reads: Reads, query: Annotated[UserQuery, Query()]
) -> Response:
    """Page through the accounts, by `cursor` at any depth at the same speed, or by `skip`; or search them by `q`."""
    page = await service.list_users(reads, accounts.cursors, query, accounts.profile)
    headers = next_page(accounts.public_url("/users/"), request.query_params.multi_items(), page.next_cursor)
    if page.total is not None:
        headers["X-Total-Count"] = str(page.total)
    if page.cut:
        headers["X-Results-Cut"] = "true"
    return Response(dump_users(page.rows), media_type="application/json", headers=headers)
