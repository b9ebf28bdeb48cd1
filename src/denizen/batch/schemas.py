"""What a batch is made of, and what is told of each part. Nothing that goes out tells of a person."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, cast
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WrapValidator
from pydantic_core import PydanticCustomError

from denizen.core.bounds import MAX_VERSION
from denizen.users.schemas import Password, UserCreate, UserUpdate

MAX_OPERATIONS: Final = 1_000
MAX_PASSWORDS: Final = 100

UserId = Annotated[str, Field(description="A UUIDv7.", examples=["019a5c1e-7f00-7a11-8b22-3c33d44e55f6"])]
Version = Annotated[
    Annotated[int, Field(strict=True, ge=1, le=MAX_VERSION)] | None,
    Field(description="Only if this is its version: what `If-Match` is to one account.", examples=[3]),
]


class BatchUser(UserCreate):
    """A new account of a batch: nobody need sign in to it with a password yet."""

    password: Password | None = None  # type: ignore[assignment]  # wider on purpose; it is read as this class alone


class CreateOperation(BaseModel):
    """Create an account."""

    model_config = ConfigDict(extra="forbid")

    op: Literal["create"]
    user: BatchUser


class PatchOperation(BaseModel):
    """Change an account: what `changes` names is set, the rest stays."""

    model_config = ConfigDict(extra="forbid")

    op: Literal["patch"]
    id: UserId
    changes: UserUpdate
    if_version: Version = None


class DeleteOperation(BaseModel):
    """Hide an account, and erase it later."""

    model_config = ConfigDict(extra="forbid")

    op: Literal["delete"]
    id: UserId
    if_version: Version = None


Operation = CreateOperation | PatchOperation | DeleteOperation


@dataclass(frozen=True, slots=True)
class Flawed:
    """An operation that is not valid.

    Attributes:
        op: what it would have done.
        found: what Pydantic found, with the place in the account, as `core.problems.invalid` takes it.
    """

    op: str
    found: list[Any]


def _by_itself(value: Any, judge: Any) -> Any:
    """Judge one operation, so that one which is not valid costs itself and no other; of no known kind, it costs all."""
    try:
        return judge(value)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=True)
        if not found[0]["loc"]:
            raise
        return Flawed(value["op"], [{**each, "loc": _place(each["loc"])} for each in found])


def _place(loc: Sequence[int | str]) -> tuple[int | str, ...]:
    """Name a field as for a single account: `email`, not `create.user.email`."""
    inside = loc[1:]
    return ("body", *(inside[1:] if len(inside) > 1 and inside[0] in {"user", "changes"} else inside))


def _within_limits(value: Any) -> Any:
    """Count before anything is judged."""
    if not isinstance(value, list):
        return value
    if len(value) > MAX_OPERATIONS:
        raise PydanticCustomError("too_many_operations", f"must be at most {MAX_OPERATIONS} operations")
    users = (each.get("user") for each in value if isinstance(each, dict))
    if sum(isinstance(user, dict) and user.get("password") is not None for user in users) > MAX_PASSWORDS:
        raise PydanticCustomError("too_many_passwords", f"must have at most {MAX_PASSWORDS} passwords")
    return value


class Batch(BaseModel):
    """What is to be done, in order."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "operations": [
                        {"op": "create", "user": {"username": "ada", "email": "ada@example.org"}},
                        {
                            "op": "patch",
                            "id": "019a5c1e-7f00-7a11-8b22-3c33d44e55f6",
                            "changes": {"is_active": False},
                            "if_version": 3,
                        },
                        {"op": "delete", "id": "019a5c1e-7f00-7a11-8b22-3c33d44e55f7"},
                    ]
                }
            ]
        },
    )

    operations: Annotated[
        list[Annotated[Operation, Field(discriminator="op"), WrapValidator(_by_itself)]],
        BeforeValidator(_within_limits),
        Field(
            description=f"At most {MAX_OPERATIONS}, with at most {MAX_PASSWORDS} passwords among them.",
            json_schema_extra={"maxItems": MAX_OPERATIONS},
        ),
    ]

    @property
    def judged(self) -> Sequence[Operation | Flawed]:
        """The operations as they came, those that are not valid as `Flawed`."""
        return cast("Sequence[Operation | Flawed]", self.operations)


class BatchFieldError(BaseModel):
    """One thing wrong with one field of an operation."""

    field: str
    code: str
    message: str


class BatchError(BaseModel):
    """Why an operation was refused: what a problem document would say of a single request."""

    code: str = Field(description="What clients test.", examples=["email_taken"])
    title: str = Field(examples=["Email already registered"])
    detail: str = Field(examples=["Email already registered"])
    field: str | None = Field(default=None, description="The field at fault, where it is one.", examples=["email"])
    errors: list[BatchFieldError] | None = Field(default=None, description="Every field at fault.")


class BatchResult(BaseModel):
    """What became of one operation."""

    op: Literal["create", "patch", "delete"]
    status: int = Field(description="What a single request would have been answered.", examples=[201])
    id: UUID | None = Field(default=None, description="The account's, where there is one.")
    version: int | None = Field(default=None, description="Of the account, after it was created or changed.")
    error: BatchError | None = Field(default=None, description="Why it was refused.")


class BatchDone(BaseModel):
    """What became of a batch."""

    succeeded: int
    failed: int
    results: list[BatchResult] = Field(description="One for each operation, in their order.")
