"""Own fields go in and come out with the accounts they are of, on both databases and in both forms."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict
from sqlalchemy import delete

from denizen.core.accounts import Accounts
from denizen.core.assembly import assemble
from denizen.core.hashers import NullHasher
from denizen.core.profile_sources import profile_of_model
from denizen.directory.schemas import UserFilter
from denizen.settings import Settings
from denizen.transfer.adapters.formats import make_reader
from denizen.transfer.errors import ColumnRepeated, ColumnUnknown, MappingInvalid
from denizen.transfer.schemas import (
    EXPORTED,
    Columns,
    Format,
    ImportOptions,
    Mode,
    RowResult,
    described,
    read_mappings,
)
from denizen.transfer.service import export_users, import_users, plan_export
from denizen.users.models import User
from tests.transfer.conftest import in_pieces, told


class Staff(BaseModel):
    """What these accounts have besides."""

    model_config = ConfigDict(extra="forbid")

    department: str
    level: int | None = None
    jobTitle: str | None = None  # noqa: N815  (hosts name fields as they like)
    remote: bool = False
    hours: float = 40.0
    badge: int | str | None = None
    since: date | None = None
    tags: list[str] = []


USUAL: dict[str, Any] = {
    "level": None,
    "jobTitle": None,
    "remote": False,
    "hours": 40.0,
    "badge": None,
    "since": None,
    "tags": [],
}
OWN = tuple(f"profile.{name}" for name in Staff.model_fields)


@pytest.fixture
def overrides() -> dict[str, Any]:
    return {"profile": f"{__name__}:{Staff.__name__}"}


async def bring(
    accounts: Accounts,
    data: str | Sequence[dict[str, Any]],
    *,
    form: Format = "csv",
    mode: Mode = "create",
    dry_run: bool = False,
    maps: Sequence[str] = (),
    ignore_unknown: bool = False,
) -> list[RowResult]:
    if not isinstance(data, str):
        form, data = "ndjson", "".join(json.dumps(row) + "\n" for row in data)
    columns, options = Columns(accounts.profile), ImportOptions(mode, "username", dry_run=dry_run)
    reader = make_reader(
        form,
        columns=columns,
        renamed=read_mappings(maps, columns),
        needed=options.needed,
        ignore_unknown=ignore_unknown,
    )
    parts = import_users(accounts, in_pieces(data.encode()), reader, options)
    return [result async for part in parts for result in part]


async def take_out(accounts: Accounts, form: Format = "ndjson") -> str:
    extract = plan_export(UserFilter(), form, with_hashes=False, profile=accounts.profile)
    return b"".join([part.data async for part in export_users(accounts.database, extract)]).decode()


async def profiles(accounts: Accounts) -> dict[str, dict[str, Any]]:
    """The own fields of everybody, as an export has them."""
    rows = map(json.loads, (await take_out(accounts)).encode().splitlines())
    return {row["username"]: row["profile"] for row in rows}


async def test_columns_of_csv_become_own_fields(accounts: Accounts) -> None:
    results = await bring(
        accounts,
        "username,profile.department,Profile.JobTitle,profile.remote,profile.level,profile.tags,profile\n"
        'ada,sales,,TRUE,7,"[""a"", ""b""]",\n'
        "bob,sales,Boss,yes,,,\n"
        "cyd,,Boss,,,,\n"
        'dan,,,,,,"{""department"": ""law"", ""level"": null}"\n'
        'eve,sales,,,,,"{""department"": ""law""}"\n'
        "fay,law,,,,,law\n"
        "gus,,,,,,\n",
    )

    assert told(results) == [
        (2, "created"),
        (3, "profile_invalid"),
        (4, "profile_invalid"),
        (5, "created"),
        (6, "member_repeated"),
        (7, "type_invalid"),
        (8, "created"),
    ]
    assert [result.field for result in results[1:3]] == ["profile.remote", "profile.department"]
    assert await profiles(accounts) == {
        "ada": USUAL | {"department": "sales", "remote": True, "level": 7, "tags": ["a", "b"]},
        "dan": USUAL | {"department": "law"},
        "gus": {},  # gets them later, as whom the command line creates without any
    }


async def test_members_of_ndjson_become_own_fields(accounts: Accounts) -> None:
    rows: list[dict[str, Any]] = [
        {"username": "ada", "profile": {"department": "sales", "level": 7, "badge": "7"}},
        {"username": "bob", "profile.department": "law", "profile.tags": ["x"], "profile.level": None},
        {"username": "cyd", "profile": {"level": 1}, "profile.department": "law"},
        {"username": "dan", "profile": {"department": 7, "level": "high"}},
        {"username": "eve", "profile": {"department": "law", "shoe": 42}},
        {"username": "fay", "profile": ["law"]},
        {"username": "gus", "profile.department": "law", "profile.shoe": 42},
    ]

    results = await bring(accounts, rows)

    assert told(results)[:3] == [(1, "created"), (2, "created"), (3, "created")]
    assert [(result.code, result.field) for result in results[3:]] == [
        ("profile_invalid", "profile.department"),
        ("profile_invalid", "profile.shoe"),
        ("type_invalid", "profile"),
        ("column_unknown", None),
    ]
    assert "profile.level" in str(results[3].message)
    assert await profiles(accounts) == {
        "ada": USUAL | {"department": "sales", "level": 7, "badge": "7"},
        "bob": USUAL | {"department": "law", "tags": ["x"]},
        "cyd": USUAL | {"department": "law", "level": 1},
    }


async def test_a_mapping_names_own_fields(accounts: Accounts) -> None:
    mapped = await bring(accounts, "username,dept\nada,sales\n", maps=["dept=profile.department"])

    assert told(mapped) == [(2, "created")]
    with pytest.raises(MappingInvalid, match=r"profile\.department"):
        await bring(accounts, "username,dept\nbob,sales\n", maps=["dept=profile.dept"])


async def test_a_column_of_no_own_field_refuses_the_file(accounts: Accounts) -> None:
    for rows in ("username,profile.shoe\nada,42\n", [{"username": "ada", "profile.shoe": 42}]):
        with pytest.raises(ColumnUnknown, match=r"do not have: profile\.shoe\. .* profile\.department,") as refused:
            await bring(accounts, rows)

        assert refused.value.field == "profile.shoe"


async def test_upsert_changes_the_own_fields_that_a_row_has(accounts: Accounts) -> None:
    await bring(
        accounts,
        "username,profile.department,profile.level,profile.hours\n"
        "ada,sales,7,1000\nbob,sales,7,20\ncyd,sales,,\ndan,,,\neve,,,\n",
    )
    change: list[dict[str, Any]] = [
        {"username": "ada", "profile": {"department": "sales", "hours": 1e3}},
        {"username": "bob", "profile": {"level": None}, "profile.department": "law"},
        {"username": "cyd", "profile": {}, "full_name": "Cyd"},
        {"username": "dan", "profile": {"level": 1}},
        {"username": "eve", "profile": {"department": "law"}},
        {"username": "fay", "profile": {"level": 1}},
        {"username": "gus", "profile.department": "law"},
    ]
    before = await profiles(accounts)

    foreseen = await bring(accounts, change, mode="upsert", dry_run=True)
    assert await profiles(accounts) == before
    results = await bring(accounts, change, mode="upsert")

    outcomes = [result.code or result.outcome for result in results]
    assert outcomes == ["unchanged", "updated", "updated", "profile_invalid", "updated", "profile_invalid", "created"]
    assert [result.code or result.outcome for result in foreseen] == [*outcomes[:-1], "valid"]
    assert await profiles(accounts) == {
        **before,
        "bob": USUAL | {"department": "law", "hours": 20.0},
        "eve": USUAL | {"department": "law"},
        "gus": USUAL | {"department": "law"},
    }
    # Cells that are empty leave what is there, and nobody is changed twice for the same.
    again = await bring(accounts, "username,profile.department,profile.level\nbob,law,\ncyd,,\n", mode="upsert")
    assert [result.outcome for result in again] == ["unchanged", "unchanged"]


async def test_who_was_imported_is_found_by_own_fields(accounts: Accounts) -> None:
    async def found(text: str) -> list[str]:
        asked = UserFilter.model_validate({"profile.department": text})
        extract = plan_export(asked, "ndjson", with_hashes=False, profile=accounts.profile)
        parts = [part.data async for part in export_users(accounts.database, extract)]
        return [json.loads(line)["username"] for line in b"".join(parts).splitlines()]

    await bring(accounts, "username,profile.department\nada,sales\nbob,law\ncyd,sales\ndan,\n")
    await bring(accounts, "username,profile.department\nada,law\n", mode="upsert")

    assert (await found("sales"), await found("law")) == (["cyd"], ["ada", "bob"])


NASTY: list[dict[str, Any]] = [
    {"department": text, "jobTitle": other, "badge": badge}
    for text, other, badge in [
        ("=1+1", None, 7),
        ("", "", "7"),
        ("'", "'=x", "null"),
        ('a"b', "a,b\r\nc", '"'),
        ("null", "true", "=1"),
        ("👑 %s \\ \u2028", "'", None),
        ("+1", "@x\t", ""),
    ]
] + [
    {"department": "x", "hours": 0.1 + 0.2, "level": -7, "remote": True, "since": "2026-01-31", "tags": ['",', "=a"]},
    {"department": "x", "hours": -1e-7, "level": 2**63 - 1, "tags": [""]},
]


@pytest.mark.parametrize("form", ["csv", "ndjson"])
async def test_own_fields_come_back_as_they_were(accounts: Accounts, form: Format) -> None:
    rows = [{"username": f"u{number}", "profile": own} for number, own in enumerate(NASTY)]
    results = await bring(accounts, [*rows, {"username": "later"}])
    assert {result.outcome for result in results} == {"created"}
    before, exported = await profiles(accounts), await take_out(accounts, form)
    async with accounts.writing() as db:
        await db.execute(delete(User))

    results = await bring(accounts, exported, form=form)

    assert {result.outcome for result in results} == {"created"}
    assert await profiles(accounts) == before == {f"u{n}": USUAL | own for n, own in enumerate(NASTY)} | {"later": {}}
    assert {result.outcome for result in await bring(accounts, exported, form=form, mode="upsert")} == {"unchanged"}


async def test_csv_has_a_column_for_each_own_field(accounts: Accounts) -> None:
    await bring(accounts, [{"username": "ada", "profile": {"department": "=1", "remote": True, "level": -7}}])

    header, line = (await take_out(accounts, "csv")).splitlines()

    assert header.split(",") == [*EXPORTED, *OWN]
    assert line.endswith(",'=1,-7,,true,40.0,,,[]")


async def test_without_own_fields_there_are_none(settings: Settings) -> None:
    accounts = assemble(settings.model_copy(update={"profile": None}), (), hasher=NullHasher())
    try:
        results = await bring(accounts, [{"username": "ada", "profile": {}}, {"username": "bob", "profile": {"a": 1}}])

        assert [(result.code, result.field) for result in results] == [(None, None), ("profile_invalid", "profile")]
        assert await profiles(accounts) == {"ada": {}}
        assert (await take_out(accounts, "csv")).splitlines()[0].split(",") == list(EXPORTED)
        with pytest.raises(ColumnUnknown):
            await bring(accounts, "username,profile.department\nada,sales\n")
    finally:
        await accounts.close()


class Easy(BaseModel):
    level: int = 0


async def test_an_export_that_goes_in_again_brings_the_defaults_of_new_fields(
    accounts: Accounts, settings: Settings
) -> None:
    await bring(accounts, "username\nada\n")
    exported = await take_out(accounts)
    later = assemble(settings.model_copy(update={"profile": f"{__name__}:{Easy.__name__}"}), (), hasher=NullHasher())
    try:
        results = [await bring(later, exported, form="ndjson", mode="upsert") for _ in range(2)]

        assert [[result.outcome for result in each] for each in results] == [["updated"], ["unchanged"]]
        assert await profiles(later) == {"ada": {"level": 0}}
    finally:
        await later.close()


async def test_fields_that_are_no_more_are_left_out_where_the_unknown_is_ignored(
    accounts: Accounts, settings: Settings
) -> None:
    await bring(accounts, [{"username": "ada", "profile": {"department": "sales", "level": 3}}])
    exported = await take_out(accounts)
    later = assemble(settings.model_copy(update={"profile": f"{__name__}:{Easy.__name__}"}), (), hasher=NullHasher())
    try:
        (refused,) = await bring(later, exported, form="ndjson", mode="upsert")
        (updated,) = await bring(later, exported, form="ndjson", mode="upsert", ignore_unknown=True)
        cells = 'username,profile\nada,"{""department"": ""sales"", ""level"": 4}"\neve,[1]\n'
        by_cell, no_object = await bring(later, cells, mode="upsert", ignore_unknown=True)

        assert (refused.code, updated.outcome, by_cell.outcome) == ("profile_invalid", "updated", "updated")
        assert no_object.code == "type_invalid"
        assert await profiles(later) == {"ada": {"level": 4}}
    finally:
        await later.close()


async def test_other_own_fields_are_another_import(accounts: Accounts) -> None:
    class More(Staff):
        shoe: int = 42

    def told_with(profile: Any) -> dict[str, Any]:
        return described(ImportOptions(), "csv", {}, ignore_unknown=False, profile=profile)

    assert told_with(accounts.profile) == told_with(profile_of_model(Staff))
    assert told_with(accounts.profile) != told_with(profile_of_model(More))
    assert "profile" not in told_with(None)


def test_columns_are_those_of_the_fields_that_there_may_be() -> None:
    class Free(BaseModel):
        model_config = ConfigDict(extra="allow")

        Level: int = 0
        level: int = 0

    def read(form: Format, data: bytes) -> list[Any]:
        reader = make_reader(form, columns=Columns(profile_of_model(Free)))
        return [row.values for row in (*reader.feed(data), *reader.finish())]

    assert read("csv", b"username,profile.level,profile.Level-Grade,profile.Level,profile.Shoe\nada,1,,2,42\n") == [
        {"username": "ada", "profile": {"level": 1, "Level": 2, "Shoe": 42}}
    ]
    assert read("ndjson", b'{"username": "ada", "profile.Level": 2, "profile.shoe": [42]}\n') == [
        {"username": "ada", "profile": {"Level": 2, "shoe": [42]}}
    ]
    with pytest.raises(ColumnUnknown):
        read("ndjson", b'{"username": "ada", "profile.a b": 1}\n')
    with pytest.raises(ColumnRepeated):
        read("csv", b"username,profile.Level,profile.Level\nada,1,1\n")
