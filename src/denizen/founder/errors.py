"""What can go wrong with the first administrator's account."""

from __future__ import annotations

from denizen.core.errors import Conflict


class AdministratorExists(Conflict):
    """There is an administrator, so that nobody becomes the first one."""

    code = "administrator_exists"
    title = "There is an administrator"
