"""Calls about accounts: one, many, one's own; imports, exports, and the jobs that imports are."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, TypedDict, Unpack

from pydantic import BaseModel, Field

from denizen.account.schemas import Accepted, EmailAsked, OwnData, OwnEmailAsked, PasswordReset, Proof, Undoing
from denizen.batch.schemas import BatchDone, CreateOperation, DeleteOperation, PatchOperation
from denizen.client.calls import (
    Answer,
    Call,
    Id,
    Page,
    dump,
    get,
    make,
    nothing,
    parse,
    part,
    query,
    reads,
    reads_page,
    send,
)
from denizen.client.errors import AnswerInvalid, Unreachable, raised
from denizen.client.methods import Stream
from denizen.core.ids import new_id
from denizen.directory.schemas import Order
from denizen.jobs.schemas import JobRead, ResultRead
from denizen.signup.schemas import Registration, SignUpConfirm
from denizen.users.schemas import OwnUpdate, SignUpAsked, UserCreate, UserRead, UserUpdate

Format = Literal["csv", "ndjson"]


class UserFilters(TypedDict, total=False):
    """Which accounts, as `docs/api.md` says: what is left out, or `None`, filters nothing."""

    email: str | None
    username: str | None
    external_id: str | None
    is_active: bool | None
    id__in: Sequence[Id] | None
    created_at__gte: datetime | None
    created_at__gt: datetime | None
    created_at__lte: datetime | None
    created_at__lt: datetime | None
    updated_at__gte: datetime | None
    updated_at__gt: datetime | None
    updated_at__lte: datetime | None
    updated_at__lt: datetime | None


_page = reads_page(UserRead)
_user = reads(UserRead)
_accepted = reads(Accepted)


def _made(answer: Answer) -> UserRead:
    if answer.status == 202:
        raise AnswerInvalid(
            "A letter was sent, since strangers prove their address first here: `register` tells of it."
        )
    return _user(answer)


def _made_or_asked(answer: Answer) -> UserRead | SignUpAsked:
    return parse(SignUpAsked, answer.content) if answer.status == 202 else _user(answer)


# ---------------------------------------------------------------------------------------------------------------- many


def list_users(
    *, limit: int = 100, order_by: Order | None = None, **filters: Unpack[UserFilters]
) -> Call[Page[UserRead]]:
    """Give all accounts, or those under a filter. `limit` is how many are asked for at a time."""
    return get("/users/", _page, limit=limit, order_by=order_by, **filters)


def list_users_page(
    *,
    limit: int = 10,
    skip: int | None = None,
    cursor: str | None = None,
    order_by: Order | None = None,
    count: Literal["estimated", "exact"] | None = None,
    **filters: Unpack[UserFilters],
) -> Call[Page[UserRead]]:
    """Give one page of accounts, with what leads on and, where asked for, how many there are in all."""
    params: dict[str, Any] = {"limit": limit, "skip": skip, "cursor": cursor, "order_by": order_by, "count": count}
    return get("/users/", _page, **params, **filters)


def search_users(q: str, *, limit: int = 10) -> Call[Page[UserRead]]:
    """Search accounts by parts of names; the best come first, and `Page.cut` says that there are more."""
    return get("/users/", _page, q=q, limit=limit)


BatchOperation = CreateOperation | PatchOperation | DeleteOperation


def run_user_batch(operations: Sequence[BatchOperation], *, idempotency_key: str | None = None) -> Call[BatchDone]:
    """Create, change and delete up to 1,000 accounts in one transaction; gives a result for each."""
    return make("/users/batch", reads(BatchDone), {"operations": list(operations)}, key=idempotency_key)


# ----------------------------------------------------------------------------------------------------------------- one


def create_user(data: UserCreate, *, idempotency_key: str | None = None) -> Call[UserRead]:
    """Create an account for somebody."""
    return make("/users/", _made, data, key=idempotency_key)


def get_user(user_id: Id) -> Call[UserRead]:
    """Read an account."""
    return get(f"/users/{part(user_id)}", _user)


def update_user(user_id: Id, data: UserUpdate, *, if_version: int | None = None) -> Call[UserRead]:
    """Set what `data` names; with `if_version`, only if nobody changed the account meanwhile."""
    return send("PATCH", f"/users/{part(user_id)}", _user, data, if_version=if_version)


def delete_user(user_id: Id, *, erase: bool | None = None, if_version: int | None = None) -> Call[None]:
    """Hide an account and erase it later; with `erase`, at once and for good."""
    return send("DELETE", f"/users/{part(user_id)}", nothing, if_version=if_version, erase=erase)


def suspend_user(user_id: Id, *, reason: str | None = None, until: datetime | None = None) -> Call[UserRead]:
    """Let nobody sign in to an account, and end its sign-ins."""
    said = {name: value for name, value in {"reason": reason, "until": until}.items() if value is not None}
    return send("POST", f"/users/{part(user_id)}/suspend", _user, said, again=True)


def unsuspend_user(user_id: Id) -> Call[UserRead]:
    """Let its owner sign in again."""
    return send("POST", f"/users/{part(user_id)}/unsuspend", _user, again=True)


def restore_user(user_id: Id) -> Call[UserRead]:
    """Let an account that waits for its erasure be there again."""
    return send("POST", f"/users/{part(user_id)}/restore", _user, again=True)


def send_password_link(user_id: Id) -> Call[Accepted]:
    """Send its owner a link by which he sets a password."""
    return send("POST", f"/users/{part(user_id)}/password-link", _accepted)


# -------------------------------------------------------------------------------------------------------------- oneself


def get_me() -> Call[UserRead]:
    """Read one's own account."""
    return get("/users/me", _user)


