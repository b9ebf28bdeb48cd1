"""What the value of a setting may look like: pure functions from the text of a variable to a checked value.

A `ValueError` raised here ends a sentence that begins with the variable's name, and never repeats the value.
"""

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from email.utils import getaddresses
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Annotated, Any, Literal
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

_UNITS_OF_SIZE = {
    "": 1,
    "b": 1,
    "kb": 1000,
    "mb": 1000**2,
    "gb": 1000**3,
    "kib": 1 << 10,
    "mib": 1 << 20,
    "gib": 1 << 30,
}
_UNITS_OF_TIME = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_NUMBERS_IN_URL = frozenset(
    {"connect_timeout", "keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout"}
)
_PASSWORD_IN_URL = re.compile(r"([a-z][a-z0-9+.-]*://[^:/?#@]*:)(?P<password>.+)(@)", re.IGNORECASE | re.DOTALL)
_PASSWORD_IN_QUERY = re.compile(r"([?&][a-z]*password=)([^&]*)", re.IGNORECASE)
_HOST_NAME = re.compile(r"(\*\.)?([a-z0-9_]([a-z0-9_-]*[a-z0-9_])?\.)*[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?\.?")
_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104  (compared with, not listened on)
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_USUAL_SECRETS = (
    "secret",
    "password",
    "passwort",
    "changeme",
    "changethis",
    "insecure",
    "example",
    "denizen",
    "default",
)
_SHOWN_IN_TUTORIALS = "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7"  # FastAPI's, on security
_HOW_TO_MAKE_ONE = "make one with: python3 -c 'import secrets; print(secrets.token_urlsafe(32))'"


def _clean(value: object) -> object:
    """Strip blanks; refuse control characters and bytes that were no UTF-8 (they arrive as surrogates)."""
    if not isinstance(value, str):
        return value
    if any(ord(char) < 32 or ord(char) == 127 or 0xD800 <= ord(char) < 0xE000 for char in value):
        raise ValueError("holds a control character or bytes that are not UTF-8")
    return value.strip()


def _quantity(value: object, units: Mapping[str, float], example: str) -> object:
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", value.strip(), re.IGNORECASE | re.ASCII)
    if match is None or match[2].lower() not in units:
        raise ValueError(f"must be a number, with or without a unit ({example})")
    return float(match[1]) * units[match[2].lower()]


def _read_seconds(value: object) -> object:
    return _quantity(value, _UNITS_OF_TIME, "2.5, 500ms, 2m")


def _read_bytes(value: object) -> object:
    return _quantity(value, _UNITS_OF_SIZE, "1048576, 1MiB, 512KiB")


def _read_list(value: object) -> object:
    text = _clean(value)
    return tuple(part.strip() for part in text.split(",") if part.strip()) if isinstance(text, str) else text


