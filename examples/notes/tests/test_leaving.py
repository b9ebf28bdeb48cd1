from httpx import AsyncClient

from denizen import Accounts, erase_user
from tests.conftest import MakePerson, Write


async def test_what_becomes_of_notes_when_somebody_leaves(
    accounts: Accounts, client: AsyncClient, person: MakePerson, write: Write
) -> None:
    root = await person(username="root", roles=["admin"])
    ada, eve = await person(username="ada"), await person("notes:moderate", username="eve")
    note, account = await write(ada), f"/accounts/users/{eve.id}"
    body = {"email": "eve@example.org", "may_edit": True}
    await client.put(f"/notes/{note}/shares/", json=body, headers=ada.headers)
    await client.put(f"/notes/{note}", json={"title": "Edited by Eve"}, headers=eve.headers)
    await client.put(f"/moderation/notes/{note}/ruling", json={"reason": "Spam"}, headers=eve.headers)

    planned = (await client.delete(f"{account}?dry_run=true", headers=root.headers)).json()
    refused = await client.delete(account, headers=root.headers)
    await client.delete(f"/moderation/notes/{note}/ruling", headers=root.headers)
    async with accounts.writing() as db:
        await erase_user(db, eve.id, versions=None)

    actions = {(each["table"], each["action"]) for each in planned["tables"]}
    assert actions >= {("notebooks", "deleted"), ("shares", "deleted"), ("notes", "emptied"), ("rulings", "refused")}
    assert (planned["refused"], refused.json()["code"]) == (True, "user_in_use")
    left = (await client.get(f"/notes/{note}", headers=ada.headers)).json()
    assert (left["title"], left["edited_by"]) == ("Edited by Eve", None)
    assert (await client.get(f"/notes/{note}/shares/", headers=ada.headers)).json() == []
