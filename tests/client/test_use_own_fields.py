"""Programs that ask a server whose accounts have own fields."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from denizen.client import AsyncClient, ImportSummary, OwnUpdate, UserCreate, UserUpdate
from denizen.core.errors import Invalid
from denizen.core.profiles import ProfileInvalid


class Staff(BaseModel):
    department: str
    level: int | None = None
    remote: bool = False


@pytest.fixture
def overrides() -> dict[str, Any]:
    return {"profile": f"{__name__}:{Staff.__name__}"}


async def test_own_fields_go_to_the_server_and_back(denizen: AsyncClient) -> None:
    ada = await denizen.create_user(
        UserCreate(
            username="ada", email="ada@example.org", password="correct horse battery", profile={"department": "sales"}
        )
    )
    changed = await denizen.update_user(ada.id, UserUpdate(profile={"level": 7, "remote": True}))
    with pytest.raises(ProfileInvalid) as refused:
        await denizen.update_user(ada.id, UserUpdate(profile={"level": "high"}))
    *_, summary = [
        each
        async for each in denizen.import_users(
            b"username,dept\nbob,law\n", format="csv", rename={"dept": "profile.department"}
        )
    ]
    found = [each.username async for each in denizen.list_users(profile={"department": "sales", "remote": True})]
    exported = [each.profile async for each in denizen.export_users(profile={"department": "law"})]

    assert changed.profile == {"department": "sales", "level": 7, "remote": True}
    assert refused.value.field == "profile.level"
    assert isinstance(summary, ImportSummary)
    assert (summary.created, found) == (1, ["ada"])
    assert exported == [{"department": "law", "level": None, "remote": False}]
    assert OwnUpdate(profile={"level": None}).model_dump(exclude_unset=True) == {"profile": {"level": None}}
    with pytest.raises(Invalid):
        denizen.list_users(profile={"department": None})  # type: ignore[dict-item]  # would be everyone
