"""What comes out over HTTP."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, Field


class SignInRead(BaseModel):
    """PLACEHOLDER until branch signin."""

    access_token: Annotated[str | None, Field(description="Opens the sign-in.")]
    token_type: Literal["bearer"] = "bearer"  # noqa: S105  (no secret)
    user_id: UUID
    csrf_token: str | None = None
