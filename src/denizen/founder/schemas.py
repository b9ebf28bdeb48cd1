"""What comes in over HTTP."""

from typing import Annotated

from annotated_types import MaxLen
from pydantic import BaseModel, ConfigDict, Field

from denizen.core.text import LeftEmpty, Storable
from denizen.users.schemas import Email, FullName, Password, Username


class FirstAdministrator(BaseModel):
    """The account of the first administrator."""

    model_config = ConfigDict(extra="forbid")

    token: Annotated[str, MaxLen(64), Storable, Field(examples=["dza_mJ4xq0Zr8Tn3Wc6Yb1Hd5Gf0SaJekX7v2Qm9Lp4Zr8U"])]
    username: Username
    email: Email
    full_name: Annotated[FullName | None, LeftEmpty] = None
    password: Password
    cookie: Annotated[bool, Field(description="Sign in by cookie: for browsers.")] = False
