"""Routes that are written down before there is an install name its prefix. Annotations are postponed here."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, FastAPI
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from denizen import Accounts, Caller, Dependencies, Scope, User, create_account, install
from denizen.core.hashers import NullHasher
from tests.hosts.conftest import MakeSettings, issue, reach

of_staff = Dependencies("/staff/")
Staff = Annotated[Accounts, of_staff.here]
StaffDb = Annotated[AsyncSession, of_staff.db]
GuestReadDb = Annotated[AsyncSession, Dependencies("/guests").read_db]
StaffWriter = Annotated[Caller, of_staff.requires(Scope.USERS_WRITE)]

router = APIRouter()


@router.post("/hire", status_code=201)
async def hire(staff: Staff, writer: StaffWriter, db: StaffDb, guests: GuestReadDb) -> dict[str, int | None]:
    """Write to one install and read from the other."""
    await create_account(staff, db, username="ada", email=None)
    count = select(func.count()).select_from(User)
    return {"staff": await db.scalar(count), "guests": await guests.scalar(count)}


async def test_each_application_that_a_function_makes_has_its_own(settings_of: MakeSettings) -> None:
    """The same module of routes in two applications, as in a test suite."""
    for name in ("first", "second"):
        app = FastAPI()
        app.include_router(router)
        guests, staff = (
            install(app, prefix=prefix, settings=settings_of(name + prefix[1:]), hasher=NullHasher())
            for prefix in ("/guests", "/staff")
        )

        async with reach(app) as client:
            hired = await client.post("/hire", headers=await issue(staff))
            refused = await client.post("/hire", headers=await issue(guests))

        assert hired.json() == {"staff": 1, "guests": 0}
        assert refused.status_code == 401
