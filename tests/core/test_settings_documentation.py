"""docs/configuration.md says of every setting what the code says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from denizen.settings import Settings, variable

DOCUMENT = Path(__file__).parents[2] / "docs" / "configuration.md"


def rows() -> Iterator[str]:
    """The table as it should stand in the document."""
    values = {setting.name: setting.value for setting in Settings(_env_file=None).sources()}
    for name, field in Settings.model_fields.items():
        extra = field.json_schema_extra
        shown = extra.get("shown_default") if isinstance(extra, dict) else None
        default = shown or (f"`{values[variable(name)]}`" if values[variable(name)] else "none")
        yield f"| `{variable(name)}` | {default} | {field.description} |"


def test_every_setting_is_documented_with_its_default() -> None:
    table = [line for line in DOCUMENT.read_text(encoding="utf-8").splitlines() if line.startswith("| `DENIZEN_")]

    assert table == list(rows()), "write this table into docs/configuration.md:\n" + "\n".join(rows())


def test_every_setting_says_what_it_means() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, f"{name} has no description"
        assert field.description.endswith("."), f"{name}: a sentence ends in a full stop"
