"""What goes in over HTTP."""

from typing import Annotated

from annotated_types import MaxLen
from pydantic import BaseModel, ConfigDict, Field

from denizen.core.text import LeftEmpty, Storable
from denizen.users.schemas import NewProfile, Password, UserBase, Username


class Registration(UserBase):
    """A new account of one's own."""

    password: Password
    profile: NewProfile = Field(default_factory=dict)


class SignUpConfirm(BaseModel):
    """Proof of the address that somebody signed up with."""

    model_config = ConfigDict(extra="forbid")

    token: Annotated[
        str,
        MaxLen(64),
        Storable,
        Field(
            description="Of the link, what stands behind `token=`.",
            examples=["dzn_mJ4xq0Zr8Tn3Wc6Yb1Hd5Gf0SaJekX7v2Qm9Lp4Zr8U"],
        ),
    ]
    username: Annotated[
        Username | None,
        LeftEmpty,
        Field(description="Another one than was asked for: it may have been taken meanwhile."),
    ] = None
    password: Annotated[
        Password,
        Field(description="Of the account. Whoever signed up may have been a stranger: his counts for nothing."),
    ]
