"""How the mail server is reached: encrypted wherever it can be, and with a password never otherwise."""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from denizen.core.ids import new_id
from denizen.doctor import State, _mail
from denizen.mail.adapters.message import compose, sender_of
from denizen.mail.adapters.smtp import Connection, MailServer
from denizen.mail.errors import MailNotSent
from denizen.mail.values import Letter
from denizen.settings import Settings, SettingsError
from tests.mail.conftest import Postbox

AT = datetime(2026, 1, 31, tzinfo=UTC)
PASSWORD = "correct horse: battery/staple@home"
IN_URL = "me%40example.com:correct%20horse%3A%20battery%2Fstaple%40home"


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for this machine that nobody knows, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    names: list[x509.GeneralName] = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    form, bare = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    path = tmp_path / "server.pem"
    pem = serialization.Encoding.PEM
    path.write_bytes(key.private_bytes(pem, form, bare) + made.public_bytes(pem))
    return path


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.fixture
def known(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The certificate is one that this process believes."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))


def settings_for(url: str, **options: Any) -> Settings:
    return Settings(_env_file=None, mail_url=url, mail_from="accounts@example.com", **options)


async def send(settings: Settings, letter: Letter | None = None, to: str = "ada@example.org") -> str:
    connection = Connection(MailServer.of(settings))
    try:
        return await connection.send(
            compose(letter or Letter("Hi", "Hello\n", None), mail_id=new_id(), to=to, written_at=AT, settings=settings)
        )
    finally:
        await connection.close()


async def test_a_password_goes_over_tls_and_is_what_the_url_says(
    postbox: Postbox, tls: ssl.SSLContext, known: None
) -> None:
    postbox.tls, postbox.password = tls, PASSWORD

    assert await send(settings_for(f"smtp://{IN_URL}@127.0.0.1:{postbox.port}")) == "Queued"
    assert postbox.passwords_seen
    assert set(postbox.passwords_seen) == {PASSWORD.encode()}


async def test_a_password_is_not_told_to_a_server_without_tls(postbox: Postbox) -> None:
    with pytest.raises(MailNotSent, match="STARTTLS") as refused:
        await send(settings_for(f"smtp://{IN_URL}@127.0.0.1:{postbox.port}"))

    assert refused.value.fault == "server"
    assert postbox.passwords_seen == []


@pytest.mark.parametrize("user", ["", f"{IN_URL}@"])
async def test_a_certificate_that_nobody_vouches_for_ends_it(postbox: Postbox, tls: ssl.SSLContext, user: str) -> None:
    postbox.tls, postbox.password = tls, PASSWORD if user else None

    with pytest.raises(MailNotSent, match=r"(?i)certificate"):
        await send(settings_for(f"smtp://{user}127.0.0.1:{postbox.port}"))

    assert postbox.received == []
    assert postbox.passwords_seen == []


async def test_a_wrong_password_is_the_servers_fault_and_not_repeated(
    postbox: Postbox, tls: ssl.SSLContext, known: None
) -> None:
    postbox.tls, postbox.password = tls, "another"

    with pytest.raises(MailNotSent) as refused:
        await send(settings_for(f"smtp://{IN_URL}@127.0.0.1:{postbox.port}"))

    assert (refused.value.fault, refused.value.reply) == ("server", 535)
    assert "correct" not in str(refused.value)


async def test_a_server_that_speaks_tls_from_the_first_byte(postbox: Postbox, tls: ssl.SSLContext, known: None) -> None:
    server = await asyncio.get_running_loop().create_server(postbox._protocol, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    try:
        assert await send(settings_for(f"smtps://127.0.0.1:{port}")) == "Queued"
    finally:
        server.close()


async def test_nothing_that_a_letter_says_adds_a_header_or_a_recipient(postbox: Postbox) -> None:
    subject = "Hi\r\nBcc: eve@example.org\r\n\r\n.\r\n"
    with pytest.raises(ValueError, match="linefeed"):
        await send(settings_for(postbox.url), Letter(subject, "x", None))
    with pytest.raises(MailNotSent):
        await send(settings_for(postbox.url), to="ada@example.org>\r\nRCPT TO:<eve@example.org")

    await send(settings_for(postbox.url), Letter("Hi", "\r\n.\r\nMAIL FROM:<eve@example.org>\r\n" * 3, None))

    (message,) = postbox.received
    assert postbox.recipients == ["ada@example.org"]
    assert message["Bcc"] is None
    assert "MAIL FROM:<eve@example.org>" in message.get_content()


async def test_text_in_every_script_arrives_as_it_is(postbox: Postbox) -> None:
    letter = Letter("Grüße an 張偉 \N{PARTY POPPER}", "Schöne Grüße, 張偉\n" + "ü" * 3000 + "\n", "<p>ü</p>")

    await send(settings_for(postbox.url), letter)

    (message,) = postbox.received
    text = message.get_body(("plain",))
    assert message["Subject"] == letter.subject
    assert text is not None
    assert text.get_content().replace("\r\n", "\n") == letter.text
    assert message.as_bytes().isascii()


@pytest.mark.parametrize(
    ("url", "port", "tls"),
    [
        ("smtp://mail.example.com", 25, False),
        ("smtp://me:secret@mail.example.com", 587, False),
        ("smtps://mail.example.com", 465, True),
        ("smtp://mail.example.com:2525", 2525, False),
    ],
)
def test_ports_are_the_usual_ones(url: str, port: int, tls: bool) -> None:
    server = MailServer.of(settings_for(url))

    assert (server.host, server.port, server.tls) == ("mail.example.com", port, tls)
    assert "secret" not in repr(server)


@pytest.mark.parametrize(
    ("options", "sender"),
    [
        ({"base_url": "https://accounts.example.com"}, "Denizen <no-reply@accounts.example.com>"),
        ({"base_url": "http://127.0.0.1:8000"}, "Denizen <no-reply@localhost>"),
        ({"mail_from": "Büro <a@bücher.example>"}, "Büro <a@xn--bcher-kva.example>"),
        ({"mail_from": '"Example, Inc." <a@example.com>'}, '"Example, Inc." <a@example.com>'),
    ],
)
def test_mails_come_from_whom_the_settings_say(options: dict[str, Any], sender: str) -> None:
    assert str(sender_of(Settings(_env_file=None, **options))) == sender


@pytest.mark.parametrize("wrong", ["Somebody", "a@b@c", "A <a@example.com>, B <b@example.com>", "a b@example.com"])
def test_a_sender_that_is_none_is_refused_at_the_start(wrong: str) -> None:
    with pytest.raises(SettingsError, match="mail_from") as refused:
        Settings(_env_file=None, mail_from=wrong)
    assert wrong not in str(refused.value)


async def test_doctor_asks_the_mail_server(postbox: Postbox, tls: ssl.SSLContext, known: None) -> None:
    assert (await _mail(Settings(_env_file=None))).state is State.OK
    assert (await _mail(settings_for(postbox.url))).state is State.OK

    postbox.tls, postbox.password = tls, PASSWORD
    found = await _mail(settings_for(f"smtp://{IN_URL}@127.0.0.1:{postbox.port}"))
    assert (found.state, postbox.received) == (State.OK, [])

    await postbox.stop()
    found = await _mail(settings_for(f"smtp://{IN_URL}@127.0.0.1:{postbox.port}"))
    assert found.state is State.FAIL
    assert "correct" not in found.found


async def test_doctor_reads_an_operators_templates(postbox: Postbox, tls: ssl.SSLContext, known: None) -> None:
    postbox.tls = tls
    missing = await _mail(settings_for(postbox.url, mail_templates="/nowhere/at/all"))
    assert missing.state is State.FAIL
