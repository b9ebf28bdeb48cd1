"""A small application with our router and middleware, for tests that speak to a real server through a socket."""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from denizen.core.docs import mount_docs
from denizen.core.health import CheckResult, health_router
from denizen.core.middleware import AccessLog, RequestId, SecurityHeaders, surround
from denizen.core.problems import add_handlers
from denizen.core.routing import MAX_BODY_SIZE, Router


class Note(BaseModel):
    text: str


router = Router()
hits: list[str] = []


@router.post("/notes/", status_code=201)
async def create_note(note: Note) -> Note:
    """Make a note."""
    hits.append(note.text)
    return note


@router.get("/notes/")
async def list_notes() -> list[str]:
    return hits


@router.get("/headers")
async def read_headers(request: Request) -> list[str]:
    return [name for name, _ in request.headers.items()]


@router.post("/trailers")
async def read_trailers(request: Request) -> list[str]:
    await request.body()
    return [name for name, _ in request.headers.items()]


@router.get("/client")
async def read_client(request: Request) -> str:
    return str(request.client)


@router.get("/slow")
async def be_slow(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "done"


@router.get("/stubborn")
async def be_stubborn() -> str:
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            continue


@router.get("/endless")
async def stream_without_end() -> StreamingResponse:
    async def chunks() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 1000
            await asyncio.sleep(0.01)

    return StreamingResponse(chunks())


@router.get("/large")
async def stream_much() -> StreamingResponse:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(1000):
            yield b"x" * 100_000

    return StreamingResponse(chunks())


let_go = asyncio.Event()


@router.get("/waits")
async def stream_when_let_go() -> StreamingResponse:
    async def chunks() -> AsyncIterator[bytes]:
        await let_go.wait()
        yield b"done"

    return StreamingResponse(chunks())


@router.post("/let-go")
async def let_them_go() -> None:
    let_go.set()


@router.get("/breaks")
async def break_in_the_body() -> StreamingResponse:
    async def read() -> bytes:
        raise RuntimeError("broken")

    async def chunks() -> AsyncIterator[bytes]:
        yield await read()

    return StreamingResponse(chunks())


@router.get("/bytes")
async def give_bytes(size: int) -> Response:
    return Response(b"x" * size)


@router.get("/pid")
async def read_pid() -> int:
    return os.getpid()


@router.post("/crash")
async def crash() -> None:
    os._exit(7)


@router.get("/broken")
async def be_broken() -> None:
    raise RuntimeError("a secret dzk_" + "A" * 43)


@router.get("/split")
async def split_header() -> StreamingResponse:
    return StreamingResponse(iter([b"x"]), headers={"x-note": "a\r\nset-cookie: b=c"})


async def check() -> Sequence[CheckResult]:
    return [CheckResult(name="database", ok=True)]


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    yield
    if "DEMO_HANGS" in os.environ:
        await asyncio.sleep(3600)


app = FastAPI(docs_url=None, redoc_url=None, redirect_slashes=False, lifespan=lifespan)
app.include_router(router.bound({MAX_BODY_SIZE: 100_000}))
app.include_router(health_router(check))
mount_docs(app)
add_handlers(app, whole=True)
surround(app, RequestId, AccessLog, SecurityHeaders)
