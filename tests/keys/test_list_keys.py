from __future__ import annotations

from httpx import AsyncClient

from denizen.core.ids import new_id
from tests.conftest import MakeKey
from tests.keys.conftest import MakeChild


async def test_keys_come_in_the_order_of_their_making_ended_ones_too(
    client: AsyncClient, make_key: MakeKey, make_child: MakeChild
) -> None:
    root = await make_key()
    made = [await make_child(root, name=f"key {n}") for n in range(5)]
    await client.delete(f"/keys/{made[2]['id']}", headers=root)

    everything = (await client.get("/keys/", headers=root)).json()
    paged = (await client.get("/keys", params={"limit": 2, "after": made[0]["id"]}, headers=root)).json()

    assert [key["name"] for key in everything] == ["test", *(f"key {n}" for n in range(5))]
    assert [key["name"] for key in paged] == ["key 1", "key 2"]
    assert [key["revoked_at"] is None for key in everything] == [True, True, True, False, True, True]
    assert not any(key.keys() & {"token", "token_digest"} for key in everything)
    assert (await client.get("/keys/", params={"after": str(new_id())}, headers=root)).json() == []


async def test_what_is_not_understood_is_refused(admin: AsyncClient) -> None:
    for query, code in {
        "limit=0": "invalid",
        "limit=1001": "invalid",
        "after=7": "invalid",
        "skip=1": "unknown_parameter",
        "limit=1&limit=2": "repeated_parameter",
    }.items():
        answer = await admin.get(f"/keys/?{query}")
        assert (answer.status_code, answer.json()["code"]) == (422, code), query


async def test_other_methods_are_refused_with_those_that_are_taken(admin: AsyncClient) -> None:
    for path, allowed in {"/keys/": "GET, POST", "/keys/current": "DELETE, GET", f"/keys/{new_id()}": "DELETE"}.items():
        answer = await admin.put(path)
        assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
        assert answer.headers["allow"] == allowed