def update_me(data: OwnUpdate, *, if_version: int | None = None) -> Call[UserRead]:
    """Set what `data` names of one's own account."""
    return send("PATCH", "/users/me", _user, data, if_version=if_version)


def delete_me(*, if_version: int | None = None) -> Call[None]:
    """Leave: one's own account is hidden at once, and erased later."""
    return send("DELETE", "/users/me", nothing, if_version=if_version)


def download_own_data() -> Call[OwnData]:
    """Get all that is stored about oneself."""
    return get("/users/me/data", reads(OwnData))


def register(data: Registration, *, idempotency_key: str | None = None) -> Call[UserRead | SignUpAsked]:
    """Sign up. Where addresses are proved first, gives what whoever asks is told."""
    return make("/auth/register", _made_or_asked, data, key=idempotency_key)


def confirm_sign_up(data: SignUpConfirm) -> Call[UserRead]:
    """Prove the address that somebody signed up with."""
    return send("POST", "/auth/register/confirm", _user, data)


def request_verify_token(email: str | None = None) -> Call[Accepted]:
    """Ask for a link that proves an address; whoever has signed in may leave it out."""
    asked = OwnEmailAsked() if email is None else OwnEmailAsked(email=email)
    return send("POST", "/auth/request-verify-token", _accepted, asked)


def verify_email(data: Proof) -> Call[UserRead]:
    """Prove an address by the token of a letter."""
    return send("POST", "/auth/verify", _user, data)


def forgot_password(email: str) -> Call[Accepted]:
    """Ask for a link by which the owner of an address sets a new password."""
    return send("POST", "/auth/forgot-password", _accepted, EmailAsked(email=email))


def reset_password(data: PasswordReset) -> Call[UserRead]:
    """Set a new password by the token of a letter."""
    return send("POST", "/auth/reset-password", _user, data)


def change_password(new_password: str, *, current_password: str | None = None) -> Call[None]:
    """Set another password for oneself; all other sign-ins end."""
    said = {"new_password": new_password}
    if current_password is not None:
        said["current_password"] = current_password
    return send("POST", "/auth/change-password", nothing, said)


def change_email(email: str) -> Call[Accepted]:
    """Ask for a link to one's new address, by which it becomes that of the account."""
    return send("POST", "/auth/change-email", _accepted, EmailAsked(email=email))


def confirm_email(data: Proof) -> Call[UserRead]:
    """Make a new address that of the account, by the token of the letter to it."""
    return send("POST", "/auth/confirm-email", _user, data)


def undo_email(token: str) -> Call[UserRead]:
    """Take a change of one's address back, by the token of the letter to the old one."""
    return send("POST", "/auth/undo-email", _user, Undoing(token=token))


# ------------------------------------------------------------------------------------------------------- in and out


class ExportedUser(UserRead):
    """An account of an export."""

    hashed_password: Annotated[str | None, Field(repr=False)] = None


class ImportSummary(BaseModel):
    """What became of all rows of an import."""

    rows: int
    created: int
    updated: int
    unchanged: int
    skipped: int
    valid: int
    refused: int
    codes: dict[str, int]


def export_users(*, with_hashes: bool | None = None, **filters: Unpack[UserFilters]) -> Stream[ExportedUser]:
    """Give all accounts, or those under a filter, however many there are, in one answer."""
    params: dict[str, Any] = {"format": "ndjson", "with_hashes": with_hashes, **filters}
    return Stream(get("/users/export", _itself, **params), _Exported)


