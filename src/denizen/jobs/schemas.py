"""What is shown of long work."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from annotated_types import MaxLen
from pydantic import BaseModel, ConfigDict, Field

from denizen.core.text import Storable

MAX_LIMIT = 1000

State = Literal["running", "interrupted", "done", "failed"]
"""As people see it; the table knows no `interrupted`, which is found out when somebody looks."""


class JobQuery(BaseModel):
    """Which jobs. A parameter that is none of these is refused."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT, description="How many, at most 1000.")] = 10
    cursor: Annotated[
        str | None, MaxLen(2048), Storable, Field(description="Where the last page ended: its `X-Next-Cursor`.")
    ] = None


class JobRead(BaseModel):
    """A job as the API shows it."""

    id: UUID
    kind: Annotated[str, Field(description="What it does.", examples=["import"])]
    state: Annotated[
        State,
        Field(description="`interrupted`: nobody is at it any more, and it can be gone on with; so can `failed`."),
    ]
    source: Annotated[str, Field(description="What it reads, for people: a file's name.")]
    options: Annotated[dict[str, Any], Field(description="Of its kind: `mode`, `match`, `map` of an import.")]
    counts: Annotated[dict[str, Any], Field(description="What became of its rows so far.")]
    position: Annotated[int, Field(description="The last line that is done.")]
    bytes_done: Annotated[int, Field(description="Of what it reads.")]
    bytes_total: Annotated[int | None, Field(description="Where that is known.")]
    caller_id: Annotated[UUID | None, Field(description="The key that asked for it; `null` for the command line.")]
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None
    error: Annotated[dict[str, Any] | None, Field(description="What a failed one failed with: `code`, `detail`.")]


class ResultRead(BaseModel):
    """What became of one row, as one line of NDJSON."""

    line: Annotated[int, Field(description="Where the row begins in the file, from 1.")]
    outcome: Annotated[
        str,
        Field(
            description="`created`, `updated`, `unchanged`, `skipped`, `refused`; `valid` on a dry run for `created`."
        ),
    ]
    id: Annotated[str | None, Field(description="Of the account.")] = None
    code: Annotated[str | None, Field(description="Why it was refused, for programs.")] = None
    field: Annotated[str | None, Field(description="The column at fault.")] = None
    message: Annotated[str | None, Field(description="Why it was refused, for people. Repeats nothing of the row.")] = (
        None
    )
