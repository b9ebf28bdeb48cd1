"""Batches over HTTP."""

from dataclasses import asdict
from typing import Any, Final

from fastapi import Response
from pydantic_core import to_json

from denizen.batch import service
from denizen.batch.schemas import Batch, BatchDone, Flawed, Operation
from denizen.batch.service import Outcome
from denizen.core.auth import CredentialsInvalid, CredentialsMissing, ScopeMissing
from denizen.core.deps import CanWriteUsers, Here
from denizen.core.errors import Invalid, StorageFull, Unavailable, UnknownParameter
from denizen.core.hashers import HashingBusy
from denizen.core.problems import invalid, responses, status_of
from denizen.core.routing import Router
from denizen.idempotency.deps import REFUSALS, REPLAYED, Once
from denizen.idempotency.service import LONG_LEASE

router = Router(tags=["users"])

_MAX_BODY_SIZE: Final = 2 * 1024 * 1024
"""Bytes. A thousand accounts have 200 KB as a rule. Whatever is allowed here is parsed for anybody who sends it."""

_DONE: Final = {"create": 201, "patch": 200, "delete": 204}


@router.post(
    "/users/batch",
    response_model=BatchDone,
    operation_id="run_user_batch",
    summary="Create, change and delete many accounts",
    responses={
        200: {"headers": REPLAYED},
        **responses(
            CredentialsMissing,
            CredentialsInvalid,
            ScopeMissing,
            *REFUSALS,
            Invalid,
            UnknownParameter,
            HashingBusy,
            Unavailable,
            StorageFull,
        ),
    },
    max_body_size=_MAX_BODY_SIZE,
)
async def run_user_batch(accounts: Here, caller: CanWriteUsers, attempt: Once, data: Batch) -> Response:
    """Do what can be done of it, in order: an operation that is refused costs itself and no other, and the answer is
    200 all the same, with a result for each. All are committed together, or none is.
    """
    if (kept := await attempt.begin(caller, lease=LONG_LEASE)) is not None:
        return kept
    return await service.run_batch(
        accounts,
        [_known(each) for each in data.judged],
        caller=caller,
        finish=lambda db, done: attempt.keep(db, _answer(done)),
    )


def _known(operation: Operation | Flawed) -> Operation | Outcome:
    return Outcome(operation.op, error=invalid(operation.found)) if isinstance(operation, Flawed) else operation


def _answer(outcomes: list[Outcome]) -> Response:
    failed = sum(outcome.error is not None for outcome in outcomes)
    done = {
        "succeeded": len(outcomes) - failed,
        "failed": failed,
        "results": [_result(outcome) for outcome in outcomes],
    }
    return Response(to_json(done), media_type="application/json", headers={"Cache-Control": "no-store"})


def _result(outcome: Outcome) -> dict[str, Any]:
    """Write what became of an operation as `BatchResult` would, without what it does not have."""
    error = outcome.error
    if error is None:
        return _without_none(op=outcome.op, status=_DONE[outcome.op], id=outcome.id, version=outcome.version)
    told = _without_none(
        code=error.code,
        title=error.title,
        detail=error.detail,
        field=error.field,
        errors=[asdict(each) for each in error.errors] or None,
    )
    return _without_none(op=outcome.op, status=status_of(error), id=outcome.id, error=told)


def _without_none(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
