from typing import Any

import pytest
import structlog
from fastapi import FastAPI, Request
from httpx import ASGITransport, AsyncClient
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from denizen.core.middleware import AllowedHosts, RequestId, SecurityHeaders, TrustedProxies, surround
from denizen.core.problems import add_handlers, request_id_of

WELL_FORMED = "trace-0123.4567_89"


async def tell(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with what the application sees."""
    client = scope.get("client")
    bound = structlog.contextvars.get_contextvars().get("request_id", "")
    headers = {
        "x-client": str(client and client[0]),
        "x-scheme": scope["scheme"],
        "x-bound": bound,
        "x-id": request_id_of(scope),
    }
    await Response(b"ok", headers=headers)(scope, receive, send)


async def get(
    app: ASGIApp, *headers: tuple[str, str], host: str = "test", path: str = "/", client: str = "10.0.0.1"
) -> Any:
    transport = ASGITransport(app, client=(client, 1234))
    async with AsyncClient(transport=transport, base_url=f"http://{host}") as opened:
        return await opened.get(path, headers=list(headers))


async def test_request_id_of_the_client_is_kept_everywhere() -> None:
    answer = await get(RequestId(tell), ("x-request-id", WELL_FORMED))

    assert answer.headers["x-request-id"] == answer.headers["x-bound"] == answer.headers["x-id"] == WELL_FORMED


@pytest.mark.parametrize(
    "sent", [None, "", "short", "x" * 65, "spaces in it", "semi;colon;here", "<script>alert</script>"]
)
async def test_request_id_is_made_where_none_is_well_formed(sent: str | None) -> None:
    answers = [await get(RequestId(tell), *([("x-request-id", sent)] if sent is not None else [])) for _ in range(2)]

    ids = {answer.headers["x-request-id"] for answer in answers}
    assert len(ids) == 2
    assert all(len(made) == 32 for made in ids)


async def test_answers_carry_security_headers() -> None:
    headers = (await get(SecurityHeaders(tell, https=True))).headers

    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-frame-options"] == "DENY"
    assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert headers["cache-control"] == "no-store"
    assert headers["strict-transport-security"].startswith("max-age=")


async def test_plain_http_promises_no_https() -> None:
    assert "strict-transport-security" not in (await get(SecurityHeaders(tell))).headers


async def test_what_an_answer_sets_itself_stands() -> None:
    app = Response(b"", headers={"cache-control": "max-age=60", "content-security-policy": "default-src 'self'"})

    headers = (await get(SecurityHeaders(app))).headers

    assert headers["cache-control"] == "max-age=60"
    assert headers.get_list("content-security-policy") == ["default-src 'self'"]


@pytest.mark.parametrize(
    "host", ["example.com", "EXAMPLE.com", "example.com:8000", "example.com.", "a.b.example.org", "[::1]:80"]
)
async def test_our_hosts_are_served(host: str) -> None:
    app = AllowedHosts(tell, hosts=["Example.com", "*.example.org", "::1"])

    assert (await get(app, ("host", host))).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.com", "example.com.evil.com", "evilexample.com", "example.org", "", "example.com@evil.com", "exam ple.com"],
)
async def test_other_hosts_are_refused(host: str) -> None:
    answer = await get(AllowedHosts(tell, hosts=["example.com", "*.example.org"]), ("host", host))

    assert answer.status_code == 400
    assert answer.json()["code"] == "host_not_allowed"
    assert "evil" not in answer.text


async def test_probes_come_under_any_name() -> None:
    app = AllowedHosts(tell, hosts=["example.com"])

    assert (await get(app, ("host", "10.1.2.3"), path="/healthz")).status_code == 200


async def test_two_hosts_are_none() -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request"}

    headers = [(b"host", b"example.com"), (b"host", b"evil.com")]
    scope = {"type": "http", "method": "GET", "path": "/", "headers": headers, "scheme": "http"}
    await AllowedHosts(tell, hosts=["example.com"])(scope, receive, send)

    assert sent[0]["status"] == 400


PROXIES = ["10.0.0.0/8", "2001:db8::/32"]


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("10.0.0.1", ["1.2.3.4"], "1.2.3.4"),
        ("10.0.0.1", ["6.6.6.6, 1.2.3.4"], "1.2.3.4"),
        ("10.0.0.1", ["6.6.6.6", "1.2.3.4, 10.9.9.9"], "1.2.3.4"),
        ("10.0.0.1", ["10.0.0.2, 10.0.0.3"], "10.0.0.2"),
        ("10.0.0.1", ["1.2.3.4:5678"], "1.2.3.4"),
        ("10.0.0.1", ["[2001:4860::1]:443"], "2001:4860::1"),
        ("10.0.0.1", ["2001:4860::1"], "2001:4860::1"),
        ("10.0.0.1", ["::ffff:1.2.3.4"], "1.2.3.4"),
        ("10.0.0.1", ["1.2.3.4, unknown"], "10.0.0.1"),
        ("10.0.0.1", ["1.2.3.4, <script>, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("::ffff:10.0.0.1", ["1.2.3.4"], "1.2.3.4"),
        ("2001:db8::7", ["1.2.3.4"], "1.2.3.4"),
        ("9.9.9.9", ["1.2.3.4"], "9.9.9.9"),
        ("127.0.0.1", ["1.2.3.4"], "127.0.0.1"),
    ],
)
async def test_client_is_the_right_most_that_is_no_proxy(peer: str, forwarded: list[str], client: str) -> None:
    app = TrustedProxies(tell, proxies=PROXIES)

    answer = await get(app, *[("x-forwarded-for", value) for value in forwarded], client=peer)

    assert answer.headers["x-client"] == client


@pytest.mark.parametrize(
    ("peer", "proto", "scheme"),
    [
        ("10.0.0.1", "https", "https"),
        ("10.0.0.1", "http, HTTPS", "https"),
        ("10.0.0.1", "javascript", "http"),
        ("9.9.9.9", "https", "http"),
    ],
)
async def test_scheme_is_told_by_a_proxy_alone(peer: str, proto: str, scheme: str) -> None:
    answer = await get(TrustedProxies(tell, proxies=PROXIES), ("x-forwarded-proto", proto), client=peer)

    assert answer.headers["x-scheme"] == scheme


async def test_answer_to_an_unexpected_error_has_all_headers() -> None:
    app = FastAPI()
    add_handlers(app, whole=True)
    surround(app, RequestId, SecurityHeaders)

    @app.get("/")
    async def be_broken(request: Request) -> None:
        raise RuntimeError("no")

    async with AsyncClient(transport=ASGITransport(app, raise_app_exceptions=False), base_url="http://test") as client:
        answer = await client.get("/", headers={"x-request-id": WELL_FORMED})

    assert answer.status_code == 500
    assert answer.headers["x-request-id"] == answer.json()["request_id"] == WELL_FORMED
    assert answer.headers["x-content-type-options"] == "nosniff"
