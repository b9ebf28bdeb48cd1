import re
from pathlib import Path

import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient

from denizen.core.docs import mount_docs
from denizen.core.problems import add_handlers
from tests.browser import Browser, find_chromium
from tests.server.running import running


def client_of(*, path: str = "/docs", openapi_url: str = "/openapi.json", title: str = "Denizen") -> AsyncClient:
    app = FastAPI(docs_url=None, redoc_url=None, title=title, openapi_url=openapi_url)
    mount_docs(app, path=path)
    add_handlers(app, whole=True)
    return AsyncClient(transport=ASGITransport(app), base_url="http://test")


async def test_page_and_all_it_needs_come_from_us() -> None:
    async with client_of() as client:
        page = await client.get("/docs")
        found = re.findall(r'(?:src|href)="([^"]+)"', page.text)
        answers = [await client.get(f"http://test/{address}") for address in found]

    assert len(found) >= 5
    assert {answer.status_code for answer in answers} == {200}
    assert "://" not in page.text
    assert "<script>" not in page.text


async def test_policy_lets_in_no_inline_script_and_no_other_origin() -> None:
    async with client_of() as client:
        policy = (await client.get("/docs")).headers["content-security-policy"]

    assert "unsafe" not in policy
    assert "http" not in policy
    assert "script-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy


async def test_files_are_kept_for_ever_under_their_version_alone() -> None:
    async with client_of() as client:
        page = await client.get("/docs")
        address = re.findall(r'src="([^"]+bundle[^"]+)"', page.text)[0]
        versioned, plain = await client.get(f"/{address}"), await client.get("/docs/swagger-ui-bundle.js")
        again = await client.get(f"/{address}", headers={"if-none-match": versioned.headers["etag"]})

    assert versioned.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert plain.headers["cache-control"] == page.headers["cache-control"] == "no-cache"
    assert versioned.headers["etag"] == plain.headers["etag"]
    assert again.status_code == 304
    assert again.content == b""


async def test_nothing_else_is_served_from_the_package() -> None:
    async with client_of() as client:
        for file in ("__init__.py", "..%2f__init__.py", "%2e%2e%2fmain.py", "nothing"):
            assert (await client.get(f"/docs/{file}")).status_code == 404


async def test_slash_leads_back_to_the_page() -> None:
    async with client_of() as client:
        assert (await client.get("/docs/")).headers["location"] == "../docs"


async def test_title_is_escaped() -> None:
    async with client_of(title="<script>alert(1)</script>") as client:
        assert "<script>alert" not in (await client.get("/docs")).text


@pytest.mark.parametrize(
    ("path", "openapi_url", "seen"),
    [
        ("/docs", "/openapi.json", "openapi.json"),
        ("/accounts/docs", "/accounts/openapi.json", "openapi.json"),
        ("/accounts/docs", "/openapi.json", "../openapi.json"),
        ("/docs", "/accounts/openapi.json", "accounts/openapi.json"),
    ],
)
async def test_description_is_found_behind_any_prefix(path: str, openapi_url: str, seen: str) -> None:
    async with client_of(path=path, openapi_url=openapi_url) as client:
        script = (await client.get(f"{path}/start.js")).text

    assert f'"url": "{seen}"' in script
    assert '"persistAuthorization": true' in script


@pytest.mark.browser
@pytest.mark.timeout(120)
@pytest.mark.skipif(find_chromium() is None, reason="no Chromium on this machine")
def test_real_browser_shows_it_without_a_violation(tmp_path: Path) -> None:
    with running(tmp_path) as server, Browser() as browser:
        browser.open(f"http://127.0.0.1:{server.port}/docs")
        shown = browser.wait_for("document.querySelector('.opblock-summary-path') && document.body.innerText")

    assert "/notes/" in shown
    assert browser.complaints == []
