"""Requests that were made to hurt: bytes to be written to a socket, drawn at random but the same for the same seed."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

SECRET_PASSWORD = "s3cret-Hunter2-passw0rd"
SECRET_TOKEN = "dzk_" + "Q2hlY2sgdGhhdCBub25lIGVjaG9lcyB0aGlzIGV2ZXI"

STRINGS: list[Any] = [
    "", " ", "\t", "a", "A" * 65, "A" * 300, "A" * 20_000, "\ud800", "a\udfffb", "\0", "a\0b", "\u202e", "\ufeff",
    "\uffff", "e\u0301", "\u1e9e", "İ", "ﬁ", "①", "аdmin", "🧑‍🚀" * 70, "a\r\nSet-Cookie: a=b", "a\nb", "\x1b[31m",
    "${jndi:ldap://x}", "{{7*7}}", "%s%n%x", "<script>alert(1)</script>", "' OR '1'='1",
    "'; DROP TABLE denizen_users; --", "\\", '"', "`id`", "../../etc/passwd", "null", "undefined", "true", "NaN",
    "-1", "1e309", "=cmd|' /C calc'!A0", "admin@", "@", "a@b", "a@b.c" + "d" * 300, '"a b"@example.org',
    "a@[127.0.0.1]", "a@exa mple.org", "a@-x.org", "a@xn--.org", "a@x..org", "ada@example.org\0",
    "a" * 65 + "@example.org", "ada@" + "é" * 64 + ".org", "\u2028", "ZWJ\u200d", "\U000e0041",
]  # fmt: skip
NOT_STRINGS: list[Any] = [
    None, True, False, 0, -1, 1, 2**31, 2**53, 2**63 - 1, 2**63, -(2**63) - 1, 10**40, 1.5, -0.0, 1e308, [], {}, [[]],
    [None], {"a": {}}, ["a"], {"$ne": None}, {"__proto__": {"is_active": True}}, [[[[[[[[]]]]]]]], list(range(100)),
]  # fmt: skip
FIELDS = ["username", "email", "full_name", "password", "external_id", "is_active"]
PLANTED = [
    "id",
    "hashed_password",
    "created_at",
    "updated_at",
    "version",
    "email_key",
    "scopes",
    "__proto__",
    "",
    "é",
    "a.b",
    "\0",
]
TEXTS = [
    b"", b" ", b"{", b"}", b"[", b"nul", b"null", b"true", b"0", b'""', b"[]", b"{}", b"{]", b'{"a"}', b"{'a': 1}",
    b'{"a":1,}', b'{"a":1}{"b":2}', b'{"a":NaN}', b'{"a":Infinity}', b'{"a":-Infinity}', b'{"a":1e999}',
    b'{"a":-1e999}', b'{"a":01}', b'{"a":0x10}', b'{"a":' + b"9" * 5_000 + b"}", b'{"a":0.' + b"1" * 5_000 + b"}",
    b'{"a":1E+' + b"9" * 100 + b"}", b"[" * 100, b"[" * 100_000, b'{"a":' * 50_000, b"[" * 65 + b"]" * 65,
    b'{"a":"\xff"}', b'{"a":"\xc0\x80"}', b'{"a":"\xed\xa0\x80"}', b'{"a":"\\ud800"}', b'{"a":"\\udc00\\ud800"}',
    b'{"a":"\\u0000"}', b'{"a":"\\x"}', b'{"a":"\\u12"}', b'{"a":"\x00"}', b'{"a":"\n"}', b"\xef\xbb\xbf{}",
    b"\xff\xfe{\x00}\x00", b"\x00" * 1000,
    b"<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><a>&b;</a>",
    b"username=a&password=b", b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\nb\r\n--x--\r\n", b"\x80\x04\x95",
    b"\x1f\x8b\x08\x00" + b"\x00" * 100, b"[" + b"0," * 200_000 + b"0]", b'{"a":"' + b"x" * 900_000 + b'"}',
    b'{"a":"' + b"x" * 1_200_000 + b'"}', b"{" + b",".join(b'"k%d":1' % n for n in range(5_000)) + b"}",
]  # fmt: skip
TYPES = [
    "application/json", "application/json; charset=utf-8", "application/json; charset=utf-16",
    'application/json;charset="utf-8"', "APPLICATION/JSON", "application/merge-patch+json", "text/plain", "text/html",
    "application/xml", "multipart/form-data", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded",
    "application/octet-stream", "", "/", "application/", ";;;", "application/json, text/html",
    "application/json; " + "a=b;" * 500, "\xff\xfe",
]  # fmt: skip
IDS = [
    "0", "-1", "1", "1e1", "me", "None", "null", "..", "../keys", "..%2f..%2fetc%2fpasswd", "%2e%2e%2f", "%00",
    "a%00b", "%", "%zz", "%ff%fe", "%c0%ae", "%ed%a0%80", "' OR 1=1 --", "1;DROP TABLE denizen_users", "{id}",
    "$(id)", "*", "%2a", "x" * 5_000, "019a5c1e-7f00-7a11-8b22-3c33d44e55f", "019a5c1e-7f00-7a11-8b22-3c33d44e55f67",
    "019A5C1E-7F00-7A11-8B22-3C33D44E55F6", "{019a5c1e-7f00-7a11-8b22-3c33d44e55f6}",
    "019a5c1e7f007a118b223c33d44e55f6", "urn:uuid:019a5c1e-7f00-7a11-8b22-3c33d44e55f6",
    "٠١٩a5c1e-7f00-7a11-8b22-3c33d44e55f6", "00000000-0000-0000-0000-000000000000",
    "ffffffff-ffff-ffff-ffff-ffffffffffff", "019a5c1e-7f00-7a11-8b22-3c33d44e55f6%0a",
    "019a5c1e-7f00-7a11-8b22-3c33d44e55f6/", "019a5c1e-7f00-7a11-8b22-3c33d44e55f6/../..", "-" * 36, "🧑",
    "%F0%9F%A7%91",
]  # fmt: skip
PARAMETERS = [
    "limit", "skip", "cursor", "order_by", "count", "email", "username", "external_id", "is_active", "id__in",
    *(f"{name}__{sign}" for name in ("created_at", "updated_at") for sign in ("gte", "gt", "lte", "lt")),
]  # fmt: skip
NO_PARAMETERS = ["Limit", "limit[]", "limit%00", "q", "%", "=", "&", "é", "__proto__", "x" * 300, "password"]
VALUES = [
    "", "0", "-1", "1", "1000", "1001", "1e3", "0x10", "٣", "9" * 30, "9" * 5_000, "NaN", "inf", "null", "None",
    "true", "false", "yes", "on", "id", "-id", "--id", "created_at", "-updated_at", "username", "email",
    "hashed_password", "id,email", "id;DROP TABLE x", "exact", "estimated", "2026-01-31T09:30:00Z", "2026-01-31",
    "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59.999999-14:00", "10000-01-01T00:00:00Z", "2026-13-45T99:99:99Z",
    "1738310400", "1e300", "-62135596801", "2026-01-31T09:30:00", "2026-02-30T00:00:00Z", "Infinity",
    "2026-01-31T09:30:00+23:59", "a@example.org", "A@EXAMPLE.ORG", "@", "a@b@c", "a\0b", "\ud800", "'", '"', "%",
    "\\", "*", "a" * 300, "a" * 5_000, ",", ",,,,", "019a5c1e-7f00-7a11-8b22-3c33d44e55f6",
    "019a5c1e-7f00-7a11-8b22-3c33d44e55f6," * 90, "x," * 600, "../..", "<b>", "\u202e", "🧑" * 40,
]  # fmt: skip
HOSTS = [
    "evil.example", "127.0.0.1@evil.example", "localhost:99999", "", " ", "127.0.0.1\x00", "127.0.0.1, evil.example",
    "[::1", "a" * 300, "*", "127.0.0.1/../", "xn--", "127.0.0.1:8000:8000", "\xff", "evil.example#127.0.0.1",
]  # fmt: skip
HEADERS = [
    "X-Forwarded-For: 1.2.3.4", "X-Forwarded-For: ' OR 1=1", "X-Forwarded-For: " + "1.1.1.1, " * 1000,
    "X-Forwarded-Proto: javascript", "X-Forwarded-Host: evil.example", "X-Forwarded-Prefix: /evil",
    "Forwarded: for=evil;host=evil.example;proto=gopher", "X-Real-IP: ::::", "X-Original-URL: /keys/",
    "X-HTTP-Method-Override: DELETE", "X-Request-Id: a\tb", "X-Request-Id: " + "a" * 5_000, "X-Request-Id: <script>",
    "If-Match: *", 'If-Match: "1"', "If-Match: 1", 'If-Match: W/"1"', 'If-Match: "1", "2"',
    'If-Match: "' + "9" * 400 + '"', "If-Match: \xff", 'If-Match: "٣"', "If-None-Match: *", "Range: bytes=0-0",
    "Range: bytes=" + "0-0," * 500, "Accept: " + "*/*," * 500, "Accept: \xff", "Accept-Encoding: gzip, br, \xff",
    "Origin: https://evil.example", "Origin: null", "Cookie: " + "a=b; " * 500, "Expect: 200-maybe",
    "Content-Encoding: gzip", "Content-Encoding: br, gzip", "Content-Length: 0", "Upgrade: websocket", "Upgrade: h2c",
    "Connection: upgrade", "Connection: \xff", "TE: trailers", "Via: " + "x" * 3_000,
    "Idempotency-Key: " + "x" * 3_000, "Accept-Language: \x80", "Referer: file:///etc/passwd",
    "User-Agent: () { :; }; /bin/id", "Max-Forwards: -1", "DNT: \x01", "Proxy-Authorization: Basic Og==",
    "Host: second.example",
]  # fmt: skip
TOKENS = [
    "", "Bearer", "Bearer ", "bearer x", "Bearer x y", f"Bearer {SECRET_TOKEN}", f"Basic {SECRET_TOKEN}",
    f"Bearer {SECRET_TOKEN} ", SECRET_TOKEN, "Bearer dzk_", "Bearer dzk_" + "A" * 43, "Bearer dzk_" + "A" * 44,
    "Bearer dzk_" + "-" * 43, "Bearer dzs_" + "A" * 43, "Bearer " + "A" * 10_000, "Bearer \xff\xfe",
    "Digest username=x", "Negotiate " + "A" * 3_000, "Bearer ' OR 1=1 --", "Bearer dzk_%00",
]  # fmt: skip
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "QUERY", "LINK"]
PATHS = [
    "/", "//", "/users", "/users/", "/users//", "/Users/", "/users/.", "/users/./", "/./users/", "/users;a=b/",
    "/users/?", "/users/#", "/users/%2f", "/keys", "/keys/", "/keys/current", "/keys/current/", "/docs", "/docs/",
    "/docs/../../../etc/passwd", "/docs/%2e%2e/%2e%2e/etc/passwd", "/docs/swagger-ui.css", "/openapi.json", "/redoc",
    "/healthz", "/readyz", "/healthz/", "/metrics", "/.env", "/.git/config", "/admin", "/users/x/y/z",
    "/" + "a/" * 2_000, "/" + "a" * 20_000, "/%00", "/%ff", "/\xff", "http://evil.example/users/", "*",
    "/users/%0d%0aSet-Cookie:%20a=b", "/users\\", "/users/🧑",
]  # fmt: skip
GARBAGE = [
    b"\r\n\r\n", b"\x00" * 100, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"GET\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/3.0\r\nHost: x\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET / HTTP/1.1\nHost: x\n\n", b"GET  /  HTTP/1.1\r\nHost: x\r\n\r\n", b"A" * 50_000,
    b"GET / HTTP/1.1\r\n" + b"A" * 50_000, b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n:\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n folded: a\r\n\r\n", b"\x80\x80\x80", b"*1\r\n$4\r\nPING\r\n",
    b"POST /users/ HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -1\r\n\r\n",
    b"POST /users/ HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: x\r\n\r\n",
    b"POST /users/ HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcde",
    b"POST /users/ HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST /users/ HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    b"POST /users/ HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: " + b"9" * 40 + b"\r\n\r\n",
    b"POST /users/ HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
    b"POST /users/ HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"POST /users/ HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nTrailer: a\r\n\r\n",
    b"CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: 127.0.0.1:22\r\n\r\n",
    b"GET /users/ HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"".join(b"X-%d: a\r\n" % n for n in range(20_000)) + b"\r\n",
    b"GET /users/ HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Long: " + b"a" * 1_000_000 + b"\r\n\r\n",
    b"GET /users/?" + b"a=b&" * 20_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"POST /users/ HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ",
]  # fmt: skip


@dataclass(frozen=True)
class Attack:
    """One request.

    Attributes:
        kind: which part of the corpus it is of.
        raw: what is written to the socket.
        torn: it may be so broken that there is nobody to answer.
    """

    kind: str
    raw: bytes
    torn: bool = False

    @property
    def method(self) -> str:
        """The first word."""
        return self.raw.split(b" ", 1)[0].decode("latin-1")


class Corpus:
    """Draws attacks.

    Args:
        seed: of the choice.
        token: a key that has every right: what comes behind the door is tried too.
        user_ids: accounts that exist.
        cursor: one that is good, to be altered.
        prefix: in front of our paths.
    """

    def __init__(self, seed: int, *, token: str, user_ids: list[str], cursor: str, prefix: str = "") -> None:
        self._random = random.Random(seed)
        self._token = token
        self._user_ids = user_ids
        self._cursor = cursor
        self._prefix = prefix

    def attacks(self, count: int) -> Iterator[Attack]:
        """Give as many, every kind in turn."""
        yield from self._draw(count, [*self._at_routes(), *self._at_server()])

    def attacks_on_routes(self, count: int) -> Iterator[Attack]:
        """The same, but for what is the server's to answer: hosts, methods, paths, garbage."""
        yield from self._draw(count, self._at_routes())

    @staticmethod
    def _draw(count: int, kinds: Sequence[Callable[[], Attack]]) -> Iterator[Attack]:
        for number in range(count):
            yield kinds[number % len(kinds)]()

    def _at_routes(self) -> list[Callable[[], Attack]]:
        return [
            self._field, self._query, self._text, self._id, self._queries, self._credentials, self._cursor_of,
            self._key, self._type, self._query,
        ]  # fmt: skip

    def _at_server(self) -> list[Callable[[], Attack]]:
        return [self._header, self._method, self._host, self._garbage, self._path]

    def _pick(self, choices: Sequence[Any]) -> Any:
        return self._random.choice(choices)

    def _request(
        self, kind: str, method: str, path: str, body: bytes | None = None, *lines: str, host: str = "127.0.0.1"
    ) -> Attack:
        named = {line.partition(":")[0].lower() for line in lines}
        head = [f"{method} {self._prefix}{path} HTTP/1.1", f"Host: {host}", *lines, "Connection: close"]
        if "authorization" not in named:
            head.append(f"Authorization: Bearer {self._token}")
        if body is not None:
            head.append(f"Content-Length: {len(body)}")
            if "content-type" not in named:
                head.append("Content-Type: application/json")
        return Attack(kind, "\r\n".join(head).encode("utf-8", "surrogatepass") + b"\r\n\r\n" + (body or b""))

    def _written(self, document: Any) -> bytes:
        encoding = self._pick(["utf-8"] * 8 + ["utf-16", "utf-32"])
        return json.dumps(document, ensure_ascii=self._random.random() < 0.8).encode(encoding, "surrogatepass")

    def _account(self) -> str:
        return f"/users/{self._pick(self._user_ids)}"

    def _target(self) -> tuple[str, str]:
        """Where bodies are taken."""
        method, path = self._pick([("POST", "/users/"), ("PATCH", self._account()), ("POST", "/keys/")])
        return method, path

    def _field(self) -> Attack:
        """A body that is right but for one or two fields."""
        number = self._random.randrange(10**9)
        body: dict[str, Any] = {"username": f"h{number}", "email": f"h{number}@example.org"}
        method, path = self._pick([("POST", "/users/"), ("PATCH", self._account())])
        if method == "POST":
            body["password"] = SECRET_PASSWORD
        for _ in range(self._random.randint(1, 2)):
            body[self._pick(FIELDS * 4 + PLANTED)] = self._pick(STRINGS + NOT_STRINGS)
        return self._request("field", method, path, self._written(body))

    def _key(self) -> Attack:
        field = self._pick(["name", "scopes", "expires_at", "expires_at", "token", "id"])
        body = {"name": "k", "scopes": ["users:read"], field: self._pick(STRINGS + NOT_STRINGS + VALUES)}
        return self._request("key", "POST", "/keys/", self._written(body))

    def _text(self) -> Attack:
        method, path = self._target()
        return self._request("text", method, path, self._pick(TEXTS))

    def _type(self) -> Attack:
        method, path = self._target()
        body = json.dumps({"password": SECRET_PASSWORD, "full_name": "T"}).encode()
        return self._request("type", method, path, body, f"Content-Type: {self._pick(TYPES)}")

    def _id(self) -> Attack:
        written = self._pick(IDS).replace(" ", "%20")
        if self._random.random() < 0.5:
            written = quote(written, safe="%", errors="surrogatepass")
        method = self._pick(["GET", "DELETE", "PATCH"])
        room = self._pick(["users", "users", "keys"])
        return self._request("id", method, f"/{room}/{written}", b"{}" if method == "PATCH" else None)

    def _query(self) -> Attack:
        return self._request("query", "GET", f"/users/?{self._pair()}")

    def _queries(self) -> Attack:
        pairs = "&".join(self._pair() for _ in range(self._random.randint(2, 6)))
        return self._request("queries", "GET", f"/users/?{pairs}")

    def _pair(self) -> str:
        name: str = self._pick([*PARAMETERS * 4, *NO_PARAMETERS])
        value = quote(self._pick(VALUES), safe=self._pick(["", "%"]), errors="surrogatepass")
        forms = [f"{name}={value}"] * 40 + [name, f"{name}=", f"={value}", "%ff=%ff"]
        return str(self._pick(forms))

    def _cursor_of(self) -> Attack:
        letters = list(self._cursor)
        for _ in range(self._random.randint(0, 3)):
            letters[self._random.randrange(len(letters))] = self._pick("AZaz09-_=+/ %.é\0")
        cut = "".join(letters)[: self._pick([None, 1, 5, -1, -5])] * self._pick([1, 1, 1, 2, 50])
        more = self._pick(["", "&order_by=-id", "&order_by=email", "&is_active=true", "&limit=1000", "&skip=1"])
        return self._request("cursor", "GET", f"/users/?cursor={quote(cut, safe='')}{more}")

    def _header(self) -> Attack:
        method, path = self._pick([("GET", "/users/"), ("GET", self._account()), self._target()])
        lines = [self._pick(HEADERS) for _ in range(self._random.randint(1, 4))]
        return self._request("header", method, path, None if method == "GET" else b"{}", *lines)

    def _credentials(self) -> Attack:
        method, path = self._pick([("GET", "/users/"), ("GET", "/keys/current"), ("DELETE", self._account())])
        return self._request("credentials", method, path, None, f"Authorization: {self._pick(TOKENS)}")

    def _host(self) -> Attack:
        path = self._pick(["/users/?limit=1", "/docs", "/openapi.json", "/healthz"])
        return self._request("host", "GET", path, host=self._pick(HOSTS))

    def _method(self) -> Attack:
        method = self._pick([*METHODS, *METHODS, "get", "GE T", "G\tT", "A" * 300, "GÉT"])
        return self._request("method", method, self._pick(PATHS), b"{}" if method in {"POST", "PUT"} else None)

    def _path(self) -> Attack:
        return self._request("path", "GET", self._pick(PATHS))

    def _garbage(self) -> Attack:
        raw = bytearray(self._pick(GARBAGE))
        for _ in range(self._pick([0, 0, 1, 3])):
            raw[self._random.randrange(len(raw))] = self._random.randrange(256)
        return Attack("garbage", bytes(raw), torn=True)
