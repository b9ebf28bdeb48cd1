"""What can go wrong with accounts."""

from __future__ import annotations

from denizen.core.errors import Conflict, Forbidden, NotFound, Stale


class UserNotFound(NotFound):
    """No such account, or none that this caller may know of."""

    code = "user_not_found"
    title = "User not found"


class EmailTaken(Conflict):
    """The address, in whatever spelling, belongs to an account."""

    code = "email_taken"
    title = "Email already registered"


class UsernameTaken(Conflict):
    """The username, in whatever case, belongs to an account."""

    code = "username_taken"
    title = "Username already registered"


class UsernameTooSimilar(Conflict):
    """A reader would take the username for that of another account."""

    code = "username_too_similar"
    title = "Username looks like another"


class ExternalIdTaken(Conflict):
    """The external id belongs to an account."""

    code = "external_id_taken"
    title = "External id already registered"


class IdTaken(Conflict):
    """The id belongs to an account. Only imports bring ids along."""

    code = "id_taken"
    title = "Id already registered"


class UserChanged(Stale):
    """The account has changed since the version that `If-Match` names."""

    code = "user_changed"
    title = "Changed meanwhile"


class UserInUse(Conflict):
    """Rows of a table that is not ours name the account, and keep it from being erased, now or later."""

    code = "user_in_use"
    title = "Account in use"


class OwnAccount(Forbidden):
    """Nobody does this to himself: an administrator would lock himself out."""

    code = "own_account"
    title = "Not on your own account"


class SignUpClosed(Forbidden):
    """Nobody creates an account here without the right to."""

    code = "sign_up_closed"
    title = "Sign-up is closed"


TAKEN: dict[str, tuple[type[Conflict], str, str]] = {
    "email_key": (EmailTaken, "Email already registered", "email"),
    "username_key": (UsernameTaken, "Username already registered", "username"),
    "username_skeleton": (
        UsernameTooSimilar,
        "This username looks too much like one that is already registered",
        "username",
    ),
    "external_id": (ExternalIdTaken, "External id already registered", "external_id"),
    "id": (IdTaken, "Id already registered", "id"),
}
"""What a broken uniqueness of each column means to people; the first is named where several are broken."""

CONSTRAINTS = {f"uq_denizen_users_{column}": column for column in TAKEN} | {"pk_denizen_users": "id"}
