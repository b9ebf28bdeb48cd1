"""Somebody else's application with Denizen in it, as plain Uvicorn runs it."""

from fastapi import FastAPI

from denizen import install

app = FastAPI()
install(app, prefix="/accounts")


@app.get("/healthz")
async def read_health() -> str:
    """Say that the host is there."""
    return "ok"
