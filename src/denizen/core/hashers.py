"""Ways to hash a password: argon2id, and one for tests that protects nothing.

What argon2id is computed by decides how many can sign in, for it is nearly all that a sign-in costs. libsodium picks
what the processor has at run time (AVX2, AVX-512) and takes little more than half the time of the library that
argon2-cffi carries, for the same hash (ADR 0041); what libsodium does not compute, hashes from elsewhere with several
lanes, other salts or other kinds of argon2, goes to argon2-cffi.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import unicodedata
from typing import Final, Protocol

from argon2 import Parameters, PasswordHasher, Type, extract_parameters
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError
from argon2.low_level import error_to_str
from nacl.bindings import crypto_pwhash_alg, crypto_pwhash_ALG_ARGON2ID13, crypto_pwhash_SALTBYTES
from nacl.exceptions import RuntimeError as SodiumFailure

from denizen.core.errors import Unavailable

_MAX_PASSES: Final = 8
_MAX_LANES: Final = 16
_VERSION: Final = 19
_LEAST_OUTPUT: Final = 16
_LEAST_MEMORY: Final = 8
_KIB: Final = 1024
_NO_ROOM: Final = frozenset(error_to_str(code) for code in (-22, -33))
"""What libargon2 says for ARGON2_MEMORY_ALLOCATION_ERROR and ARGON2_THREAD_FAIL: it has a thread for each lane."""


class HashingBusy(Unavailable):
    """Too many passwords wait to be hashed, or there is no memory for one more."""

    code = "hashing_busy"
    title = "Too many sign-ins and sign-ups at once"


def normalise(password: str) -> str:
    """Return the one form of a password however it was typed: NFC, and every kind of space a plain one.

    Source: the OpaqueString profile of RFC 8265 section 4.2.2, without its refusals: those are the policy's matter.
    """
    if password.isascii():
        return password
    spaced = "".join(" " if unicodedata.category(each) == "Zs" else each for each in password)
    return unicodedata.normalize("NFC", spaced)


class Hasher(Protocol):
    """One way to hash passwords. Slow on purpose, thread-safe, and it releases the GIL.

    Any string is a password here: NUL, lone surrogates and megabytes included. Both methods that compute raise
    HashingBusy when there is no memory to do so, and nothing else.
    """

    def hash(self, password: str) -> str:
        """Return the encoded hash of `password` with a new salt, in ASCII."""
        ...

    def verify(self, password: str, encoded: str) -> bool:
        """Tell whether `encoded` was made of `password`; False for what this hasher cannot read."""
        ...

    def reads(self, encoded: str) -> bool:
        """Tell whether a password can be checked against `encoded`, without checking one."""
        ...

    def needs_rehash(self, encoded: str) -> bool:
        """Tell whether `encoded` was made with other effort than a hash made today."""
        ...

    def dummy(self) -> str:
        """Return a hash that no password fits and that takes as long to verify as one made today."""
        ...


class Argon2Hasher:
    """argon2id. The parameters stand in the hash itself, so that they can be raised at the next sign-in.

    Args:
        memory: KiB for one hash, at least 8.
        passes: over that memory.
        max_memory: KiB that a hash from elsewhere may ask for when it is verified. One that asks for more, or for
            more than 8 passes over so much or 16 lanes, fits no password: it could stop the server.

    Source: the OWASP Password Storage Cheat Sheet for the defaults; RFC 9106 for salt and output.
    """

    def __init__(self, *, memory: int = 19_456, passes: int = 2, max_memory: int = 65_536) -> None:
        if memory < _LEAST_MEMORY or passes < 1:
            raise ValueError(f"argon2id takes at least {_LEAST_MEMORY} KiB and one pass")
        self._made = Parameters(
            type=Type.ID,
            version=_VERSION,
            salt_len=crypto_pwhash_SALTBYTES,
            hash_len=32,
            time_cost=passes,
            memory_cost=memory,
            parallelism=1,
        )
        self._foreign = PasswordHasher()
        self._max_memory = max(memory, max_memory)
        self._max_work = max(memory * passes, self._max_memory * _MAX_PASSES)

    def hash(self, password: str) -> str:
        """Hash the normalised form."""
        salt = secrets.token_bytes(self._made.salt_len)
        return self._written(salt, _derive(_encode(normalise(password)), salt, self._made))

    def verify(self, password: str, encoded: str) -> bool:
        """Try the normalised form and, where it differs, the one typed: other systems hash that."""
        asked = self._asked(encoded)
        if asked is None:
            return False
        normal = normalise(password)
        return self._fits(normal, encoded, asked) or (normal != password and self._fits(password, encoded, asked))

    def needs_rehash(self, encoded: str) -> bool:
        """Compare all parameters, lengths of salt and output included."""
        return _parameters_of(encoded) != self._made

    def dummy(self) -> str:
        """Put random bytes where salt and output belong."""
        return self._written(secrets.token_bytes(self._made.salt_len), secrets.token_bytes(self._made.hash_len))

    def reads(self, encoded: str) -> bool:
        """Tell whether it is an argon2 hash in the PHC format that does not cost too much."""
        return self._asked(encoded) is not None

    def _asked(self, encoded: str) -> Parameters | None:
        asked = _parameters_of(encoded)
        if (
            asked is None
            or not encoded.isascii()
            or asked.memory_cost > self._max_memory
            or asked.memory_cost * asked.time_cost > self._max_work
            or asked.parallelism > _MAX_LANES
        ):
            return None
        return asked

    def _written(self, salt: bytes, output: bytes) -> str:
        return f"{_head(self._made)}{_text(salt)}${_text(output)}"

    def _fits(self, password: str, encoded: str, asked: Parameters) -> bool:
        if not _is_computed_by_libsodium(asked) or not encoded.startswith(_head(asked)):
            return self._fits_foreign(password, encoded)
        try:
            salt, output = (_bytes(part) for part in encoded.split("$")[-2:])
        except ValueError:
            return False
        return hmac.compare_digest(_derive(_encode(password), salt, asked), output)

    def _fits_foreign(self, password: str, encoded: str) -> bool:
        try:
            return self._foreign.verify(encoded, _encode(password))
        except (VerifyMismatchError, InvalidHashError):
            return False
        except VerificationError as error:
            if str(error) in _NO_ROOM:
                raise _no_memory() from error
            return False


def _head(made: Parameters) -> str:
    """Write what stands before the salt. Numbers can be written in other ways too, which are for libargon2 to judge."""
    return f"$argon2id$v={made.version}$m={made.memory_cost},t={made.time_cost},p={made.parallelism}$"


def _parameters_of(encoded: str) -> Parameters | None:
    try:
        return extract_parameters(encoded)
    except (InvalidHashError, ValueError):
        return None


def _is_computed_by_libsodium(asked: Parameters) -> bool:
    return (
        (asked.type, asked.version, asked.parallelism) == (Type.ID, _VERSION, 1)
        and asked.salt_len == crypto_pwhash_SALTBYTES
        and asked.hash_len >= _LEAST_OUTPUT
        and asked.memory_cost >= _LEAST_MEMORY
        and asked.time_cost >= 1
    )


def _derive(password: bytes, salt: bytes, asked: Parameters) -> bytes:
    """Compute the output of argon2id with one lane, without the GIL."""
    memory, kind = asked.memory_cost * _KIB, crypto_pwhash_ALG_ARGON2ID13
    try:
        return crypto_pwhash_alg(asked.hash_len, password, salt, asked.time_cost, memory, kind)
    except SodiumFailure as error:  # the one thing that can still fail, since all else was looked at
        raise _no_memory() from error


def _no_memory() -> HashingBusy:
    return HashingBusy("There is no memory to hash a password.", retry_after=1)


def _text(of: bytes) -> str:
    return base64.b64encode(of).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    """Read what `_text` writes, and nothing that means the same in another way.

    Raises:
        ValueError: it is something else.
    """
    found = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    if _text(found) != text:
        raise ValueError("not as it would be written")
    return found


class NullHasher:
    """No protection and no waiting: for tests. What it makes begins with `null$`."""

    def hash(self, password: str) -> str:
        """Hash the normalised form, once, without salt."""
        return "null$" + hashlib.sha256(_encode(normalise(password))).hexdigest()

    def verify(self, password: str, encoded: str) -> bool:
        """Compare."""
        return self.hash(password) == encoded

    def reads(self, encoded: str) -> bool:
        """Take its own, and argon2's, which tests import."""
        return encoded.startswith("null$") or Argon2Hasher().reads(encoded)

    def needs_rehash(self, encoded: str) -> bool:
        """Keep only its own."""
        return not encoded.startswith("null$")

    def dummy(self) -> str:
        """Return the mark alone."""
        return "null$"


def _encode(password: str) -> bytes:
    return password.encode("utf-8", "surrogatepass")
