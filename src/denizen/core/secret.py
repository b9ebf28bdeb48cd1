"""The secret key: from the settings, or from a file of its own beside the SQLite database."""

from __future__ import annotations

import contextlib
import hmac
import os
import secrets
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from denizen.core.errors import Unavailable
from denizen.settings import Settings, SettingsError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_BYTES = 32
_NONCE_BYTES = 12
_PATIENCE_SECONDS = 2.0


class Unreadable(Unavailable):
    """Something in the database was sealed under another secret than this install has."""

    code = "sealed_under_another_secret"
    title = "Sealed under another secret"


class Secret:
    """The secret of an install, never handed out: each purpose has a key of its own, derived from it.

    Args:
        load: gives the secret. Asked at the first use, since on SQLite it is made beside a database that may not be
            there yet.
    """

    def __init__(self, load: Callable[[], bytes]) -> None:
        self._load = load
        self._keys: dict[str, bytes] = {}

    def digest(self, purpose: str, *parts: bytes) -> bytes:
        """Give the HMAC-SHA-256 of `parts` for one purpose, 32 bytes.

        The length of each part is digested with it, so that no two lists of parts read alike. Without the secret
        nobody can try out what the parts may have been, as he could with a plain hash.
        """
        key = self._keys.get(purpose)
        if key is None:
            key = self._keys[purpose] = hmac.digest(self._load(), f"denizen {purpose}".encode(), "sha256")
        return hmac.digest(key, b"".join(len(part).to_bytes(8) + part for part in parts), "sha256")

    def seal(self, purpose: str, content: bytes) -> bytes:
        """Encrypt what the database keeps and only this install may read: AES-256-GCM, 28 bytes longer than `content`.

        Args:
            purpose: what it is for; it opens under no other.
            content: at most 2 GiB.

        Source: NIST SP 800-38D, with the random nonce of 96 bits of its section 8.2.2.
        """
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._cipher(purpose).encrypt(nonce, content, None)

    def unseal(self, purpose: str, sealed: bytes) -> bytes:
        """Give what was sealed.

        Raises:
            Unreadable: it was sealed for another purpose or under another secret, or has been changed since.
        """
        from cryptography.exceptions import InvalidTag

        try:
            return self._cipher(purpose).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], None)
        except (InvalidTag, ValueError):
            raise Unreadable(
                "What the database keeps sealed cannot be read: DENIZEN_SECRET_KEY is not the one it was sealed under."
            ) from None

    def _cipher(self, purpose: str) -> AESGCM:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # 20 ms that most commands need not wait for

        return AESGCM(self.digest(f"seal {purpose}"))


def secret_path(settings: Settings) -> Path | None:
    """Where the secret is when no setting gives it: `denizen.db.secret` beside `denizen.db`; None on PostgreSQL."""
    database = settings.sqlite_path
    return None if database is None else database.with_name(f"{database.name}.secret")


def load_secret(settings: Settings) -> bytes:
    """Return the secret key; on SQLite make it when there is none yet.

    Processes that start together on a fresh folder all return the same one: the file appears whole, or not at all.

    Raises:
        SettingsError: PostgreSQL without `DENIZEN_SECRET_KEY`; a file that others may read, or that holds no secret.
    """
    if settings.secret_key is not None:
        return settings.secret_key.get_secret_value().encode()
    path = secret_path(settings)
    if path is None:
        raise SettingsError(
            "DENIZEN_SECRET_KEY must be set with PostgreSQL: at least 32 random characters, the same for every server; "
            "make one with: python3 -c 'import secrets; print(secrets.token_urlsafe(32))'."
        )
    try:
        if not path.exists():
            _make(path)
        return read_secret(path)
    except OSError as error:
        raise SettingsError(f"The secret key {path.absolute()} cannot be used: {error.strerror}.") from None


def read_secret(path: Path) -> bytes:
    """Read a secret that its owner alone can read.

    Raises:
        SettingsError: others can read it, or it is damaged.
        OSError: it cannot be opened.
    """
    until = time.monotonic() + _PATIENCE_SECONDS
    while True:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if os.name == "posix" and mode & 0o077:
                raise SettingsError(
                    f"The secret key {path.absolute()} can be read by others (mode {mode:04o}); run: chmod 600 {path}"
                )
            text = file.read(1024).strip()
        if len(text) >= 32:
            return text
        if time.monotonic() > until:  # longer than another process needs to write one line
            raise SettingsError(
                f"The secret key {path.absolute()} is damaged: it holds {len(text)} characters. "
                "Put it back from a backup, or delete it, and a new one is made."
            )
        time.sleep(0.05)


def _make(path: Path) -> None:
    """Write a new secret, unless somebody else was faster."""
    content = f"{secrets.token_urlsafe(_BYTES)}\n".encode()
    beside = _beside(path)
    _write_new(beside, content)
    try:
        os.link(beside, path)  # unlike a rename it never replaces what is there
    except FileExistsError:
        pass
    except OSError:  # a file system without hard links; readers wait for the rest of the line
        with contextlib.suppress(FileExistsError):
            _write_new(path, content)
    finally:
        beside.unlink()
    _keep_names(path.parent)


def write_private(path: Path, text: str) -> Path:
    """Write a line into a file that its owner alone can read, in place of what was there; give its absolute path.

    When this returns it is on the disk, name and all. Until then what was there stays as it was, a power cut included.

    Raises:
        OSError: it cannot be written; nothing is left of it.
    """
    beside = _beside(path)
    _write_new(beside, f"{text}\n".encode())
    try:
        beside.replace(path)
    except OSError:
        beside.unlink()
        raise
    _keep_names(path.parent)
    return path.absolute()


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}")


def _write_new(path: Path, content: bytes) -> None:
    """Write a file that is not there yet, down to the disk; leave nothing of it where that fails."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        path.unlink()
        raise


def _keep_names(folder: Path) -> None:
    """Bring the names in a folder down to the disk: `fsync` of a file says nothing of how it is called."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
