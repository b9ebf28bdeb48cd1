"""The OpenAPI document of the standalone application, as it is kept beside the tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from denizen.app import create_app
from denizen.settings import Settings
from tests.conftest import SECRET

SNAPSHOT = Path(__file__).with_name("openapi.json")


def document() -> dict[str, Any]:
    """The document, with settings that are nobody's."""
    settings = Settings(_env_file=None, database_url="sqlite:///nowhere.db", secret_key=SECRET)
    return create_app(settings).openapi()


def written(document: dict[str, Any]) -> str:
    """A text in which only what changed differs."""
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
