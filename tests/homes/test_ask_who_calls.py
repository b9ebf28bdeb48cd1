"""The same application answers the same, wherever Denizen runs."""

from __future__ import annotations

from tests.homes.conftest import Place

ADA = {"username": "ada", "email": "ada@example.org"}


async def test_strangers_are_let_in_where_anybody_is(place: Place) -> None:
    greeted = await place.client.get("/greeting")
    refused = await place.client.get("/profile")
    wrong = await place.client.get("/greeting", headers={"Authorization": "Bearer dzs_" + "A" * 43})

    assert greeted.json() == "Hello, stranger"
    assert (refused.status_code, refused.json()["code"]) == (401, "credentials_missing")
    assert (wrong.status_code, wrong.json()["code"]) == (401, "credentials_invalid")
    assert wrong.headers["content-type"] == "application/problem+json"
    assert wrong.headers["www-authenticate"] == "Bearer"


async def test_a_person_is_known(place: Place) -> None:
    ada = await place.make_person("notes:write", **ADA)

    greeted = await place.client.get("/greeting", headers=ada.headers)
    profile = await place.client.get("/profile", headers=ada.headers)
    caller = await place.client.get("/caller", headers=ada.headers)
    written = await place.client.post("/notes", headers=ada.headers)
    deleted = await place.client.delete("/notes", headers=ada.headers)

    assert greeted.json() == "Hello, ada"
    assert (profile.json()["id"], profile.json()["email"]) == (str(ada.id), "ada@example.org")
    assert caller.json() == {"kind": "session", "user": str(ada.id), "scopes": ["notes:write"]}
    assert (written.status_code, written.json()) == (201, "ada")
    assert (deleted.status_code, deleted.json()) == (200, str(ada.id))


async def test_who_lacks_a_permission_is_told_which(place: Place) -> None:
    ada = await place.make_person(**ADA)

    refused = await place.client.post("/notes", headers=ada.headers)

    assert refused.status_code == 403
    assert (refused.json()["code"], refused.json()["detail"]) == ("scope_missing", "This needs the scope notes:write.")


async def test_an_operators_key_is_nobodys(place: Place) -> None:
    key = await place.make_key("notes:write")

    caller = await place.client.get("/caller", headers=key)
    profile = await place.client.get("/profile", headers=key)
    greeted = await place.client.get("/greeting", headers=key)

    assert caller.json() == {"kind": "key", "user": None, "scopes": ["notes:write"]}
    assert (profile.status_code, profile.json()["code"]) == (403, "session_needed")
    assert greeted.json() == "Hello, stranger"


async def test_who_is_suspended_is_out_at_once(place: Place) -> None:
    ada = await place.make_person(**ADA)
    assert (await place.client.get("/profile", headers=ada.headers)).status_code == 200

    await place.suspend(ada)

    assert (await place.client.get("/profile", headers=ada.headers)).status_code == 401
    assert (await place.client.get("/caller", headers=ada.headers)).status_code == 401


async def test_who_is_deleted_is_out_at_once(place: Place) -> None:
    ada = await place.make_person(**ADA)
    assert (await place.client.get("/profile", headers=ada.headers)).status_code == 200

    await place.delete(ada)

    assert (await place.client.get("/profile", headers=ada.headers)).status_code == 401


async def test_what_is_sensitive_wants_a_fresh_proof(place: Place) -> None:
    ada = await place.make_person(**ADA)
    place.clock.turn(minutes=11)

    refused = await place.client.delete("/notes", headers=ada.headers)

    assert (refused.status_code, refused.json()["code"]) == (403, "reauthentication_needed")
