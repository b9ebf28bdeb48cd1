"""Which accounts are asked for, in which order."""

from typing import Annotated, Any, ClassVar, Literal, Self
from uuid import UUID

from annotated_types import MaxLen
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from denizen.core.bounds import MAX_SEARCH_LENGTH
from denizen.core.identifiers import MAX_EXTERNAL_ID_LENGTH
from denizen.core.ids import parse_id
from denizen.core.profiles import FILTER
from denizen.core.text import Instant, Storable
from denizen.users.schemas import Email, Username

MAX_LIMIT = 1000
MAX_SKIP = 10_000_000
MAX_IDS = 500

Order = Literal[
    "id", "-id", "created_at", "-created_at", "updated_at", "-updated_at", "username", "-username", "email", "-email"
]


def _read_ids(value: Any) -> Any:
    """Read ids separated by commas or given one by one; what is no id of ours names nobody, and is dropped."""
    if value is None:
        return None
    parts = ",".join([value] if isinstance(value, str) else map(str, value)).split(",")
    if len(parts) > MAX_IDS:
        raise PydanticCustomError("too_many_ids", f"takes at most {MAX_IDS} ids")
    return tuple(sorted({found for part in parts if (found := parse_id(part.strip())) is not None}))


class UserFilter(BaseModel):
    """Which accounts. A parameter that is none of these is refused: ignored, it would return everyone.

    Beside these there is one for each own field that can be compared, `profile.department`, where the install has some.
    """

    model_config = ConfigDict(extra="allow", populate_by_name=True)

    takes_own_fields: ClassVar = True

    email: Annotated[Email | None, Field(description="In any case.")] = None
    username: Annotated[Username | None, Field(description="In any case.")] = None
    external_id: Annotated[str | None, MaxLen(MAX_EXTERNAL_ID_LENGTH), Storable] = None
    is_active: bool | None = None
    id__in: Annotated[
        tuple[UUID, ...] | None,
        BeforeValidator(_read_ids),
        Field(description=f"Ids, separated by commas or one by one; at most {MAX_IDS}."),
    ] = None
    created_at__gte: Instant | None = None
    created_at__gt: Instant | None = None
    created_at__lte: Instant | None = None
    created_at__lt: Instant | None = None
    updated_at__gte: Instant | None = None
    updated_at__gt: Instant | None = None
    updated_at__lte: Instant | None = None
    updated_at__lt: Instant | None = None

    @model_validator(mode="after")
    def _refuse_others(self) -> Self:
        others = (self.model_extra or {}).items()
        if any(not name.startswith(FILTER) or not isinstance(value, str) for name, value in others):
            raise PydanticCustomError("extra_forbidden", "there are other parameters than are known here")
        return self

    @property
    def own_fields(self) -> dict[str, str]:
        """What own fields are to be, as it was written, by their names."""
        return {name.removeprefix(FILTER): value for name, value in sorted((self.model_extra or {}).items())}


class UserQuery(UserFilter):
    """Which accounts, in which order, from where on."""

    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT, description="How many, at most 1000.")] = 10
    skip: Annotated[
        int | None,
        Field(ge=0, le=MAX_SKIP, description="How many to leave out first. Gets slower with depth; prefer `cursor`."),
    ] = None
    cursor: Annotated[
        str | None, MaxLen(2048), Storable, Field(description="Where the last page ended: its `X-Next-Cursor`.")
    ] = None
    order_by: Annotated[
        Order | None,
        Field(description="`-` for descending. By default `id`, the order of creation; with a range, its field."),
    ] = None
    q: Annotated[
        str | None,
        MaxLen(MAX_SEARCH_LENGTH),
        Storable,
        Field(
            description="Search: words or parts of them, in username, e-mail, full name and external id, in any script "
            "and case. Gives the best 1,000 at most, the best first; goes with `limit` alone.",
            examples=["lovel"],
        ),
    ] = None
    count: Annotated[
        Literal["estimated", "exact"] | None, Field(description="Also count, and answer with `X-Total-Count`.")
    ] = None
