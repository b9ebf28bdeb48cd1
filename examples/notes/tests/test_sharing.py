from httpx import AsyncClient

from tests.conftest import MakePerson, Write


async def test_a_note_is_shared_to_be_read_then_to_be_edited_then_no_more(
    client: AsyncClient, person: MakePerson, write: Write
) -> None:
    ada, eve = await person(username="ada"), await person(username="eve")
    note = await write(ada, "Engines")
    path, changed = f"/notes/{note}", {"title": "Engines", "text": "Brass."}

    async def share(*, may_edit: bool) -> None:
        body = {"email": "EVE@example.org", "may_edit": may_edit}
        assert (await client.put(f"{path}/shares/", json=body, headers=ada.headers)).status_code == 204

    assert (await client.get(path, headers=eve.headers)).json()["code"] == "note_not_found"
    await share(may_edit=False)
    assert (await client.get(path, headers=eve.headers)).json()["title"] == "Engines"
    assert (await client.put(path, json=changed, headers=eve.headers)).json()["code"] == "note_read_only"
    await share(may_edit=True)
    edited = (await client.put(path, json=changed, headers=eve.headers)).json()
    assert (edited["text"], edited["edited_by"]["username"]) == ("Brass.", "eve")
    readers = (await client.get(f"{path}/shares/", headers=ada.headers)).json()
    assert [(each["user"]["username"], each["may_edit"]) for each in readers] == [("eve", True)]
    listed = (await client.get("/shared-notes/", headers=eve.headers)).json()
    assert [each["id"] for each in listed["items"]] == [note]

    assert (await client.delete(f"{path}/shares/{eve.id}", headers=eve.headers)).status_code == 204

    assert (await client.get("/shared-notes/", headers=eve.headers)).json() == {"items": [], "next": None}


async def test_only_its_owner_shares_and_deletes_a_note(client: AsyncClient, person: MakePerson, write: Write) -> None:
    ada, eve = await person(username="ada"), await person(username="eve")
    note = await write(ada)
    body = {"email": "eve@example.org"}
    await client.put(f"/notes/{note}/shares/", json=body, headers=ada.headers)

    refused = await client.put(f"/notes/{note}/shares/", json=body, headers=eve.headers)
    kept = await client.delete(f"/notes/{note}", headers=eve.headers)
    nobody = await client.put(f"/notes/{note}/shares/", json={"email": "x@example.org"}, headers=ada.headers)

    assert [refused.status_code, kept.status_code, nobody.json()["code"]] == [404, 404, "user_not_found"]
    assert (await client.delete(f"/notes/{note}", headers=ada.headers)).status_code == 204


async def test_what_no_database_could_store_is_refused(client: AsyncClient, person: MakePerson) -> None:
    ada = await person(username="ada")

    assert (await client.post("/notebooks/", json={"name": "a\0b"}, headers=ada.headers)).status_code == 422
    assert (await client.get(f"/notes/{2**40}", headers=ada.headers)).status_code == 422
