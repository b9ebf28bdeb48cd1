"""What routes ask of one install, where an application has several, or knows the one it means.

They are handed out by the install itself (`accounts.db`), and by `Dependencies("/team")` for routes that are written
down before there is an install. Each stands in an annotation, `Annotated[AsyncSession, accounts.db]`, which FastAPI,
mypy and editors understand. The names with capitals are the whole annotation, for code that no type checker reads: to
one, an attribute of a value is no type.
"""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any

from fastapi import Depends
from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.accounts import Accounts
from denizen.core.auth import Caller
from denizen.core.deps import Which, caller_of, db_of, here_of, now_of, read_db_of, reads_of
from denizen.sessions.deps import SessionBearer
from denizen.users.deps import UserBearer
from denizen.users.schemas import UserRead

# Kept, not made anew each time: FastAPI solves equal dependencies of a request once.


class _Offered:
    """Dependencies on whatever `_which` gives."""

    @property
    def _which(self) -> Which:
        return None

    @cached_property
    def here(self) -> Any:
        """Gives the `Accounts`, as `Here`."""
        return here_of(self._which)

    @cached_property
    def db(self) -> Any:
        """Gives an `AsyncSession` that writes, as `Db`."""
        return db_of(self._which)

    @cached_property
    def read_db(self) -> Any:
        """Gives an `AsyncSession` that reads, as `ReadDb`."""
        return read_db_of(self._which)

    @cached_property
    def reads(self) -> Any:
        """Gives a `Reader`, as `Reads`."""
        return reads_of(self._which)

    @cached_property
    def now(self) -> Any:
        """Gives a `datetime`, as `Now`."""
        return now_of(self._which)

    @cached_property
    def current_user(self) -> Any:
        """Gives a `UserRead`, as `CurrentUser`."""
        return Depends(UserBearer(which=self._which))

    @cached_property
    def optional_user(self) -> Any:
        """Gives a `UserRead | None`, as `OptionalUser`."""
        return Depends(UserBearer(which=self._which, optional=True))

    @cached_property
    def current_caller(self) -> Any:
        """Gives a `Caller`, as `CurrentCaller`."""
        return caller_of(self._which)

    @cached_property
    def optional_caller(self) -> Any:
        """Gives a `Caller | None`, as `OptionalCaller`."""
        return caller_of(self._which, optional=True)

    @cached_property
    def current_session(self) -> Any:
        """Gives a `Caller` who has signed in, as `CurrentSession`."""
        return Depends(SessionBearer(which=self._which))

    @cached_property
    def own_session(self) -> Any:
        """Gives a `Caller` who has signed in himself, as `OwnSession`."""
        return Depends(SessionBearer(which=self._which, own=True))

    @cached_property
    def fresh_session(self) -> Any:
        """Gives a `Caller` who has proved lately who he is, as `FreshSession`."""
        return Depends(SessionBearer(which=self._which, fresh=True))

    def requires(self, *scopes: str) -> Any:
        """Give a dependency that lets through only callers who hold all of `scopes`; see `denizen.requires`."""
        return caller_of(self._which, *scopes)


class Dependencies(_Offered):
    """What routes ask of one install; such an alias stands at the top of a module, like `Db` itself.

    Args:
        of: the install, or the prefix it is under, for routes that are written down before it is made. A prefix is
            looked for in the application that has the route. `None` means the install that a request belongs to.
    """

    def __init__(self, of: Which = None) -> None:
        self._of = of.rstrip("/") if isinstance(of, str) else of

    @property
    def _which(self) -> Which:
        return self._of


class Installed(Accounts, _Offered):
    """What `install` gives back: an install, and what routes ask of it."""

    @property
    def _which(self) -> Which:
        return self

    @property
    def Here(self) -> Any:  # noqa: N802  (a type)
        """`Annotated[Accounts, accounts.here]`."""
        return Annotated[Accounts, self.here]

    @property
    def Db(self) -> Any:  # noqa: N802  (a type)
        """`Annotated[AsyncSession, accounts.db]`."""
        return Annotated[AsyncSession, self.db]

    @property
    def ReadDb(self) -> Any:  # noqa: N802  (a type)
        """`Annotated[AsyncSession, accounts.read_db]`."""
        return Annotated[AsyncSession, self.read_db]

    @property
    def CurrentUser(self) -> Any:  # noqa: N802  (a type)
        """`Annotated[UserRead, accounts.current_user]`."""
        return Annotated[UserRead, self.current_user]

    @property
    def OptionalUser(self) -> Any:  # noqa: N802  (a type)
        """`Annotated[UserRead | None, accounts.optional_user]`."""
        return Annotated[UserRead | None, self.optional_user]

    @property
    def CurrentCaller(self) -> Any:  # noqa: N802  (a type)
        """`Annotated[Caller, accounts.current_caller]`."""
        return Annotated[Caller, self.current_caller]

    @property
    def OptionalCaller(self) -> Any:  # noqa: N802  (a type)
        """`Annotated[Caller | None, accounts.optional_caller]`."""
        return Annotated[Caller | None, self.optional_caller]
