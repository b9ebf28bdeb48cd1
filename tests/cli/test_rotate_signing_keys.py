"""`denizen signing-keys list | rotate`, and what `denizen doctor` says of the keys, on both databases."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Command


def test_keys_are_listed_and_changed(command: Command) -> None:
    assert command("signing-keys", "list", "--json").rows == []

    first = command("signing-keys", "rotate", "--json").row
    second = command("signing-keys", "rotate", "--json").row
    again = command("signing-keys", "rotate", "--json").row

    assert (first["state"], second["state"]) == ("signing", "waiting")
    assert again == second
    listed = command("signing-keys", "list", "--json").rows
    assert [(key["id"], key["state"]) for key in listed] == [(first["id"], "signing"), (second["id"], "waiting")]
    assert listed[0]["signs_until"] == listed[1]["signs_from"]
    assert "private" not in listed[0]


def test_a_leaked_key_is_withdrawn(command: Command) -> None:
    leaked = [command("signing-keys", "rotate", "--json").row["id"] for _ in range(2)]

    made = command("signing-keys", "rotate", "--now", "--json").row

    assert made["state"] == "signing"
    states = {key["id"]: key["state"] for key in command("signing-keys", "list", "--json").rows}
    assert states == {made["id"]: "signing", **dict.fromkeys(leaked, "withdrawn")}
    assert made["id"] in command("signing-keys", "list").out


@pytest.mark.slow
def test_doctor_tells_of_another_secret(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def found() -> str:
        rows = {row["check"]: row for row in command("doctor", "--json").rows}
        return f"{rows['signing_keys']['state']}: {rows['signing_keys']['advice']}"

    assert found() == "ok: "
    command("signing-keys", "rotate")
    assert found() == "ok: "
    monkeypatch.setenv("DENIZEN_SECRET_KEY", "vN4c8Xq1Ld6Zs9Tm2Wb7Yk3Hf5Gr0PaJe")
    assert found().startswith("fail: Put the old DENIZEN_SECRET_KEY back")
    command("signing-keys", "rotate", "--now")
    assert found() == "ok: "
