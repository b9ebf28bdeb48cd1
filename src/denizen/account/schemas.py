"""What goes in and comes out over HTTP."""

from typing import Annotated, Any

from annotated_types import MaxLen
from pydantic import BaseModel, ConfigDict, Field

from denizen.core.text import Storable
from denizen.sessions.schemas import GivenPassword
from denizen.users.schemas import Email, Password

Token = Annotated[
    str,
    MaxLen(100),
    Storable,
    Field(description="Of the link in the letter.", examples=["dzv_1yV8mZq0Jb3rX5tC7wE9uK2nH4sD6fG8aL0pQoRiMkE"]),
]
Current = Annotated[GivenPassword, Field(description="The present one; left out by people without one.")]


class EmailAsked(BaseModel):
    """The address of an account."""

    model_config = ConfigDict(extra="forbid")

    email: Email


class OwnEmailAsked(BaseModel):
    """The address of an account; whoever is signed in may leave it out and means his own."""

    model_config = ConfigDict(extra="forbid")

    email: Email | None = None


class Proof(BaseModel):
    """The token of a letter, which shows who reads mail at the address."""

    model_config = ConfigDict(extra="forbid")

    token: Token
    password: Annotated[
        Password | None,
        Field(description="At the first proof of an address: the new password. Without it the account has none."),
    ] = None


class PasswordReset(BaseModel):
    """The token of a letter, and the new password."""

    model_config = ConfigDict(extra="forbid")

    token: Token
    password: Password


class Undoing(BaseModel):
    """The token of a letter."""

    model_config = ConfigDict(extra="forbid")

    token: Token


class PasswordChange(BaseModel):
    """Another password."""

    model_config = ConfigDict(extra="forbid")

    current_password: Current | None = None
    new_password: Password


class Accepted(BaseModel):
    """What is answered whoever there is."""

    detail: str


class OwnData(BaseModel):
    """All that is stored about one person, by what stores it. Passwords, tokens and their digests are left out."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={"examples": [{"account": {"username": "ada"}, "sessions": [], "keys": [], "mails": []}]},
    )

    account: dict[str, Any]
