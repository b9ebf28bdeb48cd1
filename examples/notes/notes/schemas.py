"""What goes in and comes out over HTTP."""

from datetime import datetime
from typing import Annotated, Generic, TypeVar
from uuid import UUID

from fastapi import Path, Query
from pydantic import AliasPath, BaseModel, ConfigDict, Field

Item = TypeVar("Item")

Text = Annotated[str, Field(pattern=r"^[^\x00]*$")]
"""What both databases can store: PostgreSQL takes no U+0000."""

MAX_ID = 2**31 - 1
Id = Annotated[int, Path(ge=1, le=MAX_ID)]
"""A number that a column of the type INTEGER can have."""


class Page(BaseModel, Generic[Item]):
    """A part of a list, the newest first."""

    items: list[Item]
    next: Annotated[int | None, Field(description="`before` of the next page; `null` at the end.")]


class PageAsked(BaseModel):
    """Which part of a list: the rows behind one of them, which costs the same however far down that is."""

    before: Annotated[int | None, Field(ge=1, le=MAX_ID)] = None
    limit: Annotated[int, Field(ge=1, le=100)] = 20


Paging = Annotated[PageAsked, Query()]


class Read(BaseModel):
    """What is read from rows."""

    model_config = ConfigDict(from_attributes=True)


class Person(Read):
    """As much of an account as others see."""

    id: UUID
    username: str | None
    department: Annotated[str | None, Field(validation_alias=AliasPath("profile", "department"))] = None


class NotebookCreate(BaseModel):
    """A new notebook."""

    name: Annotated[Text, Field(min_length=1, max_length=100)]


class NotebookRead(Read):
    """A notebook."""

    id: int
    name: str


class NoteWrite(BaseModel):
    """A new note, or what a note says from now on."""

    title: Annotated[Text, Field(min_length=1, max_length=200)]
    text: Annotated[Text, Field(max_length=20_000)] = ""


class RulingWrite(BaseModel):
    """Why a note is hidden."""

    reason: Annotated[Text, Field(min_length=1, max_length=500)]


class RulingRead(Read):
    """Why a note is hidden from all but its owner; who ruled is not told."""

    reason: str
    ruled_at: datetime


class NoteRead(Read):
    """A note."""

    id: int
    notebook_id: int
    title: str
    text: str
    edited_at: datetime
    edited_by: Annotated[Person | None, Field(description="`null` once that person is gone.")]
    ruling: RulingRead | None


class ShareWrite(BaseModel):
    """Whom a note is shared with."""

    email: Annotated[Text, Field(max_length=320)]
    may_edit: bool = False


class ShareRead(Read):
    """Who may read a note besides its owner."""

    user: Person
    may_edit: bool
