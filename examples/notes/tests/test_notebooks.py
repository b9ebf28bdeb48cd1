from typing import Any

from httpx import AsyncClient
from sqlalchemy import Engine, event

from tests.conftest import MakePerson, Write


async def walk(client: AsyncClient, path: str, **headers: Any) -> list[Any]:
    """Give all rows of a list, page by page."""
    rows, before = [], ""
    while True:
        page = (await client.get(f"{path}?limit=2{before}", headers=headers)).json()
        rows += page["items"]
        if page["next"] is None:
            return rows
        before = f"&before={page['next']}"


async def test_whoever_signs_up_finds_a_notebook_with_a_welcome(client: AsyncClient) -> None:
    ada = {"username": "ada", "email": "ada@example.org", "password": "correct horse battery"}
    await client.post("/accounts/users/", json=ada)
    signed_in = await client.post("/accounts/auth/login", json={"username": "ada", "password": ada["password"]})
    headers = {"Authorization": f"Bearer {signed_in.json()['access_token']}"}

    (notebook,) = (await client.get("/notebooks/", headers=headers)).json()["items"]
    (note,) = (await client.get(f"/notebooks/{notebook['id']}/notes/", headers=headers)).json()["items"]

    assert note["text"].startswith("Hello ada.")


async def test_a_sign_up_that_is_refused_leaves_no_notebook(client: AsyncClient, person: MakePerson) -> None:
    moderator = await person("notes:moderate", username="ada")
    taken = {"username": "eve", "email": "ADA@example.org", "password": "correct horse battery"}

    assert (await client.post("/accounts/users/", json=taken)).json()["code"] == "email_taken"

    assert len((await client.get("/moderation/notes/", headers=moderator.headers)).json()["items"]) == 1


async def test_notebooks_and_notes_are_listed_page_by_page_the_newest_first(
    client: AsyncClient, person: MakePerson, write: Write
) -> None:
    ada, eve = await person(username="ada"), await person(username="eve")
    for name in ("Gardens", "Engines", "Letters"):
        await client.post("/notebooks/", json={"name": name}, headers=ada.headers)
        await client.post("/notebooks/", json={"name": "Eve's"}, headers=eve.headers)
    written = [await write(ada, title) for title in "abc"]

    notebooks = await walk(client, "/notebooks/", **ada.headers)
    notes = await walk(client, f"/notebooks/{notebooks[0]['id']}/notes/", **ada.headers)

    assert [notebook["name"] for notebook in notebooks] == ["Letters", "Engines", "Gardens", "First notebook"]
    assert [note["id"] for note in notes] == written[::-1]
    assert {note["edited_by"]["username"] for note in notes} == {"ada"}


async def test_a_longer_list_takes_no_more_statements(client: AsyncClient, person: MakePerson, write: Write) -> None:
    ada = await person(username="ada")
    (notebook,) = (await client.get("/notebooks/", headers=ada.headers)).json()["items"]
    path = f"/notebooks/{notebook['id']}/notes/"
    statements: list[str] = []

    async def count() -> int:
        statements.clear()
        assert (await client.get(path, headers=ada.headers)).status_code == 200
        return len(statements)

    def see(*told: Any) -> None:
        statements.append(told[2])

    event.listen(Engine, "before_cursor_execute", see)
    few = await count()
    for _ in range(5):
        await write(ada)
    many = await count()
    event.remove(Engine, "before_cursor_execute", see)

    assert 0 < few == many


async def test_a_notebook_of_somebody_elses_is_not_there(client: AsyncClient, person: MakePerson) -> None:
    ada, eve = await person(username="ada"), await person(username="eve")
    (notebook,) = (await client.get("/notebooks/", headers=ada.headers)).json()["items"]

    for act in (client.get(f"/notebooks/{notebook['id']}/notes/", headers=eve.headers),
                client.delete(f"/notebooks/{notebook['id']}", headers=eve.headers)):  # fmt: skip
        answer = await act
        assert (answer.status_code, answer.json()["code"]) == (404, "notebook_not_found")

    assert (await client.get("/notebooks/")).status_code == 401
    assert (await client.delete(f"/notebooks/{notebook['id']}", headers=ada.headers)).status_code == 204
    assert (await client.get("/notebooks/", headers=ada.headers)).json()["items"] == []
