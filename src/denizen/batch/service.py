"""A batch: one transaction, a savepoint for each operation, the truth told about every one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, TypeVar
from uuid import UUID

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from denizen.batch import crud
from denizen.batch.schemas import CreateOperation, DeleteOperation, Operation
from denizen.core.accounts import Accounts
from denizen.core.auth import BeyondCaller, Caller
from denizen.core.errors import Conflict, DenizenError, Forbidden, StorageFull, Unavailable
from denizen.core.events import guard
from denizen.core.identifiers import Identity
from denizen.core.ids import parse_id
from denizen.core.profiles import new_profile
from denizen.core.words import search_text
from denizen.search import crud as search
from denizen.search.models import FOUND_BY
from denizen.users import service as users
from denizen.users import states
from denizen.users.crud import SAVEPOINT
from denizen.users.errors import UserNotFound
from denizen.users.schemas import READ_FIELDS

T = TypeVar("T")
_Savepoint = Callable[[AsyncSession], AbstractAsyncContextManager[Any]]

_SECONDS: Final = 30.0
"""What the transaction may take, in place of `DENIZEN_DATABASE_TIMEOUT`: a thousand operations take about one."""

_TRIES: Final = 3
_PAUSE_SECONDS: Final = 0.5
_SLICE: Final = 50
"""How many operations are judged before the event loop gets a turn."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one operation.

    Attributes:
        id: of the account, where there is one.
        version: of the account after it.
        error: why it was refused.
    """

    op: str
    id: UUID | None = None
    version: int | None = None
    error: DenizenError | None = None


@dataclass(slots=True)
class _Act:
    """An operation that was judged.

    Attributes:
        id: of the account that it is about; `None` for a new one.
        identity: of a new one.
        hashed_password: of a new one that has one.
        profile: the own fields of a new one.
    """

    operation: Operation
    id: UUID | None = None
    identity: Identity | None = None
    hashed_password: str | None = None
    profile: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class _Words:
    """What the accounts of a batch are to be found by: written at its end for all at once."""

    created: list[search.Found] = field(default_factory=list)
    changed: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Run:
    """What all operations of a batch have in common.

    Attributes:
        caller: who is to be asked about at each; `None` where that was done for all of them.
    """

    at: datetime
    caller: Caller | None
    words: _Words = field(default_factory=_Words)
    savepoint: _Savepoint = AsyncSession.begin_nested


async def run_batch(
    accounts: Accounts,
    operations: Sequence[Operation | Outcome],
    *,
    caller: Caller | None,
    finish: Callable[[AsyncSession, list[Outcome]], Awaitable[T]],
) -> T:
    """Do what can be done of a batch, in order, in one transaction: what is refused costs itself and no other.

    Passwords are hashed before the first statement. Whoever loses a deadlock against others tries again.

    Args:
        accounts: where.
        operations: what to do; an `Outcome` in place of one that was refused already.
        caller: who asks; accounts that may do what he may not are not his to change.
        finish: told all outcomes before the commit; what it gives is given back.

    Raises:
        HashingBusy: too many passwords wait, for longer than this waits for them.
        Unavailable, StorageFull: nothing of it was done, unless the commit itself was cut off.
    """
    acts = await _hash_passwords(accounts, await _judge_all(accounts, operations))
    done: list[Outcome] = []

    async def keep_and_finish(db: AsyncSession, outcomes: list[Outcome]) -> T:
        done[:] = outcomes
        return await finish(db, outcomes)

    async with _one_at_a_time(accounts):
        given = await _write(accounts, acts, caller, keep_and_finish)
    await accounts.refused_within(_forbidden(done))
    return given


def _forbidden(outcomes: Sequence[Outcome]) -> Iterator[Forbidden]:
    """Give what the caller might not do, each with whom it is about."""
    for outcome in outcomes:
        if isinstance(outcome.error, Forbidden):
            outcome.error.user_id = outcome.id
            yield outcome.error


@asynccontextmanager
async def _one_at_a_time(accounts: Accounts) -> AsyncIterator[None]:
    """Let no two batches of this process queue for the database: whoever writes one account comes in between."""
    lock = accounts.batching
    try:
        async with asyncio.timeout(_SECONDS):
            await lock.acquire()
    except TimeoutError:
        raise Unavailable("Other batches are being written. Try again in a moment.", retry_after=5) from None
    try:
        yield
    finally:
        lock.release()


async def _write(
    accounts: Accounts,
    acts: Sequence[_Act | Outcome],
    caller: Caller | None,
    finish: Callable[[AsyncSession, list[Outcome]], Awaitable[T]],
) -> T:
    tries_left, committing = _TRIES, False
    while True:
        tries_left -= 1
        try:
            async with accounts.writing(timeout=_SECONDS) as db:
                given = await finish(db, await _do_all(accounts, db, acts, caller))
                committing = True
        except Unavailable as error:
            # Whether a commit that was cut off was made, nobody knows.
            if committing or not tries_left or isinstance(error, StorageFull):
                raise
            await asyncio.sleep(_PAUSE_SECONDS)
        else:
            return given


# --- Before the first statement -----------------------------------------------------------------------


async def _judge_all(accounts: Accounts, operations: Sequence[Operation | Outcome]) -> list[_Act | Outcome]:
    acts = list[_Act | Outcome]()
    for operation in operations:
        acts.append(operation if isinstance(operation, Outcome) else _judge(accounts, operation))
        if len(acts) % _SLICE == 0:
            await asyncio.sleep(0)
    return acts


def _judge(accounts: Accounts, operation: Operation) -> _Act | Outcome:
    """Judge what takes no statement to judge."""
    if isinstance(operation, CreateOperation):
        user = operation.user
        try:
            identity = users.judge_account(accounts, user.username, user.email, user.full_name, password=user.password)
            own = new_profile(accounts.profile, user.profile, by_owner=False)
        except DenizenError as error:
            return Outcome(operation.op, error=error)
        return _Act(operation, identity=identity, profile=own)
    user_id = parse_id(operation.id)
    if user_id is None:
        return Outcome(operation.op, error=UserNotFound("User not found"))
    return _Act(operation, user_id)


async def _hash_passwords(accounts: Accounts, acts: list[_Act | Outcome]) -> list[_Act | Outcome]:
    """Hash all passwords, several at once, and leave a place in the queue to others."""
    places = asyncio.Semaphore(accounts.settings.hash_threads)

    async def hash_one(act: _Act, password: str) -> None:
        async with places:
            act.hashed_password = await accounts.hashing.hash_patiently(password)

    try:
        async with asyncio.TaskGroup() as group:
            for act in acts:
                if isinstance(act, _Act) and isinstance(act.operation, CreateOperation):
                    password = act.operation.user.password
                    if password is not None:
                        group.create_task(hash_one(act, password))
    except ExceptionGroup as several:
        raise several.exceptions[0] from None
    return acts


# --- In the transaction --------------------------------------------------------------------------------


async def _do_all(
    accounts: Accounts, db: AsyncSession, acts: Sequence[_Act | Outcome], caller: Caller | None
) -> list[Outcome]:
    await crud.take_turn(db)
    run = _Run(accounts.clock(), await _ask_about_all(db, acts, caller))
    if not (accounts.hooked or accounts.afterthoughts):
        run.savepoint, db.info[SAVEPOINT] = crud.savepoint, crud.within_savepoint
    outcomes = [act if isinstance(act, Outcome) else await _try(accounts, db, act, run) for act in acts]
    await search.create_entries(db, run.words.created)
    await search.update_entries(db, list(run.words.changed.items()))
    return outcomes


async def _ask_about_all(db: AsyncSession, acts: Sequence[_Act | Outcome], caller: Caller | None) -> Caller | None:
    """Ask by one statement whether all accounts are the caller's to change, as they are as a rule; give who has to be
    asked about at each operation, `None` for nobody.
    """
    try:
        await guard(db, caller, [act.id for act in acts if isinstance(act, _Act) and act.id is not None])
    except BeyondCaller:
        return caller
    return None if caller is None or caller.user_id is None else caller  # a person has an account of his own


async def _try(accounts: Accounts, db: AsyncSession, act: _Act, run: _Run) -> Outcome:
    """Do one operation in a savepoint of its own."""
    op, words = act.operation.op, run.words
    try:
        async with run.savepoint(db):
            user_id, version, found_by = await _do(accounts, db, act, run)
    except Unavailable:
        raise
    except DenizenError as error:
        return Outcome(op, act.id, error=error)
    except IntegrityError:
        return Outcome(op, act.id, error=Conflict("Something else that is stored stands in the way."))
    if found_by is not None and op == "create":
        words.created.append((str(user_id), found_by))
    elif found_by is not None:
        words.changed[str(user_id)] = found_by
    return Outcome(op, user_id, version)


async def _do(accounts: Accounts, db: AsyncSession, act: _Act, run: _Run) -> tuple[UUID, int | None, str | None]:
    """Do one operation; give the account's id, its version, and the words it is found by from now on, where they are
    others.
    """
    operation = act.operation
    if isinstance(operation, CreateOperation):
        return await _create(db, operation, act, run.at)
    assert act.id is not None  # noqa: S101  (whatever is about an account has its id)
    versions = None if operation.if_version is None else frozenset({operation.if_version})
    if isinstance(operation, DeleteOperation):
        await states.delete_user(accounts, db, act.id, versions=versions, at=run.at, caller=run.caller)
        return act.id, None, None
    row = await users.change_user(
        db, act.id, operation.changes, versions=versions, at=run.at, many=True, caller=run.caller
    )
    shown = dict(zip(READ_FIELDS, row, strict=True))
    renamed = not operation.changes.model_fields_set.isdisjoint(FOUND_BY)
    return act.id, shown["version"], search_text(*(shown[name] for name in FOUND_BY)) if renamed else None


async def _create(
    db: AsyncSession, operation: CreateOperation, act: _Act, at: datetime
) -> tuple[UUID, int | None, str | None]:
    assert act.identity is not None  # noqa: S101  (whatever makes an account has one)
    user = await users.store_account(
        db,
        act.identity,
        full_name=operation.user.full_name,
        external_id=operation.user.external_id,
        is_active=operation.user.is_active,
        hashed_password=act.hashed_password,
        profile=act.profile,
        at=at,
        many=True,
    )
    return user.id, user.version, search_text(*(getattr(user, name) for name in FOUND_BY))
