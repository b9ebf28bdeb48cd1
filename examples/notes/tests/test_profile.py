from httpx import AsyncClient

from tests.conftest import MakePerson, Write


async def test_a_plan_has_room_for_so_many_notebooks_and_nobody_sets_his_own(
    client: AsyncClient, person: MakePerson
) -> None:
    ada, root = await person(username="ada"), await person(username="root", roles=["admin"])
    team = {"profile": {"plan": "team"}}

    async def begin() -> str:
        return str((await client.post("/notebooks/", json={"name": "More"}, headers=ada.headers)).json().get("code"))

    assert [await begin() for _ in range(5)] == [*["None"] * 4, "notebooks_full"]
    refused = await client.patch("/accounts/users/me", json=team, headers=ada.headers)
    granted = await client.patch(f"/accounts/users/{ada.id}", json=team, headers=root.headers)

    assert (refused.json()["code"], granted.status_code) == ("profile_invalid", 200)
    assert await begin() == "None"


async def test_others_see_ones_department_and_no_more(client: AsyncClient, person: MakePerson, write: Write) -> None:
    ada, eve = await person(username="ada"), await person(username="eve")
    changes = {"profile": {"department": "Engines"}}
    changed = await client.patch("/accounts/users/me", json=changes, headers=ada.headers)
    assert changed.json()["profile"] == {"department": "Engines", "plan": "free"}
    note = await write(ada)
    await client.put(f"/notes/{note}/shares/", json={"email": "eve@example.org"}, headers=ada.headers)

    author = (await client.get(f"/notes/{note}", headers=eve.headers)).json()["edited_by"]

    assert author == {"id": str(ada.id), "username": "ada", "department": "Engines"}