def export_file(
    format: Format = "csv",  # noqa: A002  (the API's name for it)
    *,
    with_hashes: bool | None = None,
    **filters: Unpack[UserFilters],
) -> Stream[bytes]:
    """Give the same as the bytes of a file."""
    params: dict[str, Any] = {"format": format, "with_hashes": with_hashes, **filters}
    return Stream(get("/users/export", _itself, **params), _Bytes)


def import_users(
    content: bytes | Iterable[bytes] | Any,
    *,
    format: Format,  # noqa: A002  (the API's name for it)
    mode: Literal["create", "skip", "upsert"] | None = None,
    match: Literal["email", "username", "external_id"] | None = None,
    rename: Mapping[str, str] | None = None,
    ignore_unknown: bool | None = None,
    dry_run: bool = False,
    idempotency_key: str | None = None,
) -> Stream[ResultRead | ImportSummary]:
    """Bring in the rows of a file. Gives a result for each as it is stored, and at last an `ImportSummary`.

    Args:
        content: of the file; an iterable of bytes for a large one, for `AsyncClient` an asynchronous one.
        format: of the file.
        mode: what happens to a row that an account is there for.
        match: by what that account is found.
        rename: columns of the file by what they are called here.
        ignore_unknown: leave out columns that accounts do not have.
        dry_run: write nothing, and tell what would be.
        idempotency_key: with the key of an import that was cut off, the same file goes on where that ended.
    """
    named = None if rename is None else [f"{old}={new}" for old, new in rename.items()]
    params = {"mode": mode, "match": match, "map": named, "ignore_unknown": ignore_unknown, "dry_run": dry_run or None}
    headers = {"content-type": "text/csv" if format == "csv" else "application/x-ndjson"}
    if not dry_run:
        headers["idempotency-key"] = idempotency_key or str(new_id())
    again = isinstance(content, bytes)
    return Stream(Call("POST", "/users/import", _itself, query(params), headers, content, again), _Imported)


def _itself(answer: Answer) -> Answer:
    return answer


class _Bytes:
    """Gives the pieces as they come."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        yield data

    def finish(self) -> Iterator[bytes]:
        return iter(())


class _Lines:
    """Cuts pieces into lines."""

    def __init__(self) -> None:
        self._rest: list[bytes] = []

    def lines(self, data: bytes) -> list[bytes]:
        if b"\n" not in data:
            self._rest.append(data)
            return []
        *found, rest = b"".join([*self._rest, data]).split(b"\n")
        self._rest = [rest]
        return found

    def must_be_empty(self) -> None:
        if any(self._rest):
            raise Unreachable("The answer was cut off in the middle of a line.", sent=True)


class _Exported(_Lines):
    """Reads accounts."""

    def feed(self, data: bytes) -> Iterator[ExportedUser]:
        for line in self.lines(data):
            yield parse(ExportedUser, line)

    def finish(self) -> Iterator[ExportedUser]:
        self.must_be_empty()
        return iter(())


class _Imported(_Lines):
    """Reads results; a stream that does not end in the summary was cut off."""

    ended = False

    def feed(self, data: bytes) -> Iterator[ResultRead | ImportSummary]:
        for line in self.lines(data):
            if line.startswith(b'{"summary"'):
                self.ended = True
                yield parse(ImportSummary, dump(_member(line, "summary")))
            elif line.startswith(b'{"error"'):
                told = _member(line, "error")
                raise raised(told, int(told.get("status", 500)))
            else:
                yield parse(ResultRead, line)

    def finish(self) -> Iterator[ResultRead | ImportSummary]:
        if not self.ended:
            raise Unreachable(
                "The import was cut off. Send the same file with the same idempotency_key, and it goes on.", sent=True
            )
        return iter(())


def _member(line: bytes, name: str) -> dict[str, Any]:
    try:
        found = json.loads(line)[name]
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or (name == "error" and not isinstance(found.get("code"), str)):
        raise AnswerInvalid("A line of the answer cannot be read.")
    return found


def list_jobs(*, limit: int = 100) -> Call[Page[JobRead]]:
    """Give all jobs, the newest first. `limit` is how many are asked for at a time."""
    return get("/jobs/", reads_page(JobRead), limit=limit)


def get_job(job_id: Id) -> Call[JobRead]:
    """Read a job, and how far it is."""
    return get(f"/jobs/{part(job_id)}", reads(JobRead))


def list_job_results(job_id: Id) -> Stream[ResultRead]:
    """Give the results of an import so far."""
    return Stream(get(f"/jobs/{part(job_id)}/results", _itself), _Results)


class _Results(_Lines):
    """Reads results that have no summary."""

    def feed(self, data: bytes) -> Iterator[ResultRead]:
        for line in self.lines(data):
            yield parse(ResultRead, line)

    def finish(self) -> Iterator[ResultRead]:
        self.must_be_empty()
        return iter(())
