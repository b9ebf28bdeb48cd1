"""What comes in and what goes out."""

from pydantic import BaseModel, ConfigDict


class UserBase(BaseModel):
    """What a client may both send and see."""

    username: str
    email: str
    full_name: str | None = None


class UserCreate(UserBase):
    """The body of a create."""

    password: str


class User(UserBase):
    """A user as the API shows it: everything but the password's hash."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    is_active: bool
