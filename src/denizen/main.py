"""What `uvicorn denizen.main:app` and `fastapi dev` load."""

from __future__ import annotations

from denizen.app import create_app

app = create_app()
