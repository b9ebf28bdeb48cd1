"""Denizen: the accounts database for Python teams.

This is the front door: what stands here is for other programs and stays; everything else is private and may change
with any release. A name is loaded when it is first asked for, so that `import denizen` by itself costs nothing.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from denizen.app import create_app as create_app
    from denizen.app import install as install
    from denizen.core.accounts import Accounts as Accounts
    from denizen.core.auth import Caller as Caller
    from denizen.core.auth import Scope as Scope
    from denizen.core.deps import CurrentCaller as CurrentCaller
    from denizen.core.deps import Db as Db
    from denizen.core.deps import Here as Here
    from denizen.core.deps import OptionalCaller as OptionalCaller
    from denizen.core.deps import ReadDb as ReadDb
    from denizen.core.deps import requires as requires
    from denizen.core.errors import Conflict as Conflict
    from denizen.core.errors import DenizenError as DenizenError
    from denizen.core.errors import Forbidden as Forbidden
    from denizen.core.errors import Invalid as Invalid
    from denizen.core.errors import NotFound as NotFound
    from denizen.core.errors import Unavailable as Unavailable
    from denizen.core.events import Event as Event
    from denizen.dependencies import Dependencies as Dependencies
    from denizen.dependencies import Installed as Installed
    from denizen.elsewhere.home import RemoteHome as RemoteHome
    from denizen.elsewhere.home import remote as remote
    from denizen.sessions.deps import CurrentSession as CurrentSession
    from denizen.sessions.deps import FreshSession as FreshSession
    from denizen.sessions.deps import OwnSession as OwnSession
    from denizen.settings import Settings as Settings
    from denizen.settings import SettingsError as SettingsError
    from denizen.transfer.events import UsersImported as UsersImported
    from denizen.users.crud import get_user as get_user
    from denizen.users.crud import get_user_by_email as get_user_by_email
    from denizen.users.deps import CurrentUser as CurrentUser
    from denizen.users.deps import OptionalUser as OptionalUser
    from denizen.users.errors import EmailTaken as EmailTaken
    from denizen.users.errors import UserInUse as UserInUse
    from denizen.users.errors import UsernameTaken as UsernameTaken
    from denizen.users.errors import UserNotFound as UserNotFound
    from denizen.users.events import EmailChanged as EmailChanged
    from denizen.users.events import EmailProved as EmailProved
    from denizen.users.events import PasswordChanged as PasswordChanged
    from denizen.users.events import SignedUp as SignedUp
    from denizen.users.events import UserCreated as UserCreated
    from denizen.users.events import UserDeleted as UserDeleted
    from denizen.users.events import UserErased as UserErased
    from denizen.users.events import UserRestored as UserRestored
    from denizen.users.events import UserSuspended as UserSuspended
    from denizen.users.events import UserUnsuspended as UserUnsuspended
    from denizen.users.events import UserUpdated as UserUpdated
    from denizen.users.models import User as User
    from denizen.users.schemas import UserRead as UserRead
    from denizen.users.schemas import UserUpdate as UserUpdate
    from denizen.users.service import change_user as change_user
    from denizen.users.service import create_account as create_account
    from denizen.users.states import delete_user as delete_user
    from denizen.users.states import erase_user as erase_user
    from denizen.users.states import restore_user as restore_user
    from denizen.users.states import suspend_user as suspend_user
    from denizen.users.states import unsuspend_user as unsuspend_user

_NAMES = {
    "denizen.app": ("create_app", "install"),
    "denizen.core.accounts": ("Accounts",),
    "denizen.core.auth": ("Caller", "Scope"),
    "denizen.core.deps": ("CurrentCaller", "Db", "Here", "OptionalCaller", "ReadDb", "requires"),
    "denizen.core.errors": ("Conflict", "DenizenError", "Forbidden", "Invalid", "NotFound", "Unavailable"),
    "denizen.core.events": ("Event",),
    "denizen.dependencies": ("Dependencies", "Installed"),
    "denizen.elsewhere.home": ("RemoteHome", "remote"),
    "denizen.sessions.deps": ("CurrentSession", "FreshSession", "OwnSession"),
    "denizen.settings": ("Settings", "SettingsError"),
    "denizen.transfer.events": ("UsersImported",),
    "denizen.users.crud": ("get_user", "get_user_by_email"),
    "denizen.users.deps": ("CurrentUser", "OptionalUser"),
    "denizen.users.errors": ("EmailTaken", "UserInUse", "UserNotFound", "UsernameTaken"),
    "denizen.users.events": (
        "EmailChanged",
        "EmailProved",
        "PasswordChanged",
        "SignedUp",
        "UserCreated",
        "UserDeleted",
        "UserErased",
        "UserRestored",
        "UserSuspended",
        "UserUnsuspended",
        "UserUpdated",
    ),
    "denizen.users.models": ("User",),
    "denizen.users.schemas": ("UserRead", "UserUpdate"),
    "denizen.users.service": ("change_user", "create_account"),
    "denizen.users.states": ("delete_user", "erase_user", "restore_user", "suspend_user", "unsuspend_user"),
}
_HOMES = {name: module for module, names in _NAMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Load a name of the front door, and keep it."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'denizen' has no attribute {name!r}")
    from importlib import import_module

    found = globals()[name] = getattr(import_module(home), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
