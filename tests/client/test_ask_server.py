"""What programs do with a client: people, lists, files, sign-ins; the same from asyncio and from threads."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest

from denizen import EmailTaken, UserNotFound
from denizen.client import (
    AsyncClient,
    BatchUser,
    Client,
    CreateOperation,
    DeleteOperation,
    ImportSummary,
    KeyCreate,
    Registration,
    RoleCreate,
    SignUpAsked,
    Unreachable,
    UserCreate,
    UserUpdate,
)
from denizen.core.auth import CredentialsInvalid, ScopeMissing
from denizen.core.errors import Invalid
from denizen.core.ids import new_id
from denizen.users.errors import UserChanged
from tests.client.conftest import Reach

ADA = UserCreate(username="ada", email="ada@example.org", password="correct horse battery")


async def test_an_account_is_made_read_changed_and_deleted(denizen: AsyncClient) -> None:
    ada = await denizen.create_user(ADA)
    await denizen.update_user(ada.id, UserUpdate(full_name="Ada"), if_version=ada.version)

    with pytest.raises(UserChanged):
        await denizen.update_user(ada.id, UserUpdate(full_name=None), if_version=ada.version)
    found = await denizen.get_user(ada.id)
    suspended = await denizen.suspend_user(ada.id, reason="Chargeback")
    await denizen.delete_user(ada.id)

    assert (found.full_name, found.version) == ("Ada", 2)
    assert suspended.suspended_at is not None
    with pytest.raises(UserNotFound):
        await denizen.get_user(ada.id)
    assert (await denizen.restore_user(ada.id)).id == ada.id


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_a_refusal_is_the_class_that_the_server_raised(denizen: AsyncClient) -> None:
    await denizen.create_user(ADA)

    with pytest.raises(EmailTaken) as raised:
        await denizen.create_user(ADA.model_copy(update={"username": "countess"}))
    with pytest.raises(Invalid) as invalid:
        await denizen.create_user(UserCreate.model_construct(username="x"))

    assert raised.value.field == "email"
    assert raised.value.request_id
    assert {each.field for each in invalid.value.errors} == {"email", "password"}


async def test_lists_go_on_page_by_page(denizen: AsyncClient) -> None:
    done = await denizen.run_user_batch(
        [CreateOperation(op="create", user=BatchUser(username=f"p{n}", email=f"p{n}@example.org")) for n in range(5)]
    )
    first = done.results[0].id
    await denizen.run_user_batch([DeleteOperation(op="delete", id=str(first))])

    everybody = [person.username async for person in denizen.list_users(limit=2)]
    some = [person.username async for person in denizen.list_users(id__in=[first or new_id()], is_active=True)]
    page = await denizen.list_users_page(limit=3, count="exact")
    found = await denizen.search_users("p3")

    assert everybody == ["p1", "p2", "p3", "p4"]
    assert some == []
    assert (len(page.items), page.total, page.cursor is not None) == (3, 4, True)
    assert [person.username for person in found.items] == ["p3"]


async def test_people_go_out_and_come_in(denizen: AsyncClient) -> None:
    rows = b"mail,username\nada@example.org,ada\nnobody,\n"

    async def pieces() -> object:
        yield rows[:20]
        yield rows[20:]

    told = [each async for each in denizen.import_users(pieces(), format="csv", rename={"mail": "email"})]
    exported = [each async for each in denizen.export_users()]
    file = b"".join([each async for each in denizen.export_file("csv")])

    assert isinstance(told[-1], ImportSummary)
    assert (told[-1].created, told[-1].refused) == (1, 1)
    assert [each.email for each in exported] == ["ada@example.org"]
    assert file.startswith(b"id,username,email")


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_a_person_signs_in_and_out(denizen: AsyncClient, reach: Reach) -> None:
    async with reach() as stranger:
        ada = await stranger.register(Registration(**ADA.model_dump(include={"username", "email", "password"})))
        signed_in = await stranger.sign_in("ada@example.org", "correct horse battery")
        own = stranger.with_token(signed_in.access_token)
        tokens = await own.create_tokens()
        renewed = await stranger.refresh_tokens(tokens.refresh_token or "")
        told = await denizen.introspect_token(renewed.access_token)

        assert not isinstance(ada, SignUpAsked)
        assert (await own.get_me()).id == ada.id
        assert told.active
        assert told.sub == str(ada.id)
        with pytest.raises(ScopeMissing):
            await own.create_role(RoleCreate(name="boss", permissions={"users:read"}))
        await own.sign_out()
        with pytest.raises(CredentialsInvalid):
            await own.get_me()


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_rights_are_given(denizen: AsyncClient) -> None:
    ada = await denizen.create_user(ADA)
    await denizen.create_role(RoleCreate(name="support", permissions={"users:read"}))
    key = await denizen.create_key(KeyCreate(name="nightly", scopes={"users:read"}))

    roles = await denizen.grant_role(ada.id, "support")
    known = denizen.with_token(key.token)
    done = [each.action async for each in denizen.list_audit(subject_id=ada.id)]

    assert [role.name for role in roles] == ["support"]
    assert (await known.get_current_key()).name == "nightly"
    assert "user.created" in done


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_threads_ask_the_same(waiting: Client) -> None:
    def work() -> tuple[list[UUID], list[str | None], bytes]:
        made = [
            waiting.create_user(
                UserCreate(username=f"p{n}", email=f"p{n}@example.org", password="correct horse battery")
            )
            for n in range(3)
        ]
        with pytest.raises(EmailTaken):
            waiting.create_user(UserCreate(username="x", email="P1@example.org", password="correct horse battery"))
        summary = list(waiting.import_users(b'{"email": "a@example.org"}\n', format="ndjson"))[-1]
        assert isinstance(summary, ImportSummary)
        listed = [person.id for person in waiting.list_users(limit=2)]
        exported = [person.username for person in waiting.export_users()]
        assert listed[:3] == [person.id for person in made]
        return listed, exported, b"".join(waiting.export_file("ndjson"))

    listed, exported, file = await asyncio.to_thread(work)

    assert len(listed) == 4
    assert exported == ["p0", "p1", "p2", None]
    assert file.count(b"\n") == 4


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_an_import_that_was_cut_off_goes_on(denizen: AsyncClient) -> None:
    rows = b'{"email": "a@example.org"}\n'
    first = [each async for each in denizen.import_users(rows, format="ndjson", idempotency_key="people-1")]
    second = [each async for each in denizen.import_users(rows, format="ndjson", idempotency_key="people-1")]
    decoder = denizen.import_users.__wrapped__(rows, format="ndjson").decoder()  # type: ignore[attr-defined]  # set by `wraps`

    assert [type(each) for each in second] == [type(each) for each in first]
    assert list(decoder.feed(b'{"line":1,"outcome":"created"}\n{"su'))
    with pytest.raises(Unreachable, match="cut off"):
        list(decoder.finish())
