"""Calls about accounts: one, many, one's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, TypedDict, Unpack

from denizen.account.schemas import Accepted, EmailAsked, OwnData, OwnEmailAsked, PasswordReset, Proof, Undoing
from denizen.batch.schemas import BatchDone, CreateOperation, DeleteOperation, PatchOperation
from denizen.client.calls import (
    Answer,
    Call,
    Id,
    Page,
    get,
    make,
    nothing,
    parse,
    part,
    reads,
    reads_page,
    send,
)
from denizen.client.errors import AnswerInvalid
from denizen.directory.schemas import Order
from denizen.signup.schemas import Registration, SignUpConfirm
from denizen.users.schemas import Deletion, OwnUpdate, SignUpAsked, UserCreate, UserRead, UserUpdate


class UserFilters(TypedDict, total=False):
    """Which accounts, as `docs/api.md` says: what is left out, or `None`, filters nothing. `profile` has values by the
    names of the server's own fields: `{"department": "sales"}`.
    """

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
    profile: Mapping[str, str | int | float | bool] | None


_page = reads_page(UserRead)
_user = reads(UserRead)
_deletion = reads(Deletion)
_accepted = reads(Accepted)


def _planned(answer: Answer) -> Deletion | None:
    return _deletion(answer) if answer.status == 200 else None


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


def delete_user(
    user_id: Id, *, erase: bool | None = None, dry_run: bool | None = None, if_version: int | None = None
) -> Call[Deletion | None]:
    """Hide an account and erase it later; with `erase`, at once and for good. With `dry_run`, only tell which rows of
    which tables that reaches; else give `None`.
    """
    asked = {"erase": erase, "dry_run": dry_run}
    return send("DELETE", f"/users/{part(user_id)}", _planned, if_version=if_version, **asked)


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
