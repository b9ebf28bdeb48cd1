"""What a deletion reaches, as the API tells it."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

Fate = Literal["deleted", "emptied", "reset", "refused"]


class ReachedThrough(BaseModel):
    """A foreign key on the way to the rows of a table."""

    columns: Annotated[list[str], Field(description="Of the table.")]
    references: Annotated[str, Field(description="The table that they refer to.")]
    on_delete: Literal["CASCADE", "SET NULL", "SET DEFAULT", "RESTRICT", "NO ACTION"]


class ReachedTable(BaseModel):
    """Rows of one table to which the same happens."""

    table: Annotated[str, Field(description="With its schema, where that has to be named.")]
    rows: Annotated[int, Field(description="How many; no more than 10,000 are counted.")]
    more: Annotated[
        bool,
        Field(description="There may be more: over 10,000, on the way too, or in tables that Denizen may not read."),
    ]
    action: Annotated[
        Fate,
        Field(
            description="`deleted`; `emptied`: the columns become NULL; `reset`: they get their default; `refused`: "
            "the rows keep the account from being deleted."
        ),
    ]
    via: Annotated[list[ReachedThrough], Field(description="Through which foreign keys; none for the account itself.")]
