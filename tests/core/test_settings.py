"""Settings: where they come from, what they accept, and with which sentence they refuse."""

from __future__ import annotations

import os
import subprocess
import sys
from ipaddress import ip_network
from pathlib import Path
from secrets import token_hex, token_urlsafe

import pytest
from hypothesis import given
from hypothesis import strategies as st

from denizen.setting_types import mask_password
from denizen.settings import PREFIX, Settings, SettingsError

PASSWORD = "hunter2-and-more"
PATH = "must begin with a slash and not end in one, such as /accounts."
TIME = "must be a number, with or without a unit (2.5, 500ms, 2m)."
SIZE = "must be a number, with or without a unit (1048576, 1MiB, 512KiB)."
NETWORKS = "must be addresses or networks, such as 10.0.0.0/8 or 192.0.2.7."
ORIGINS = "must be origins without a path, such as https://app.example.com; * is not accepted."
HOSTS = "must be host names without scheme or port, such as example.com or *.example.com."
ADDRESS = "must be the address people use, such as https://accounts.example.com."


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Every test starts in an empty folder without a single setting."""
    for name in [name for name in os.environ if name.upper().startswith(PREFIX)]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def faults(**variables: str) -> tuple[str, ...]:
    """What settings say to `variables`, given without their prefix."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(PREFIX + name, value)
        with pytest.raises(SettingsError) as refusal:
            Settings.load()
    return refusal.value.faults


def fault(**variables: str) -> str:
    """The only fault."""
    (sentence,) = faults(**variables)
    return sentence


