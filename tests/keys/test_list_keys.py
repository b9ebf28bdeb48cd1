from __future__ import annotations

from typing import Any

from httpx import AsyncClient, Response
from pydantic import TypeAdapter

from denizen.core.accounts import Accounts
from denizen.core.ids import new_id
from denizen.keys.schemas import KeyRead
from tests.conftest import BASE_URL, Clock, MakeKey, MakeUser
from tests.keys.conftest import Headers, MakeChild


def names(answer: Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [key["name"] for key in answer.json()]


async def test_keys_come_in_the_order_of_their_making_ended_ones_too(
    client: AsyncClient, make_key: MakeKey, make_child: MakeChild
) -> None:
    root = await make_key()
    made = [await make_child(root, name=f"key {n}") for n in range(5)]
    await client.delete(f"/keys/{made[2]['id']}", headers=root)

    answer = await client.get("/keys/", headers=root)

    everything = answer.json()
    assert names(answer) == ["test", *(f"key {n}" for n in range(5))]
    assert [key["revoked_at"] is None for key in everything] == [True, True, True, False, True, True]
    assert not any(key.keys() & {"token", "token_digest"} for key in everything)
    assert answer.headers["cache-control"] == "no-store"
    assert not answer.headers.keys() & {"link", "x-next-cursor"}


async def test_pages_are_followed_to_the_end_while_keys_come_and_go(
    client: AsyncClient, make_key: MakeKey, make_child: MakeChild
) -> None:
    root = await make_key()
    made = [await make_child(root, name=f"key {n}") for n in range(7)]
    answer = await client.get("/keys", params={"limit": 3}, headers=root)
    seen = names(answer)

    while "link" in answer.headers:
        link, _, relation = answer.headers["link"].partition(">")
        assert (link[: len(BASE_URL) + 8], relation) == (f"<{BASE_URL}/keys/?", '; rel="next"')
        assert answer.headers["x-next-cursor"] in link
        await client.delete(f"/keys/{made[2]['id']}", headers=root)  # where the first page ended
        answer = await client.get(link[1:], headers=root)
        seen += names(answer)

    assert seen == ["test", *(f"key {n}" for n in range(7))]


async def test_ten_come_where_no_number_is_asked_for(
    client: AsyncClient, make_key: MakeKey, make_child: MakeChild
) -> None:
    root = await make_key()
    for number in range(10):
        await make_child(root, name=f"key {number}")

    first = await client.get("/keys/", headers=root)
    rest = await client.get("/keys/", params={"cursor": first.headers["x-next-cursor"]}, headers=root)

    assert (len(first.json()), names(rest)) == (10, ["key 9"])


async def test_answer_is_written_as_the_model_would(
    client: AsyncClient, make_key: MakeKey, make_child: MakeChild, accounts: Accounts, clock: Clock
) -> None:
    clock.turn(microseconds=-clock.at.microsecond)
    root = await make_key()
    await make_child(root, "users:read", name="\u00e9 \U0001f642 \u2028", expires_at="2027-01-01T00:00:00.5Z")
    await make_child(root)

    answer = await client.get("/keys/", headers=root)

    models = TypeAdapter(list[KeyRead])
    assert answer.content == models.dump_json(models.validate_json(answer.content))


async def test_cursor_belongs_to_this_list(
    client: AsyncClient, make_key: MakeKey, make_user: MakeUser, make_child: MakeChild
) -> None:
    root = await make_key()
    await make_child(root)
    await make_user()
    await make_user()
    own = await cursor_of(client, "/keys/", root)
    foreign = await cursor_of(client, "/users/", root)
    flipped = own[:-1] + ("A" if own[-1] != "A" else "B")

    assert len(names(await client.get("/keys/", params={"cursor": own}, headers=root))) == 1
    for path, cursor in [("/keys/", foreign), ("/users/", own), ("/keys/", flipped), ("/keys/", str(new_id()))]:
        answer = await client.get(path, params={"cursor": cursor}, headers=root)
        assert (answer.status_code, answer.json()["code"]) == (422, "cursor_invalid")
        assert answer.json()["field"] == "cursor"
        assert cursor not in answer.text


async def cursor_of(client: AsyncClient, path: str, headers: Headers) -> str:
    answer = await client.get(path, params={"limit": 1}, headers=headers)
    cursor: str = answer.headers["x-next-cursor"]
    return cursor


async def test_what_is_not_understood_is_refused(admin: AsyncClient) -> None:
    refused: dict[str, Any] = {
        "limit=0": "invalid",
        "limit=1001": "invalid",
        f"after={new_id()}": "unknown_parameter",
        "skip=1": "unknown_parameter",
        "limit=1&limit=2": "repeated_parameter",
        "cursor=": "cursor_invalid",
        "cursor=%00": "invalid",
        "cursor=\u00e9": "cursor_invalid",
        "cursor=" + "x" * 3000: "invalid",
    }
    for query, code in refused.items():
        answer = await admin.get(f"/keys/?{query}")
        assert (answer.status_code, answer.json()["code"]) == (422, code), query


async def test_other_methods_are_refused_with_those_that_are_taken(admin: AsyncClient) -> None:
    for path, allowed in {
        "/keys/": "GET, HEAD, POST",
        "/keys/current": "DELETE, GET, HEAD",
        f"/keys/{new_id()}": "DELETE, GET, HEAD",
    }.items():
        answer = await admin.put(path)
        assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
        assert answer.headers["allow"] == allowed
