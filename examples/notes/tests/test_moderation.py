from httpx import AsyncClient

from tests.conftest import MakePerson, Write


async def test_a_moderator_hides_a_note_and_shows_it_again(
    client: AsyncClient, person: MakePerson, write: Write
) -> None:
    ada, eve = await person(username="ada"), await person(username="eve")
    judge = await person("notes:moderate", username="judge")
    note = await write(ada)
    await client.put(f"/notes/{note}/shares/", json={"email": "eve@example.org"}, headers=ada.headers)
    ruling = f"/moderation/notes/{note}/ruling"

    assert (await client.put(ruling, json={"reason": "Spam"}, headers=ada.headers)).status_code == 403
    for reason in ("Spam", "Spam, again"):
        assert (await client.put(ruling, json={"reason": reason}, headers=judge.headers)).status_code == 204

    assert (await client.get(f"/notes/{note}", headers=eve.headers)).status_code == 404
    assert (await client.get("/shared-notes/", headers=eve.headers)).json()["items"] == []
    owners = (await client.get(f"/notes/{note}", headers=ada.headers)).json()
    assert owners["ruling"] == {"reason": "Spam, again", "ruled_at": "2026-01-31T09:30:00Z"}

    assert (await client.delete(ruling, headers=judge.headers)).status_code == 204
    assert (await client.get(f"/notes/{note}", headers=eve.headers)).status_code == 200
    assert (await client.get(f"/notes/{note}", headers=ada.headers)).json()["ruling"] is None