def _read_lower(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


def _read_off(value: object) -> object:
    return None if isinstance(value, str) and value.strip().lower() == "off" else value


def _check_database_url(url: str) -> str:
    scheme, found, rest = url.partition("://")
    driver = scheme.lower()
    if not found or driver not in {"sqlite", "postgresql", "postgresql+psycopg"}:
        if driver.startswith(("postgres", "cockroach")):
            raise ValueError("write postgresql://user:password@host/name; Denizen brings its own driver (psycopg 3)")
        if driver.startswith("sqlite"):
            raise ValueError("write sqlite:///denizen.db; Denizen brings its own driver for SQLite")
        raise ValueError("must begin with sqlite:/// or postgresql://; Denizen stores nowhere else")
    if driver != "sqlite":
        if not rest.strip("/"):
            raise ValueError("names no database; write postgresql://user:password@host/name")
        return _check_postgresql_url(f"{driver}://{rest}")
    if rest in {"", "/"} or ":memory:" in rest or rest.startswith("/file:"):
        raise ValueError("an in-memory SQLite database would be gone, and empty, at every start; write sqlite:///FILE")
    if not rest.startswith("/"):
        raise ValueError(
            "SQLite takes three slashes and a file: sqlite:///denizen.db, or sqlite:////var/lib/denizen.db"
        )
    if "?" in rest or rest.endswith("/"):
        raise ValueError("SQLite takes the path of a file and no options: sqlite:///denizen.db")
    return f"{driver}://{rest}"


def _check_postgresql_url(url: str) -> str:
    """Refuse what the driver could not read, or would read otherwise than it was meant. The message never quotes it: a
    password may stand anywhere in it.
    """
    authority = url.partition("://")[2].partition("?")[0].partition("/")[0]
    if authority.count("@") > 1:
        raise ValueError("has an @ in its user or password; write it as %40")
    if re.search(r":\d+,", authority.rpartition("@")[2]):
        raise ValueError("names hosts with ports; write postgresql://user:password@/name?host=a:5432&host=b:5433")
    from psycopg import ProgrammingError
    from psycopg.conninfo import make_conninfo
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        query = make_url(url).query
        options = {name: value if isinstance(value, str) else ",".join(value) for name, value in query.items()}
        make_conninfo(**options)
    except (ArgumentError, ValueError):
        raise ValueError("cannot be read; write postgresql://user:password@host:5432/name") from None
    except ProgrammingError:
        raise ValueError("has an option behind the ? that PostgreSQL's clients do not have") from None
    for name in _NUMBERS_IN_URL & options.keys():
        if not options[name].isdecimal():
            raise ValueError(f"has an option {name} that is not a whole number")
    return url


def _check_secret(secret: SecretStr) -> SecretStr:
    """Refuse what a person made up. Weakness is judged by what a random string of 32 characters never shows."""
    text = secret.get_secret_value()
    lower = text.lower().replace("-", "").replace("_", "").replace(" ", "")
    pairs = {text[at : at + 2] for at in range(len(text) - 1)}
    steps = [ord(text[at + 1]) - ord(text[at]) for at in range(len(text) - 1)]
    if len(text) < 32:
        raise ValueError(f"must be at least 32 random characters; {_HOW_TO_MAKE_ONE}")
    if lower == _SHOWN_IN_TUTORIALS or any(word in lower for word in _USUAL_SECRETS):
        raise ValueError(f"is one that is written in examples; {_HOW_TO_MAKE_ONE}")
    if len(set(text)) < 8 or len(pairs) < 20 or sum(step in {-1, 0, 1} for step in steps) > 2 * len(steps) / 3:
        raise ValueError(f"repeats itself and could be guessed; {_HOW_TO_MAKE_ONE}")
    return secret


def _split(url: str) -> SplitResult | None:
    """Take an address of the web apart; None where it is not one."""
    with suppress(ValueError):  # a port out of range, half an IPv6 address
        parts = urlsplit(url)
        if parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0:
            return parts
    return None


def _check_base_url(url: str) -> str:
    parts = _split(url)
    if parts is None:
        raise ValueError("must be the address people use, such as https://accounts.example.com")
    if parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError("must have no user, query or fragment")
    if not url.isascii() or any(each.isspace() for each in url):
        raise ValueError("must be in ASCII without blanks: other names as xn--..., other paths percent-encoded")
    return url.rstrip("/")


def mask_password(url: str) -> str:
    """Return `url` with stars for a password in it. When in doubt it hides more rather than less."""
    return _PASSWORD_IN_QUERY.sub(r"\1********", _PASSWORD_IN_URL.sub(r"\1********\3", url))


def _check_prefix(prefix: str) -> str:
    if prefix and re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", prefix) is None:
        raise ValueError("must begin with a slash and not end in one, such as /accounts")
    return prefix


def _check_host_pattern(host: str) -> str:
    name = host.lower()
    if name == "*" or _HOST_NAME.fullmatch(name):
        return name
    try:
        address = ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        raise ValueError("must be host names without scheme or port, such as example.com or *.example.com") from None
    return f"[{address}]" if address.version == 6 else str(address)


def _check_origin(origin: str) -> str:
    parts = _split(origin)
    if parts is None or "@" in parts.netloc or origin != f"{parts.scheme}://{parts.netloc}":
        raise ValueError("must be origins without a path, such as https://app.example.com; * is not accepted")
    return origin.lower()


def _check_name(name: str) -> str:
    if not name or len(name) > 255 or not name.isascii() or any(each.isspace() for each in name):
        raise ValueError("must be names in ASCII without blanks, such as https://notes.example.com")
    return name


def _check_mail_url(url: str) -> str:
    """Refuse what is no address of a mail server. The message never quotes it: a password may stand anywhere in it."""
    parts = None
    with suppress(ValueError):
        parts = urlsplit(url)
        parts.port  # noqa: B018  (raises where it is none)
    if parts is None or parts.scheme not in {"smtp", "smtps"} or not parts.hostname:
        raise ValueError("must be smtp://user:password@host:587 or smtps://host:465")
    if parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise ValueError("has something behind the port; write smtp://user:password@host:587")
    return url


def _check_sender(sender: str) -> str:
    """Refuse what is no `Name <address>` or address."""
    (name, address), *others = getaddresses([sender])
    if others or not re.fullmatch(r"[^\s@<>\"(),:;]+@[^\s@<>\"(),:;]+", address) or not (name + address).isprintable():
        raise ValueError("must be an address, such as Example <accounts@example.com>")
    return sender


def _read_network(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return ip_network(value)
    except ValueError:
        raise ValueError("must be addresses or networks, such as 10.0.0.0/8 or 192.0.2.7") from None


def default_base_url(data: dict[str, Any]) -> str:
    """What a person on the same machine types in, unless the port is only found at the start."""
    port = data.get("port", 8000)
    return f"http://127.0.0.1:{port}" if port else "http://127.0.0.1"


def default_allowed_hosts(data: dict[str, Any]) -> tuple[str, ...]:
    """Whatever the server is told it is called, and this machine's own names."""
    host = urlsplit(data.get("base_url", "")).hostname or "localhost"
    bound = data.get("host", "127.0.0.1")
    own = (host, *(() if bound in _EVERYWHERE else (bound,)))
    return tuple(dict.fromkeys((*(f"[{name}]" if ":" in name else name for name in own), *_LOOPBACK)))


def default_audiences(data: dict[str, Any]) -> tuple[str, ...]:
    """Whoever asks this install."""
    return (str(data.get("base_url", "")),)


def default_hash_threads() -> int:
    """One a processor; more than four would take memory rather than save time."""
    return min(4, os.cpu_count() or 1)


Text = Annotated[str, BeforeValidator(_clean)]
Seconds = Annotated[float, Field(allow_inf_nan=False), BeforeValidator(_read_seconds)]
Bytes = Annotated[int, BeforeValidator(_read_bytes)]
DatabaseUrl = Annotated[Text, AfterValidator(_check_database_url)]
Secret = Annotated[SecretStr, BeforeValidator(_clean), AfterValidator(_check_secret)]
BaseUrl = Annotated[Text, AfterValidator(_check_base_url)]
PathPrefix = Annotated[Text, AfterValidator(_check_prefix)]
Hosts = Annotated[tuple[Annotated[str, AfterValidator(_check_host_pattern)], ...], BeforeValidator(_read_list)]
Origins = Annotated[tuple[Annotated[str, AfterValidator(_check_origin)], ...], BeforeValidator(_read_list)]
Networks = Annotated[
    tuple[Annotated[IPv4Network | IPv6Network, BeforeValidator(_read_network)], ...], BeforeValidator(_read_list)
]
Names = Annotated[tuple[Annotated[str, AfterValidator(_check_name)], ...], BeforeValidator(_read_list)]
MailUrl = Annotated[Text, AfterValidator(_check_mail_url)]
Sender = Annotated[Text, AfterValidator(_check_sender)]
Language = Annotated[Text, Field(pattern=r"^[a-z]{2,3}(-[A-Z]{2})?$")]
OrOff = Annotated[Annotated[int, Field(ge=0, le=1_000_000)] | None, BeforeValidator(_read_off)]
SignUp = Annotated[Literal["open", "verified", "closed"], BeforeValidator(_read_lower)]
LogLevel = Annotated[Literal["debug", "info", "warning", "error", "critical"], BeforeValidator(_read_lower)]
LogFormat = Annotated[Literal["auto", "console", "json"], BeforeValidator(_read_lower)]
Synchronous = Annotated[Literal["full", "normal"], BeforeValidator(_read_lower)]
