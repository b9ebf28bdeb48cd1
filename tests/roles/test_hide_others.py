"""Another person's data is a 404 everywhere, and a collection that is not one's to see a 403; every route, from the
document.
"""

from __future__ import annotations

from typing import Any

import pytest
from httpx import AsyncClient

from denizen.core.accounts import Accounts
from denizen.core.auth import Scope
from denizen.core.ids import new_id
from denizen.keys.service import issue_key
from denizen.sessions.service import recognise
from tests.conftest import PATIENT, MakeKey, MakePerson
from tests.openapi.document import document


@pytest.fixture
def overrides() -> dict[str, Any]:
    return PATIENT


BODIES: dict[str, dict[str, Any]] = {
    "PATCH /users/{user_id}": {"full_name": "Mine"},
    "PUT /users/{user_id}/roles": {"roles": []},
    "PATCH /roles/{role}": {"description": "Mine."},
}

COLLECTIONS = {
    "GET /users/": 403,
    "GET /users/export": 403,
    "GET /roles/": 403,
    "GET /jobs/": 403,
    "POST /users/batch": 403,
    "POST /users/import": 403,
    "POST /roles/": 403,
}
"""Those of which nobody has a part of his own."""


def _singles() -> list[tuple[str, str]]:
    return [
        (verb.upper(), path)
        for path, verbs in document()["paths"].items()
        for verb in verbs
        if "{" in path and "token" not in path
    ]


async def test_single_things_of_others_are_a_404(
    client: AsyncClient, make_person: MakePerson, make_key: MakeKey, accounts: Accounts
) -> None:
    """The same as of what is not there, to the last byte but the id of the request."""
    nosy, other = await make_person(), await make_person("notes:write")
    at = accounts.clock()
    session = await recognise(accounts, other.headers["Authorization"].removeprefix("Bearer "), at)
    assert session is not None
    async with accounts.writing() as db:
        key, _ = await issue_key(db, name="x", scopes=["notes:write"], maker=session, expires_at=None, at=at)
    importer = await make_key(Scope.USERS_IMPORT)
    started = await client.post(
        "/users/import", content=b'{"username": "x"}', headers=importer | {"Content-Type": "application/x-ndjson"}
    )
    job = started.headers["location"].rpartition("/")[2]
    theirs = {"user_id": other.id, "key_id": key.id, "session_id": session.id, "role": "admin", "job_id": job}
    theirs["invitation_id"] = new_id()
    nobody = dict.fromkeys(theirs, "019a5c1e-7f00-7a11-8b22-3c33d44e55f6")
    routes = _singles()
    assert len(routes) >= 20

    for verb, path in routes:
        body = BODIES.get(f"{verb} {path}")
        answers = [
            await client.request(verb, path.format_map(ids), json=body, headers=nosy.headers)
            for ids in (theirs, nobody)
        ]
        told = [(answer.status_code, answer.json() | {"request_id": None}) for answer in answers]
        assert told[0][0] == 404, (verb, path, answers[0].text)
        assert told[0] == told[1], (verb, path)
        assert str(other.username) not in answers[0].text
    for headers in (other.headers,):
        assert (await client.get(f"/keys/{key.id}", headers=headers)).status_code == 200  # nothing happened to it


async def test_collections_of_others_are_a_403(client: AsyncClient, make_person: MakePerson) -> None:
    nosy = await make_person()

    for route, status in COLLECTIONS.items():
        verb, path = route.split()
        answer = await client.request(verb, path, json={} if verb == "POST" else None, headers=nosy.headers)
        assert answer.status_code == status, (route, answer.text)
        assert answer.json()["code"] == "scope_missing"


@pytest.mark.slow
async def test_who_sees_an_account_is_told_what_he_lacks(client: AsyncClient, make_person: MakePerson) -> None:
    reader, other = await make_person("users:read"), await make_person()

    for verb, path in _singles():
        if "{user_id}" not in path or verb == "GET":
            continue
        body = BODIES.get(f"{verb} {path}")
        answer = await client.request(
            verb, path.format(user_id=other.id, role="admin"), json=body, headers=reader.headers
        )
        assert (answer.status_code, answer.json()["code"]) == (403, "scope_missing"), (verb, path)
