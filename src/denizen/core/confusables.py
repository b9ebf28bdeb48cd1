"""Which characters look like which: the look-alike skeleton of usernames.

The pairs come from the package `confusable-homoglyphs`, which ships Unicode's `confusables.txt` (UTS #39) as JSON. It
lists each pair in both directions, without saying which side is the prototype; that is worked out here. Skeletons are
stored: a test holds a digest of the table, since a change of it means that they have to be computed anew.
"""

from __future__ import annotations

import json
import unicodedata
from functools import cache
from importlib.resources import files
from typing import Final

_MARK: Final = "\u200e"
"""LEFT-TO-RIGHT MARK, with which the source wraps right-to-left characters."""


def skeleton(text: str) -> str:
    """Return what `text` is taken for: mapped to prototypes, case-folded and in NFD, until nothing changes any more.

    It ends for every character there is (a test tries each), after two or three rounds; idempotent.
    """
    while True:
        mapped = unicodedata.normalize("NFD", text).translate(prototypes())
        mapped = unicodedata.normalize("NFD", mapped.casefold())
        if mapped == text:
            return text
        text = mapped


@cache
def prototypes() -> dict[int, str]:
    """Return code point -> prototype, for `str.translate` on NFD text; ASCII letters and digits are not in it.

    Built on first use, in about 20 ms; one megabyte.

    In `confusables.txt` every character has one prototype and no prototype has another, so that the pairs form stars.
    The centre is the side with several neighbours; of a lone pair it is the side that the file names second. Where
    the centre is several letters and one ASCII letter belongs to the class (`m` to `rn`), all go to that letter.
    """
    stars = _stars()
    position = {name: index for index, name in enumerate(stars)}
    found: dict[int, str] = {}
    for name, neighbours in stars.items():
        if len(neighbours) > 1 or len(name) > 1 or _stands_for_itself(name):
            continue
        centre = neighbours[0]
        around = stars[centre]
        if len(around) == 1 and len(centre) == 1 and position[centre] < position[name]:
            continue
        letters = [other for other in around if _stands_for_itself(other)] if len(centre) > 1 else []
        found[ord(name)] = letters[0] if letters else centre
    return found


def _stars() -> dict[str, list[str]]:
    def shrink(pairs: list[tuple[str, object]]) -> object:
        return pairs[0][1] if pairs[0][0] == "c" else dict(pairs)  # of {"c": character, "n": name} keep the character

    source = files("confusable_homoglyphs").joinpath("confusables.json").read_text(encoding="utf-8")
    listed: dict[str, list[str]] = json.loads(source, object_pairs_hook=shrink)
    return {name.replace(_MARK, ""): [other.replace(_MARK, "") for other in others] for name, others in listed.items()}


def _stands_for_itself(name: str) -> bool:
    return len(name) == 1 and name.isascii() and name.isalnum()
