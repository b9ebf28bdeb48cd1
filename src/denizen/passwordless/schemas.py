"""What goes in and comes out over HTTP."""

from typing import Annotated, Final

from annotated_types import MaxLen
from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import to_json

from denizen.core.text import Storable
from denizen.users.schemas import Email

Cookie = Annotated[bool, Field(description="Sign in by cookie: for browsers.")]


class SignInAsk(BaseModel):
    """Who wants to sign in."""

    model_config = ConfigDict(extra="forbid")

    email: Email


class LinkAsked(BaseModel):
    """What whoever asks is told: the same, whether the address is known here or not."""

    detail: Annotated[str, Field(examples=["If this address has an account, a link to sign in is on its way to it."])]


LINK_ASKED: Final = to_json({"detail": "If this address has an account, a link to sign in is on its way to it."})


class CodeAsked(BaseModel):
    """What goes with the code of the letter; there is one, whether the address is known here or not."""

    ticket: Annotated[
        str,
        Field(
            description="Send it with the code; it is good for ten minutes and five tries.",
            examples=["dzc_mJ4xq0Zr8Tn3Wc6Yb1Hd5Gf0SaJekX7v2Qm9Lp4Zr8U"],
        ),
    ]


class LinkSignIn(BaseModel):
    """The link of a letter."""

    model_config = ConfigDict(extra="forbid")

    token: Annotated[
        str,
        MaxLen(64),
        Storable,
        Field(
            description="Of the link, what stands behind `token=`.",
            examples=["dzm_mJ4xq0Zr8Tn3Wc6Yb1Hd5Gf0SaJekX7v2Qm9Lp4Zr8U"],
        ),
    ]
    cookie: Cookie = False


class CodeSignIn(BaseModel):
    """The code of a letter, and the ticket of whoever asked for it."""

    model_config = ConfigDict(extra="forbid")

    ticket: Annotated[str, MaxLen(64), Storable, Field(examples=["dzc_mJ4xq0Zr8Tn3Wc6Yb1Hd5Gf0SaJekX7v2Qm9Lp4Zr8U"])]
    code: Annotated[str, MaxLen(16), Storable, Field(description="Six digits.", examples=["042137"])]
    cookie: Cookie = False
