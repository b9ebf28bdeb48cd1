"""What may be done to many people, and which roles may be given to them: judged in Python, one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from denizen.core.auth import BeyondCaller, Caller, covers
from denizen.core.errors import Invalid
from denizen.roles.errors import LastAdministrator, RoleNotFound
from denizen.roles.models import Role
from denizen.roles.schemas import MAX_ROLES
from denizen.users.errors import OwnAccount

Held = Mapping[str, Mapping[str, frozenset[str]]]
"""By id: what the roles allow that somebody has, by name."""


class Rights:
    """What an import may do to people, and which roles it may give.

    Args:
        caller: who imports; `None` for the operator, who may do everything.
        held: of those who are there already; without those who have no role.
        roles: by name, those that rows name and that there are.
        administrators: the ids of those who have the role `admin` and can sign in; empty where nobody goes.
    """

    def __init__(
        self, caller: Caller | None, *, held: Held, roles: Mapping[str, Role], administrators: Iterable[str]
    ) -> None:
        self._caller = caller
        self._held = held
        self._roles = roles
        self._administrators = set(administrators)

    def gained(self, names: Sequence[str], user_id: str | None = None) -> list[Role]:
        """Give the roles of `names` that somebody does not have yet; `None` is somebody new.

        Raises:
            RoleNotFound, BeyondCaller, Invalid: there is no such role, it is not the caller's to give, or one too many.
        """
        held = self._held.get(user_id or "", {})
        if held.keys() >= set(names):
            return []
        if any(name not in self._roles for name in names):
            raise RoleNotFound("One of these roles does not exist.", field="roles")
        gained = [self._roles[name] for name in names if name not in held]
        for role in gained:
            if self._caller is not None and not covers(self._caller.scopes, frozenset(role.permissions)):
                raise BeyondCaller(f"The role {role.name} allows what you may not do.", field="roles")
        if len(held) + len(gained) > MAX_ROLES:
            raise Invalid(f"Nobody can have more than {MAX_ROLES} roles.", field="roles")
        return gained

    def check_change(self, user_id: str) -> None:
        """Refuse that an import changes somebody who may do what its caller may not, or the caller himself.

        Raises:
            BeyondCaller, OwnAccount: with a sentence.
        """
        if self._caller is None:
            return
        if self._caller.user_id is not None and user_id == str(self._caller.user_id):
            raise OwnAccount("Nobody changes his own account by a file.")
        may = frozenset[str]().union(*self._held.get(user_id, {}).values())
        if not covers(self._caller.scopes, may):
            raise BeyondCaller("This account may do what you may not, so that it is not yours to change.")

    def let_go(self, user_id: str) -> None:
        """Let somebody be made inactive.

        Raises:
            LastAdministrator: he is the last one.
        """
        if self._administrators == {user_id}:
            raise LastAdministrator("Nobody who can sign in would be left with the role admin.", field="is_active")
        self._administrators.discard(user_id)
