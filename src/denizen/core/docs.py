"""Swagger UI from our own origin: no CDN, no inline script, a strict content security policy."""

from __future__ import annotations

import hashlib
import html
import json
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from typing import Any, Final

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from denizen.core.errors import NotFound

# Swagger UI shows its icons as data: images and styles its own elements through the DOM, which no policy touches.
CSP: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PACKAGE: Final = "fastapi_swagger.resources"
_PACKAGED: Final = {
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "swagger-ui.css": "text/css; charset=utf-8",
    "favicon-32x32.png": "image/png",
}
_START: Final = "start.js"
_FOR_EVER: Final = "public, max-age=31536000, immutable"

_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" type="image/png" href="{base}/favicon-32x32.png?v={v}">
<link rel="stylesheet" href="{base}/swagger-ui.css?v={v}">
</head>
<body>
<div id="swagger-ui"></div>
<noscript>This page needs JavaScript. The description itself is at <a href="{openapi}">{openapi}</a>.</noscript>
<script src="{base}/swagger-ui-bundle.js?v={v}"></script>
<script src="{base}/start.js?v={v}"></script>
</body>
</html>
"""

# The page is at .../docs, so that relative addresses are right behind any prefix, known to this server or not.
_SCRIPT: Final = """"use strict";
window.ui = SwaggerUIBundle(Object.assign(%s, {
  dom_id: "#swagger-ui",
  presets: [SwaggerUIBundle.presets.apis, SwaggerUIBundle.SwaggerUIStandalonePreset || []].flat(),
}));
"""


def mount_docs(app: FastAPI, *, path: str = "/docs", title: str | None = None) -> None:
    """Serve Swagger UI at `path` and its files below it. `app` is made with `docs_url=None, redoc_url=None`.

    Args:
        app: the application; its `openapi_url` is shown.
        path: starts with a slash and does not end in one.
        title: of the page.
    """
    above, _, name = path.rpartition("/")
    openapi = _relative(above, app.openapi_url or "/openapi.json")
    script = (_SCRIPT % json.dumps(_options(openapi))).encode()
    seal = hashlib.sha256(script + version("fastapi-swagger").encode()).hexdigest()[:16]
    title = html.escape(title or f"{app.title}: API")
    text = _PAGE.format(title=title, base=html.escape(name), openapi=html.escape(openapi), v=seal)
    page, start = _tagged(text.encode()), _tagged(script)

    async def read_page(request: Request) -> Response:
        return _answer(request, page, "text/html; charset=utf-8", "no-cache")

    async def read_file(request: Request) -> Response:
        file = request.path_params["file"]
        if file == _START:
            content, kind = start, "text/javascript; charset=utf-8"
        elif file in _PACKAGED:
            content, kind = _packaged(file), _PACKAGED[file]
        else:
            raise NotFound("There is nothing at this address.")
        lasting = request.query_params.get("v") == seal
        return _answer(request, content, kind, _FOR_EVER if lasting else "no-cache")

    async def read_page_slash(_: Request) -> Response:
        return RedirectResponse(f"../{name}")

    app.add_route(path, read_page, include_in_schema=False)
    app.add_route(f"{path}/", read_page_slash, include_in_schema=False)
    app.add_route(f"{path}/{{file}}", read_file, include_in_schema=False)


def _options(openapi: str) -> dict[str, Any]:
    return {
        "url": openapi,
        "deepLinking": True,
        "displayRequestDuration": True,
        "filter": True,
        "persistAuthorization": True,
        "tryItOutEnabled": True,
        "layout": "BaseLayout",
        "validatorUrl": None,
    }


def _relative(above: str, target: str) -> str:
    """Give `target` as seen from a page in the folder `above`; both are paths below one root."""
    if target.startswith(f"{above}/"):
        return target[len(above) + 1 :]
    return "../" * above.count("/") + target.lstrip("/")


@cache
def _packaged(file: str) -> tuple[bytes, str]:
    return _tagged(files(_PACKAGE).joinpath(file).read_bytes())


def _tagged(body: bytes) -> tuple[bytes, str]:
    return body, f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def _answer(request: Request, content: tuple[bytes, str], kind: str, lasting: str) -> Response:
    """Answer with a body and its tag, or with 304 to a browser that has it."""
    body, tag = content
    headers = {
        "etag": tag,
        "cache-control": lasting,
        "content-security-policy": CSP,
        "x-content-type-options": "nosniff",
    }
    known = {known.strip().removeprefix("W/") for known in request.headers.get("if-none-match", "").split(",")}
    if tag in known or "*" in known:
        return Response(status_code=304, headers=headers)
    return Response(body, media_type=kind, headers=headers)
