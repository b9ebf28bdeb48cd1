"""What a route asks for that may be sent again.

```python
async def create_thing(caller: CanWriteThings, attempt: Once, db: Db, data: ThingCreate) -> Response:
    if (kept := await attempt.begin(caller)) is not None:
        return kept
    ...
    return await attempt.keep(db, answer)
```

`attempt` stands before `db`, so that it ends after it: a key is let go once the work is undone. Without the header
neither costs a statement.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import Depends, Header, Request, Response
from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.accounts import Accounts
from denizen.core.auth import Caller
from denizen.core.deps import accounts_of
from denizen.core.errors import Unavailable
from denizen.core.tokens import Prefix, new_token
from denizen.idempotency import service
from denizen.idempotency.errors import IdempotencyKeyInFlight, IdempotencyKeyInvalid, IdempotencyKeyReused
from denizen.idempotency.service import Answer, Sent

REPLAYED: Final[dict[str, dict[str, Any]]] = {
    "Idempotency-Replayed": {
        "schema": {"type": "string", "enum": ["true"]},
        "description": "Nothing was done: this is the first answer again.",
    }
}
"""What OpenAPI says of an answer that is given again."""

REFUSALS: Final = (IdempotencyKeyInvalid, IdempotencyKeyReused, IdempotencyKeyInFlight)
"""What the header may be refused with."""


_PATIENCE_SECONDS: Final = 0.2

_LETTING_GO: Final[set[asyncio.Future[None]]] = set()
"""What nobody waits for any longer: asyncio itself keeps no reference to it."""


class Attempt:
    """One request, which may have been made before.

    Args:
        request: it.
        accounts: where.
        key: its Idempotency-Key; `None` without one, and then nothing here does anything.
    """

    def __init__(self, request: Request, accounts: Accounts, key: str | None) -> None:
        self._request = request
        self._accounts = accounts
        self._key = key
        self._sent: Sent | None = None
        self._claim: UUID = service.new_claim()
        self._claims = False

    async def begin(self, caller: Caller | None, *, lease: timedelta = service.LEASE) -> Response | None:
        """Claim the key, or give the first answer again. Call it once all has been checked that costs no statement.

        Args:
            caller: who asks, as the route knows him; `None` for somebody who signs up.
            lease: after which another attempt may take over.

        Raises:
            IdempotencyKeyInFlight, IdempotencyKeyReused: somebody else is at it, or the key was for another body.
        """
        if self._key is None:
            return None
        address = self._request.client.host if self._request.client else None
        body = await self._request.body()
        route = f"{self._request.method} {self._request.scope['route'].path.rstrip('/')}"
        self._sent = service.sent_by(self._accounts, caller, address, route=route, key=self._key, body=body)
        self._claims = True
        try:
            self._claim, answer = await service.begin(self._accounts, self._sent, self._claim, lease=lease)
        except (IdempotencyKeyInFlight, IdempotencyKeyReused):
            self._claims = False
            raise
        if answer is None:
            return None
        self._claims = False
        return Response(answer.body, answer.status, {**answer.headers, "idempotency-replayed": "true"})

    async def keep(self, db: AsyncSession, answer: Response, *, user_id: UUID | None = None) -> Response:
        """Keep the answer in the transaction of the work, and give it back.

        Args:
            db: the session of the work.
            answer: without secrets.
            user_id: the account that it tells of, where it is one.

        Raises:
            IdempotencyKeyInFlight: this took so long that another attempt has taken over.
        """
        if self._sent is not None:
            headers = {name: value for name, value in answer.headers.items() if name != "content-length"}
            kept = Answer(answer.status_code, headers, bytes(answer.body))
            await service.keep(self._accounts, db, self._sent, self._claim, kept, user_id=user_id)
        return answer

    def token(self, prefix: Prefix) -> str:
        """Make a new token, or under an Idempotency-Key the one that a repetition makes again. Once it has begun."""
        if self._sent is None:
            return new_token(prefix)
        return service.derive_token(self._accounts, self._sent, self._claim, prefix)

    async def let_go(self) -> None:
        """Free the key, where it is held."""
        if self._sent is not None and self._claims:
            await service.let_go(self._accounts, self._sent, self._claim)


async def attempt_of(
    request: Request,
    idempotency_key: Annotated[
        str | None,
        Header(
            description="Send the same again with the same key, and it is done once: for 24 hours the first answer is "
            "given again. 1 to 255 printable characters of ASCII, a UUID say; known for each caller and route.",
            json_schema_extra={"minLength": 1, "maxLength": 255},
        ),
    ] = None,
) -> AsyncIterator[Attempt]:
    """Read `Idempotency-Key`; when the request fails, the commit included, let go of it.

    Raises:
        IdempotencyKeyInvalid: it is none.
    """
    attempt = Attempt(request, accounts_of(request), service.read_key(request.headers.getlist("idempotency-key")))
    try:
        yield attempt
    except Unavailable:
        # A database that is away is not waited for twice: whoever asked is to be told in time.
        letting_go = asyncio.ensure_future(attempt.let_go())
        _LETTING_GO.add(letting_go)
        letting_go.add_done_callback(_LETTING_GO.discard)
        await asyncio.wait([letting_go], timeout=_PATIENCE_SECONDS)
        raise
    except BaseException:
        await attempt.let_go()
        raise


Once = Annotated[Attempt, Depends(attempt_of, scope="function")]
