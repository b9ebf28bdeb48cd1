"""`denizen openapi`: the document, from anywhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run


@pytest.mark.slow
def test_document_needs_no_database_and_leaves_nothing_behind(denizen: Run, tmp_path: Path) -> None:
    printed = denizen("openapi")

    document = json.loads(printed.stdout)
    assert document["openapi"].startswith("3.")
    assert "/users/" in document["paths"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_document_needs_no_secret_on_postgresql_and_goes_to_a_file(denizen: Run, tmp_path: Path) -> None:
    done = denizen("openapi", "--output", "openapi.json", DATABASE_URL="postgresql://me@db/x", PREFIX="/accounts")

    assert (done.returncode, done.stdout) == (0, "")
    assert "/accounts/users/" in json.loads((tmp_path / "openapi.json").read_text())["paths"]


@pytest.mark.slow
def test_folder_that_is_not_there_is_named(denizen: Run) -> None:
    refused = denizen("openapi", "--output", "none/openapi.json")

    assert refused.returncode == 1
    assert refused.stderr == "Error: none/openapi.json: No such file or directory\n"
