"""What is refused as a part of something, or hidden behind a 404, is written down as any other refusal."""

from __future__ import annotations

import json

from httpx import AsyncClient

from denizen.audit.service import WRITTEN_A_MINUTE, write_counts
from denizen.core.accounts import Accounts
from denizen.core.ids import new_id
from tests.audit.test_write_entries import entries
from tests.conftest import MakePerson


async def refusals(accounts: Accounts) -> list[tuple[str, str, str, int]]:
    refused = [each for each in await entries(accounts) if each.outcome == "refused"]
    found = [(json.loads(each.facts), str(each.subject_id), each.count) for each in refused]
    return [(facts["code"], facts["act"], subject, count) for facts, subject, count in found]


async def test_a_404_for_what_is_somebody_elses(
    client: AsyncClient, accounts: Accounts, make_person: MakePerson
) -> None:
    boss, eve = await make_person(roles=["admin"]), await make_person()
    key = (await client.post("/keys/", json={"name": "x", "scopes": ["users:read"]}, headers=boss.headers)).json()
    csv = boss.headers | {"Content-Type": "text/csv"}
    await client.post("/users/import", content="username\nmo\n", headers=csv)
    [job] = (await client.get("/jobs/", headers=boss.headers)).json()
    invitation = (await client.post("/invitations/", json={"email": "a@example.org"}, headers=boss.headers)).json()
    [session] = (await client.get("/auth/sessions", headers=boss.headers)).json()

    for method, path, thing, owner in (
        ("GET", "/keys/{key_id}", key, str(boss.id)),
        ("DELETE", "/keys/{key_id}", key, str(boss.id)),
        ("GET", "/jobs/{job_id}", job, "None"),
        ("GET", "/jobs/{job_id}/results", job, "None"),
        ("GET", "/invitations/{invitation_id}", invitation, "None"),
        ("DELETE", "/auth/sessions/{session_id}", session, str(boss.id)),
    ):
        name = path.partition("{")[2].partition("}")[0]
        answer = await client.request(method, path.format(**{name: thing["id"]}), headers=eve.headers)
        assert answer.status_code == 404, (path, answer.text)
        assert (await refusals(accounts))[-1] == ("scope_missing", f"{method} {path}", owner, 1)
    before = len(await refusals(accounts))
    assert (await client.get(f"/keys/{new_id()}", headers=eve.headers)).status_code == 404
    assert (await client.delete(f"/auth/sessions/{new_id()}", headers=eve.headers)).status_code == 404
    assert len(await refusals(accounts)) == before  # that is nobody's


async def test_operations_of_a_batch(client: AsyncClient, accounts: Accounts, make_person: MakePerson) -> None:
    boss, clerk = await make_person(roles=["admin"]), await make_person("users:read", "users:write")
    operation = {"op": "patch", "id": str(boss.id), "changes": {"full_name": "Mine"}}

    body = {"operations": [operation] * (WRITTEN_A_MINUTE + 60)}
    answer = await client.post("/users/batch", json=body, headers=clerk.headers)
    await write_counts(accounts)

    assert (answer.status_code, answer.json()["failed"]) == (200, WRITTEN_A_MINUTE + 60)
    *single, counted = await refusals(accounts)
    assert single == [("beyond_caller", "POST /users/batch", str(boss.id), 1)] * WRITTEN_A_MINUTE
    assert counted == ("beyond_caller", "POST /users/batch", "None", 60)


async def test_a_404_in_place_of_a_403(client: AsyncClient, accounts: Accounts, make_person: MakePerson) -> None:
    boss, nobody = await make_person(roles=["admin"]), await make_person()

    for method, path in (
        ("DELETE", "/users/{user_id}"),
        ("GET", "/users/{user_id}"),
        ("GET", "/users/{user_id}/roles"),
        ("POST", "/users/{user_id}/suspend"),
    ):
        headers = nobody.headers | {"Content-Type": "application/json"}
        answer = await client.request(method, path.format(user_id=boss.id), content="{}", headers=headers)
        assert answer.status_code == 404, path
        assert (await refusals(accounts))[-1] == ("scope_missing", f"{method} {path}", str(boss.id), 1)
