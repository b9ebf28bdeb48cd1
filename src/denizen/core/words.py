"""Names as words that a search can compare: in any script, with case and accents folded, alike on both databases.

A text for the index is the words of all names of one person, each once, each with two spaces before it and one behind
the last: `  ada  lovelace  example  org `. So a part of a word is a part of the text, the beginning of a word a part
that begins with a space, and the trigrams of FTS5 and of pg_trgm find all three.

The text is ASCII. A letter that is not, once its accents are off, is written as five capitals, `AJMIM` for U+674E, say.
For pg_trgm leaves out whatever the locale of a database does not call a letter, which in the locale `C` is all but
ASCII, and trigrams want three characters where a Chinese name has one or two. The first of the five is one of `A` to
`F` and the others are none of these, so that a letter is never found across two others; what was ASCII has no capitals.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import Final

_FIRST: Final = "ABCDEF"
_NEXT: Final = "GHIJKLMNOPQRSTUVWXYZ"

_PLAIN: Final = {
    "\u0131": "i", "ł": "l", "ø": "o", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ħ": "h", "ŧ": "t",
    "ŋ": "n", "ə": "e",
}  # fmt: skip
"""What people type for letters that Unicode does not take apart."""

_ACCENTS: Final = frozenset(range(10, 37)) | frozenset(range(200, 256))
"""Canonical combining classes that are left out: accents, and the points of Hebrew, Arabic and Syriac.

Not those of 7 to 9 and 84 to 132 (nukta, kana voicing, virama, the vowels and tones of Telugu, Thai, Lao, Tibetan):
without them these are other letters.
"""


_VARIANTS: Final = frozenset((*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0), 0x180B, 0x180C, 0x180D, 0x180F))
_KEPT: Final = 50_000


class _Table(dict[int, str]):
    """What becomes of each character; found out at its first use and kept, of as many as any language has."""

    def __init__(self, find: Callable[[str], str]) -> None:
        super().__init__()
        self._find = find

    def __missing__(self, point: int) -> str:
        found = self._find(chr(point))
        if len(self) < _KEPT:  # there are a million, which somebody might send one after the other
            self[point] = found
        return found


def _without_accent(character: str) -> str:
    """Leave out accents, and what nobody sees: marks of direction and joining, variation selectors."""
    unseen = unicodedata.category(character) == "Cf" or ord(character) in _VARIANTS
    return "" if unseen or unicodedata.combining(character) in _ACCENTS else character


def _letter(character: str) -> str:
    """Give what stands for one character of a folded text; a space for what stands between words."""
    if unicodedata.category(character)[0] not in "LNM":
        return "" if character in "'\u2019\u02bc" else " "  # O'Brien is one word
    plain = _PLAIN.get(character) or str(unicodedata.decimal(character, character))
    return plain if plain.isascii() else "".join(map(_capitals, plain))


def _capitals(letter: str) -> str:
    rest, code = ord(letter), ""
    for _ in range(4):
        rest, digit = divmod(rest, len(_NEXT))
        code = _NEXT[digit] + code
    return _FIRST[rest] + code


_ACCENTLESS: Final = _Table(_without_accent)
_LETTERS: Final = _Table(_letter)
_ASCII: Final = bytes(ord(_letter(chr(point)) or " ") for point in range(128)) + bytes(128)


def words_of(text: str) -> list[str]:
    """Split a text into words in the form of the index: ASCII, folded, each once, in their order."""
    return list(dict.fromkeys((_fold_ascii if text.isascii() else _fold)(text).split()))


def _fold_ascii(text: str) -> str:
    return text.lower().encode().translate(_ASCII, b"'").decode()  # as bytes in half the time


def _fold(text: str) -> str:
    folded = text.translate(_ALONE)  # in a third of the time, and for most names the whole of it
    return _fold_together(text) if _JOINS in folded else folded


def _fold_together(text: str) -> str:
    # Together again: without it the syllables of Korean would be letters, which are in too many names.
    return unicodedata.normalize("NFC", _without_accents(text)).translate(_LETTERS)


def _without_accents(text: str) -> str:
    return unicodedata.normalize("NFKD", text.casefold()).casefold().translate(_ACCENTLESS)


_JOINS: Final = "\0"


def _alone(character: str) -> str:
    """Give what a character becomes whatever stands beside it; `_JOINS` for one that may become one with another.

    Those are marks that are no accents (vowels of Indic scripts, say) and the parts of Korean syllables: Unicode
    composes nothing else with what stands before it.
    """
    joins = any(
        unicodedata.category(each)[0] == "M" or "\u1100" <= each <= "\u11ff" for each in _without_accents(character)
    )
    return _JOINS if joins and not "가" <= character <= "힣" else _fold_together(character)


_ALONE: Final = _Table(_alone)


def search_text(*names: str | None) -> str:
    """Write the text of the index for a person with these names; empty for one without a letter.

    About 2 µs; those of the names that are not ASCII, which take twice as long, by themselves.
    """
    plain, others = list[str](), list[str]()
    for name in names:
        if name:
            (plain if name.isascii() else others).append(name)
    folded = _fold_ascii("\n".join(plain))
    if others:
        folded = "\n".join([folded, *map(_fold, others)])
    words = dict.fromkeys(folded.split())
    return f"  {'  '.join(words)} " if words else ""


def part_of_text(word: str) -> str:
    """Give what a text with `word` in it contains: the word anywhere, or, of one or two letters, at a beginning."""
    return f"  {word}" if len(word) < 3 else word


def trigrams_of(word: str) -> list[str]:
    """Give the trigrams that a text with `word` in it (see `part_of_text`) has, each once."""
    part = part_of_text(word)[-3:] if len(word) < 3 else word
    return list(dict.fromkeys(part[place : place + 3] for place in range(len(part) - 2)))
