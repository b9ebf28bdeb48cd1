"""What can go wrong with roles."""

from __future__ import annotations

from denizen.core.errors import Conflict, NotFound


class RoleNotFound(NotFound):
    """No such role, or the person does not have it."""

    code = "role_not_found"
    title = "Role not found"


class RoleNameTaken(Conflict):
    """Another role has this name."""

    code = "role_name_taken"
    title = "Role already there"


class RoleBuiltIn(Conflict):
    """The role `admin` is part of every installation: it can be neither changed nor deleted."""

    code = "role_built_in"
    title = "Built-in role"


class LastAdministrator(Conflict):
    """Nobody who can sign in would be left with the role `admin`, and so nobody who could give it to somebody."""

    code = "last_administrator"
    title = "The last administrator"
