"""Which passwords are accepted: long enough, not common, not made of what everybody knows about their owner.

There are no composition rules (NIST SP 800-63B-4 section 3.1.1.2 forbids them), and one policy judges every path that
sets a password: API, command line, import. How they are hashed is told in `core/hashers.py`.
"""

from __future__ import annotations

import re
import runpy
import unicodedata
from collections.abc import Container, Iterable
from functools import cache
from importlib.metadata import distribution
from itertools import pairwise
from typing import Final

from denizen.core.errors import Invalid
from denizen.core.hashers import normalise
from denizen.core.text import is_storable

_MAX_DECORATION: Final = 8
"""Digits and signs around a known word that do not make it a new one; more of them can hold a secret by themselves."""

_MIN_WORD: Final = 3
_MAX_LETTERS_LEFT: Final = 2
_MAX_PERIOD: Final = 4

_DECORATION: Final = re.compile(r"[\W\d_]+")
_ENDS: Final = re.compile(r"^[\W\d_]+|[\W\d_]+$")


class PasswordRefused(Invalid):
    """The password cannot be used. What is wrong is told by the subclass; nothing of the password is repeated."""

    code = "password_refused"
    title = "Password not accepted"


class PasswordTooShort(PasswordRefused):
    """Shorter than `DENIZEN_PASSWORD_MIN_LENGTH`."""

    code = "password_too_short"


class PasswordTooLong(PasswordRefused):
    """Longer than what is hashed."""

    code = "password_too_long"


class PasswordCommon(PasswordRefused):
    """On the list of common passwords, or all but."""

    code = "password_common"


class PasswordContextual(PasswordRefused):
    """Made of the name of the site, the address or the username."""

    code = "password_contextual"


class PasswordUnacceptable(PasswordRefused):
    """Not text: U+0000 or half of a surrogate pair in it."""

    code = "password_unacceptable"


@cache
def common_passwords() -> frozenset[str]:
    """Return the 30,000 passwords that most people chose in leaks, in small letters; read on first use, in 15 ms.

    Source: the frequency list in the package `zxcvbn`, whose data file is run by itself: importing the package would
    build its matchers as well.
    """
    path = distribution("zxcvbn").locate_file("zxcvbn/frequency_lists.py")
    lists: dict[str, list[str]] = runpy.run_path(str(path))["FREQUENCY_LISTS"]
    return frozenset(lists["passwords"])


PASSWORD: Final = (PasswordTooShort, PasswordTooLong, PasswordCommon, PasswordContextual)
"""What a route documents that takes a new password."""


class PasswordPolicy:
    """What a password has to be.

    Args:
        min_length: code points, after normalisation; 15 where the password is the only factor (NIST).
        max_length: code points.
        blocklist: common passwords in small letters; the list in `zxcvbn` when absent.
    """

    def __init__(self, min_length: int = 8, max_length: int = 1024, blocklist: Container[str] | None = None) -> None:
        if not 1 <= min_length <= max_length:
            raise ValueError("the least length of passwords must be at least 1 and at most the greatest")
        self.min_length = min_length
        self.max_length = max_length
        self._blocklist = blocklist

    def check(self, password: str, *, context: Iterable[str | None] = ()) -> None:
        """Refuse a bad password.

        Args:
            password: as it was typed.
            context: what others know: name and host of the site, e-mail, username, full name; whole, as they are.

        Raises:
            PasswordRefused: one of its subclasses, with `field="password"`.
        """
        if len(password) > 4 * self.max_length:
            raise self._too_long()
        if not is_storable(password):
            raise PasswordUnacceptable("The password has a character that is no text.", field="password")
        normal = normalise(password)
        if len(normal) > self.max_length:
            raise self._too_long()
        if len(normal) < self.min_length:
            raise PasswordTooShort(f"A password has at least {self.min_length} characters.", field="password")
        folded = _fold(normal)
        if self._is_common(folded):
            raise PasswordCommon("This password is among the first that anybody would try.", field="password")
        if _is_made_of(folded, context):
            raise PasswordContextual("This password is made of your name, address or site.", field="password")

    def _too_long(self) -> PasswordTooLong:
        return PasswordTooLong(f"A password has at most {self.max_length} characters.", field="password")

    def _is_common(self, folded: str) -> bool:
        listed = common_passwords() if self._blocklist is None else self._blocklist
        core = _ENDS.sub("", folded)
        is_decorated = len(core) >= _MIN_WORD and len(folded) - len(core) <= _MAX_DECORATION
        return folded in listed or (is_decorated and core in listed) or _is_monotonous(folded)


def _fold(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def _is_monotonous(text: str) -> bool:
    """Tell whether it is one short piece again and again (`abcabcabc`), or counts up or down (`23456789`)."""
    period = (text + text).find(text, 1)
    if period <= _MAX_PERIOD and period < len(text):
        return True
    steps = {ord(after) - ord(before) for before, after in pairwise(text)}
    return steps in ({1}, {-1})


def _is_made_of(folded: str, context: Iterable[str | None]) -> bool:
    """Tell whether hardly anything is left without the words of the context, and without digits and signs."""
    rest = folded
    for word in sorted(_words(context), key=lambda each: (-len(each), each)):
        rest = rest.replace(word, " ")
    if rest == folded:
        return False
    rest = rest.replace(" ", "")
    return len(rest) <= _MAX_DECORATION and len(_DECORATION.sub("", rest)) <= _MAX_LETTERS_LEFT


def _words(context: Iterable[str | None]) -> set[str]:
    """Return what the context says, whole and in its parts, each of three letters or more, and each backwards too."""
    found: set[str] = set()
    for said in context:
        if said:
            whole = _fold(normalise(said[:1024]))
            parts = [part for part in _DECORATION.split(whole) if part]
            found.update((whole, *whole.split("@"), "".join(parts), *parts))
    long_enough = {word for word in found if len(word) >= _MIN_WORD}
    return long_enough | {word[::-1] for word in long_enough}
