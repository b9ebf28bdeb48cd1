"""What went wrong, as the class that the server raised: a problem document is turned back into what it was made of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final

from denizen.core import errors as kinds
from denizen.core.errors import DenizenError, FieldError


class Unreachable(kinds.Unavailable):
    """The server was not reached, or was lost before it answered.

    Attributes:
        sent: whether it may have done what it was asked to.
    """

    code = "unreachable"
    title = "Server not reached"

    def __init__(self, detail: str, *, sent: bool) -> None:
        super().__init__(detail)
        self.sent = sent


class ServerFailed(DenizenError):
    """The server met a fault of its own; its logs tell more under `request_id`."""

    code = "internal_error"
    title = "Internal error"


class AnswerInvalid(DenizenError):
    """What answered is no Denizen, or one whose answers this release cannot read."""

    code = "answer_invalid"
    title = "Answer not understood"


_CODES: Final = {
    "denizen.account.errors": "email_missing",
    "denizen.client.errors": "internal_error",
    "denizen.core.auth": "credentials_missing credentials_invalid scope_missing session_needed reauthentication_needed "
    "not_while_impersonating beyond_caller",
    "denizen.core.errors": "invalid body_too_large malformed_body unsupported_media_type unknown_parameter "
    "repeated_parameter unauthorized forbidden not_found conflict stale too_many_requests unavailable storage_full",
    "denizen.core.hashers": "hashing_busy",
    "denizen.core.identifiers": "email_invalid username_invalid identity_missing",
    "denizen.core.paging": "cursor_invalid",
    "denizen.core.passwords": "password_refused password_too_short password_too_long password_common "
    "password_contextual password_unacceptable",
    "denizen.core.profiles": "profile_invalid",
    "denizen.directory.errors": "listing_unsupported",
    "denizen.founder.errors": "administrator_exists",
    "denizen.idempotency.errors": "idempotency_key_invalid idempotency_key_reused idempotency_key_in_flight",
    "denizen.invitations.errors": "invitation_expiry_invalid invitation_email_fixed invitation_not_found "
    "invitation_used invitation_beyond_inviter",
    "denizen.jobs.errors": "job_options_differ job_not_found job_running job_taken_over",
    "denizen.keys.errors": "key_expiry_invalid key_beyond_maker key_not_found keys_too_many",
    "denizen.onetime.errors": "link_invalid",
    "denizen.passwordless.errors": "passwordless_off",
    "denizen.refresh.errors": "refresh_failed",
    "denizen.roles.errors": "role_not_found role_name_taken role_built_in last_administrator",
    "denizen.search.errors": "search_invalid",
    "denizen.sessions.errors": "sign_in_failed session_not_found account_not_in_use",
    "denizen.transfer.errors": "encoding_unsupported format_unknown header_missing column_repeated column_unknown "
    "column_missing mapping_invalid file_changed",
    "denizen.users.errors": "own_account sign_up_closed user_not_found user_changed email_taken username_taken "
    "username_too_similar external_id_taken id_taken user_in_use",
}
"""Where the class of each code stands: loaded when it is first met, since some bring dictionaries along. What only the
operator of a server can mend, and what bearers never meet, is left to its kind."""

_HOMES: Final = {code: module for module, codes in _CODES.items() for code in codes.split()}

_KINDS: Final[Mapping[int, type[DenizenError]]] = {
    400: kinds.Malformed,
    401: kinds.Unauthorized,
    403: kinds.Forbidden,
    404: kinds.NotFound,
    409: kinds.Conflict,
    412: kinds.Stale,
    413: kinds.TooLarge,
    415: kinds.UnsupportedMedia,
    422: kinds.Invalid,
    429: kinds.TooMany,
    500: ServerFailed,
    507: kinds.StorageFull,
}


def class_of(code: str, status: int) -> type[DenizenError]:
    """Give the class of a code; of one that is not known here, the kind that its status stands for."""
    home = _HOMES.get(code)
    if home is not None:
        for each in vars(import_module(home)).values():
            if isinstance(each, type) and issubclass(each, DenizenError) and each.code == code:
                return each
    if status in _KINDS:
        return _KINDS[status]
    return kinds.Unavailable if status >= 500 else kinds.Invalid if status >= 400 else AnswerInvalid


def error_of(status: int, headers: Mapping[str, str], content: bytes) -> DenizenError:
    """Give the error that an answer tells of.

    Args:
        status: of the answer, none of success.
        headers: by names in lower case.
        content: a problem document, or whatever a proxy says instead.
    """
    told = _document(content)
    wait = headers.get("retry-after", "")
    retry_after = int(wait) if wait.isascii() and wait.isdecimal() and len(wait) < 10 else None
    if told is None:
        error = class_of("", status)(f"The answer was {status}, and no problem document of Denizen's.")
    else:
        error = raised(told, status)
    error.retry_after = retry_after
    error.request_id = error.request_id or headers.get("x-request-id")
    error.from_elsewhere = True
    return error


def raised(told: Mapping[str, Any], status: int) -> DenizenError:
    """Turn a problem document back into the error that it was made of."""
    code = told["code"]
    cls = class_of(code, status)
    error = cls.__new__(cls)  # some take arguments of their own, which nobody tells
    error.args = (_text(told.get("detail")),)
    DenizenError.__init__(error, _text(told.get("detail")), field=told.get("field"), errors=_fields(told.get("errors")))
    if isinstance(error, kinds.TooMany):
        error.quota = None
    if error.code != code:  # more exact than this release knows
        vars(error)["code"], vars(error)["title"] = code, _text(told.get("title")) or cls.title
    error.request_id = _text(told.get("request_id")) or None
    return error


def _document(content: bytes) -> dict[str, Any] | None:
    try:
        told = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return told if isinstance(told, dict) and isinstance(told.get("code"), str) else None


def _fields(told: Any) -> list[FieldError]:
    if not isinstance(told, list):
        return []
    named = [each for each in told if isinstance(each, dict)]
    return [FieldError(_text(e.get("field")), _text(e.get("code")), _text(e.get("message"))) for e in named]


def _text(told: Any) -> str:
    return told[:2000] if isinstance(told, str) else ""
