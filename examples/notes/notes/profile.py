"""What this application keeps of people beside what Denizen does: fields of their accounts, and no table."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from denizen import UserRead


class Profile(BaseModel):
    """Own fields of an account, checked at every write; all have defaults, so that nobody has to know of them."""

    department: Annotated[str | None, Field(max_length=100)] = None
    # Its owner sees it, and whoever holds users:write sets it: `PATCH /accounts/users/{id}`.
    plan: Annotated[Literal["free", "team"], Field(json_schema_extra={"readOnly": True})] = "free"


NOTEBOOKS = {"free": 5, "team": 100}
"""How many somebody may have, by plan."""


def profile_of(user: UserRead) -> Profile:
    """Give the own fields of an account with their types."""
    return Profile.model_validate(user.profile)