def read(**variables: str) -> Settings:
    """The settings under `variables`, given without their prefix."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(PREFIX + name, value)
        return Settings.load()


# -- where they come from -------------------------------------------------------------------------------------------


def test_nothing_set_gives_a_local_sqlite_server() -> None:
    settings = Settings.load()

    assert settings.database_url == "sqlite:///denizen.db"
    assert settings.database_kind == "sqlite"
    assert settings.sqlite_path == Path("denizen.db")
    assert settings.base_url == "http://127.0.0.1:8000"
    assert settings.allowed_hosts == ("127.0.0.1", "localhost", "[::1]")
    assert settings.secret_key is None
    assert {setting.source for setting in settings.sources()} == {"default"}


def test_environment_wins_over_env_file_and_options_over_both() -> None:
    Path(".env").write_text("DENIZEN_PORT=1111\nexport DENIZEN_HOST='::1'\nOTHER=1\nDENIZEN_WORKERS=2\n")

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DENIZEN_PORT", "2222")
        patch.setenv("DENIZEN_WORKERS", "3")
        settings = Settings.load(workers=4, log_level=None)

    assert (settings.port, settings.host, settings.workers, settings.log_level) == (2222, "::1", 4, "info")
    sources = {setting.name: setting.source for setting in settings.sources()}
    assert sources["DENIZEN_PORT"] == "environment"
    assert sources["DENIZEN_HOST"] == ".env"
    assert sources["DENIZEN_WORKERS"] == "option"
    assert sources["DENIZEN_LOG_LEVEL"] == "default"


def test_empty_value_is_unset_and_does_not_hide_the_env_file() -> None:
    Path(".env").write_text("DENIZEN_PORT=1111\n")

    settings = read(PORT="", SIGNUP="", SECRET_KEY="")

    assert settings.port == 1111
    assert not settings.signup_is_set
    assert settings.secret_key is None


def test_open_by_decision_differs_from_open_by_default() -> None:
    assert read(SIGNUP="open").signup_is_set
    assert Settings.load().signup == "open"
    assert not Settings.load().signup_is_set


def test_env_file_with_a_byte_order_mark_is_read() -> None:
    Path(".env").write_bytes(b"\xef\xbb\xbfDENIZEN_PORT=1111\r\n")

    assert Settings.load().port == 1111


@pytest.mark.parametrize("content", [b"DENIZEN_PORT=1111\n=\n", b"DENIZEN_SITE_NAME=\xff\xfe\n"])
def test_env_file_that_cannot_be_understood_refuses(content: bytes) -> None:
    Path(".env").write_bytes(content)

    with pytest.raises(SettingsError, match=r"\.env cannot be read"):
        Settings.load()


def test_env_file_that_is_a_folder_refuses() -> None:
    Path(".env").mkdir()

    with pytest.raises(SettingsError, match=r"\.env cannot be read: Is a directory"):
        Settings.load()


def test_another_process_has_the_same_settings_from_its_environment() -> None:
    settings = Settings.load(
        port=9000,
        workers=3,
        access_log=True,
        secret_key=token_urlsafe(32),
        trusted_proxies=(ip_network("10.0.0.0/8"), ip_network("::1/128")),
        allowed_hosts=("example.com", "*.example.org"),
        database_url=f"postgresql://u:{PASSWORD}@localhost/x",
        database_prepare_threshold="off",
        database_timeout="1500ms",
    )

    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.to_environment().items():
            patch.setenv(name, value)
        again = Settings.load()

    assert again.model_dump() == settings.model_dump()
    assert again.database_timeout == 1.5


def test_children_get_what_was_given_as_options() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DENIZEN_PORT", "1")  # so that it is put back after
        Settings.load(port=9000).hand_to_children()
        child = "from denizen.settings import Settings; print(Settings.load().port)"
        printed = subprocess.run([sys.executable, "-c", child], capture_output=True, text=True, check=True).stdout

    assert printed == "9000\n"


def test_settings_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings.load().port = 1


# -- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("DENIZEN_SECRETKEY", "DENIZEN_SECRET_KEY"),
        ("DENIZEN_DATABASE_URI", "DENIZEN_DATABASE_URL"),
        ("DENIZEN_WORKER", "DENIZEN_WORKERS"),
        ("denizen_port", "DENIZEN_PORT"),
        ("Denizen_Sign_Up", "DENIZEN_SIGNUP"),
    ],
)
@pytest.mark.parametrize("where", ["environment", ".env"])
def test_unknown_variable_names_the_nearest(
    name: str, nearest: str, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if where == ".env":
        Path(".env").write_text(f"{name}=1\n")
    else:
        monkeypatch.setenv(name, "1")

    with pytest.raises(SettingsError) as refusal:
        Settings.load()

    assert refusal.value.faults == (f"{name} ({where}) is not a setting; did you mean {nearest}?",)


def test_unknown_variable_like_no_other_points_to_the_documentation() -> None:
    assert fault(XYZZY="1") == "DENIZEN_XYZZY (environment) is not a setting; docs/configuration.md lists them all."


def test_all_faults_are_told_at_once() -> None:
    assert len(faults(PORT="70000", WORKERS="many", SIGNUP="perhaps", XYZZY="1")) == 4


def test_unknown_option_refuses() -> None:
    with pytest.raises(SettingsError, match="prot is not a setting"):
        Settings.load(prot=1)


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("PORT", "70000", "must be less than or equal to 65535."),
        ("PORT", "-1", "must be greater than or equal to 0."),
        ("PORT", "8000.5", "must be a whole number."),
        ("PORT", "80x", "must be a whole number."),
        ("WORKERS", "0", "must be greater than or equal to 1."),
        ("ACCESS_LOG", "maybe", "must be true or false."),
        ("SIGNUP", "opne", "must be 'open', 'verified' or 'closed'."),
        ("LOG_LEVEL", "loud", "must be 'debug', 'info', 'warning', 'error' or 'critical'."),
        ("MAX_BODY_SIZE", "1 MBit", SIZE),
        ("MAX_BODY_SIZE", "2TiB", SIZE),
        ("MAX_BODY_SIZE", "1", "must be greater than or equal to 1024."),
        ("DATABASE_TIMEOUT", "nan", TIME),
        ("DATABASE_TIMEOUT", "inf", TIME),
        ("DATABASE_TIMEOUT", "0", "must be greater than or equal to 0.1."),
        ("DATABASE_TIMEOUT", "9" * 5000, "must be a finite number."),
        ("DATABASE_PREPARE_THRESHOLD", "-1", "must be greater than or equal to 0."),
        ("PASSWORD_MIN_LENGTH", "7", "must be greater than or equal to 8."),
        ("PASSWORD_MIN_LENGTH", "65", "must be less than or equal to 64."),
        ("BASE_URL", "accounts.example.com", ADDRESS),
        ("BASE_URL", "https://x:99999", ADDRESS),
        ("BASE_URL", f"https://me:{PASSWORD}@x", "must have no user, query or fragment."),
        ("BASE_URL", "https://x/?a=b", "must have no user, query or fragment."),
        ("PREFIX", "accounts", PATH),
        ("PREFIX", "/accounts/", PATH),
        ("PREFIX", "/{id}", PATH),
        (
            "ALLOWED_HOSTS",
            "https://x",
            "must be host names without scheme or port, such as example.com or *.example.com.",
        ),
        ("ALLOWED_HOSTS", "x:80", HOSTS),
        ("ALLOWED_HOSTS", ",", "must name at least one."),
        ("TRUSTED_PROXIES", "10.0.0.1/8", NETWORKS),
        ("TRUSTED_PROXIES", "*", NETWORKS),
        ("CORS_ORIGINS", "*", ORIGINS),
        (
            "CORS_ORIGINS",
            "https://x/",
            "must be origins without a path, such as https://app.example.com; * is not accepted.",
        ),
        ("SITE_NAME", "two\nlines", "holds a control character or bytes that are not UTF-8."),
        ("SITE_NAME", "\udcff", "holds a control character or bytes that are not UTF-8."),
    ],
)
def test_mistyped_value_refuses(name: str, value: str, sentence: str) -> None:
    assert fault(**{name: value}) == f"DENIZEN_{name} {sentence}"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql+asyncpg://me@localhost/x", "write postgresql://user:password@host/name"),
        ("postgresql+psycopg2://me@localhost/x", "write postgresql://user:password@host/name"),
        ("postgres://me@localhost/x", "write postgresql://user:password@host/name"),
        ("sqlite+aiosqlite:///x.db", "write sqlite:///denizen.db"),
        ("mysql://me@localhost/x", "must begin with sqlite:/// or postgresql://"),
        ("denizen.db", "must begin with sqlite:/// or postgresql://"),
        ("postgresql://", "names no database"),
        ("postgresql://me:p@ss@localhost/x", "write it as %40"),
        ("postgresql://me:p@ss:word@127.0.0.1:1/x", "write it as %40"),
        ("postgresql://me@localhost:port/x", "cannot be read"),
        ("postgresql://me@a:5432,b:5433/x", "names hosts with ports"),
        ("postgresql://me@localhost/x?nonsense=1", "has an option behind the ?"),
        ("postgresql://me@localhost/x?connect_timeout=abc", "connect_timeout that is not a whole number"),
        ("sqlite://", "in-memory"),
        ("sqlite:///:memory:", "in-memory"),
        ("sqlite:///file:x?mode=memory", "in-memory"),
        ("sqlite://denizen.db", "three slashes"),
        ("sqlite:///denizen.db?mode=ro", "no options"),
        ("sqlite:///folder/", "the path of a file"),
    ],
)
def test_database_that_cannot_be_used_says_what_to_write(url: str, says: str) -> None:
    assert says in fault(DATABASE_URL=url)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:password@localhost/dbname",
        "postgresql+psycopg://user@localhost/dbname",
        "postgresql:///x",
        "postgresql://user@a,b/x",
        "postgresql://user:p%40ss@/x?host=a:5432&host=b:5433&connect_timeout=2",
    ],
)
def test_postgresql_url_is_taken_as_it_stands(url: str) -> None:
    settings = read(DATABASE_URL=url)

    assert settings.database_url == url
    assert settings.database_kind == "postgresql"
    assert settings.sqlite_path is None


def test_sqlite_path_stays_relative_or_absolute() -> None:
    assert read(DATABASE_URL="sqlite:///data/x.db").sqlite_path == Path("data/x.db")
    assert read(DATABASE_URL="sqlite:////var/lib/x.db").sqlite_path == Path("/var/lib/x.db")


# -- secrets --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "weak",
    [
        "short",
        "a" * 40,
        "0123456789" * 5,
        "abcdefghijklmnopqrstuvwxyz0123456789",
        "9876543210zyxwvutsrqponmlkjihgfedcba",
        "my-password-is-long-enough-4711-xyz!",
        "change-me-7fk2m9dk3nf8sk2lq0zx8vb1qw",
        "your_SECRET_key_here_7fk2m9dk3nf8sk2",
        "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",
    ],
)
def test_weak_secret_refuses_without_repeating_it(weak: str) -> None:
    sentence = fault(SECRET_KEY=weak)

    assert sentence.startswith("DENIZEN_SECRET_KEY ")
    assert "secrets.token_urlsafe(32)" in sentence
    assert weak not in sentence


@pytest.mark.parametrize("make", [lambda: token_hex(16), lambda: token_hex(32), lambda: token_urlsafe(32)])
def test_random_secrets_are_never_taken_for_weak(make: object) -> None:
    assert callable(make)
    for _ in range(200):
        read_secret = make()
        assert Settings.load(secret_key=read_secret).secret_key is not None


def test_secrets_are_in_no_form_of_the_settings_but_the_one_for_children() -> None:
    secret = token_urlsafe(32)
    settings = read(SECRET_KEY=secret, DATABASE_URL=f"postgresql://me:{PASSWORD}@db/x?sslpassword={PASSWORD}")

    shown = f"{settings!r} {settings} {settings.sources()} {settings.database_shown}"

    assert secret not in shown
    assert PASSWORD not in shown
    assert "postgresql://me:********@db/x?sslpassword=********" in shown
    assert settings.to_environment()["DENIZEN_SECRET_KEY"] == secret


def test_refusal_repeats_no_value() -> None:
    sentences = faults(
        DATABASE_URL=f"mysql://me:{PASSWORD}@db/x", SECRET_KEY=PASSWORD, PORT=PASSWORD, SIGNUP=PASSWORD, XYZZY=PASSWORD
    )

    assert PASSWORD not in "".join(sentences)


@given(password=st.text(st.characters(codec="utf-8"), min_size=1))
def test_no_password_survives_masking(password: str) -> None:
    marked = f"<{password}>"

    assert marked not in mask_password(f"postgresql://me:{marked}@db/x")


@pytest.mark.parametrize(
    "url", ["postgresql://me@db:5432/x", "sqlite:///a.db", "https://example.com/a:b", "people.csv"]
)
def test_url_without_password_is_shown_as_it_is(url: str) -> None:
    assert mask_password(url) == url


# -- defaults that follow others ------------------------------------------------------------------------------------


def test_links_follow_the_port_until_they_are_set() -> None:
    assert Settings.load(port=9000).base_url == "http://127.0.0.1:9000"
    assert Settings.load(port=0).base_url == "http://127.0.0.1"
    assert Settings.load(port=9000, base_url="https://id.example.com/").base_url == "https://id.example.com"


def test_hosts_follow_the_address_people_use_and_the_one_listened_on() -> None:
    hosts = read(BASE_URL="https://id.example.com", HOST="192.0.2.7").allowed_hosts

    assert hosts == ("id.example.com", "192.0.2.7", "localhost", "127.0.0.1", "[::1]")
    assert read(HOST="2001:db8::1").allowed_hosts[1] == "[2001:db8::1]"
    assert "0.0.0.0" not in read(HOST="0.0.0.0").allowed_hosts


def test_lists_units_and_case_are_read_as_people_write_them() -> None:
    settings = read(
        ALLOWED_HOSTS=" Example.com , *.example.org,::1,",
        TRUSTED_PROXIES="10.0.0.0/8,192.0.2.7",
        MAX_BODY_SIZE="2 mib",
        BODY_TIMEOUT="2m",
        LOG_LEVEL=" INFO ",
        DATABASE_PREPARE_THRESHOLD="Off",
        PORT=" 8080 ",
    )

    assert settings.allowed_hosts == ("example.com", "*.example.org", "[::1]")
    assert settings.trusted_proxies == (ip_network("10.0.0.0/8"), ip_network("192.0.2.7/32"))
    assert settings.max_body_size == 2 * 1024 * 1024
    assert settings.body_timeout == 120
    assert settings.log_level == "info"
    assert settings.database_prepare_threshold is None
    assert settings.port == 8080
