"""What the audit shows."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from annotated_types import MaxLen
from pydantic import BaseModel, ConfigDict, Field

from denizen.core.text import Instant, Storable

MAX_LIMIT = 1000

Outcome = Literal["done", "refused"]


class AuditQuery(BaseModel):
    """Which entries. A parameter that is none of these is refused."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT, description="How many, the newest first; at most 1000.")] = 100
    cursor: Annotated[
        str | None, MaxLen(2048), Storable, Field(description="Where the last page ended: its `X-Next-Cursor`.")
    ] = None
    actor_id: Annotated[UUID | None, Field(description="Who did it: the id of an account.")] = None
    subject_id: Annotated[UUID | None, Field(description="What it was done to: an account, a key ...")] = None
    action: Annotated[
        str | None, MaxLen(64), Storable, Field(description="What was done.", examples=["user.updated"])
    ] = None
    outcome: Annotated[Outcome | None, Field(description="`done`, or `refused`.")] = None
    since: Annotated[Instant | None, Field(description="From this instant on.")] = None
    until: Annotated[Instant | None, Field(description="Before this instant.")] = None


class AuditRead(BaseModel):
    """One thing that happened, or was refused."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "019a5c1e-7f00-7a11-8b22-3c33d44e55f6",
                    "at": "2026-11-22T09:30:00.123456Z",
                    "action": "user.updated",
                    "outcome": "done",
                    "actor_kind": "session",
                    "actor_id": "019a5c1e-7e00-7a11-8b22-3c33d44e55f6",
                    "credential_id": "019a5c1e-7e80-7a11-8b22-3c33d44e55f6",
                    "impersonator_id": None,
                    "subject_kind": "user",
                    "subject_id": "019a5c1e-7d00-7a11-8b22-3c33d44e55f6",
                    "request_id": "4bf92f3577b34da6a3ce929d0e0e4736",
                    "count": 1,
                    "facts": {"fields": ["full_name"]},
                    "personal": {"address": "192.0.2.7", "after": {"full_name": "Augusta Ada King"}},
                }
            ]
        }
    )

    id: UUID
    at: datetime
    action: str
    outcome: Outcome
    actor_kind: Annotated[
        str, Field(description="What recognised them: `session`, `key`, `command`, `job`, `host`, `anonymous`.")
    ]
    actor_id: Annotated[UUID | None, Field(description="The person who did it.")]
    credential_id: Annotated[UUID | None, Field(description="The session or API key it was done with.")]
    impersonator_id: Annotated[UUID | None, Field(description="Who acted in that person's place.")]
    subject_kind: Annotated[str | None, Field(description="What it was done to: `user`, `key`, `role` ...")]
    subject_id: UUID | None
    request_id: str | None
    count: Annotated[int, Field(description="How many refusals this entry stands for.")]
    facts: dict[str, Any]
    personal: Annotated[
        dict[str, Any], Field(description="What is personal about it; empty once that person's account is erased.")
    ]
