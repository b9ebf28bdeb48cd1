"""Look-alikes: which usernames nobody could tell apart."""

from __future__ import annotations

import hashlib
import sys
import unicodedata
from string import ascii_letters, ascii_lowercase, digits

import pytest
from hypothesis import given
from hypothesis import strategies as st

from denizen.core.confusables import prototypes, skeleton
from denizen.core.identifiers import username_skeleton


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("paypal", "\u0440\u0430\u0443\u0440\u0430l"),  # Cyrillic er a u er a
        ("PayPal", "paypal"),
        ("bob", "\u0412ob"),  # Cyrillic capital ve, which looks like B
        ("admin", "\u0430dmin"),
        ("modern", "modern"),
        ("alice", "a\u217cice"),  # small Roman numeral fifty
        ("mike", "\u217fike"),  # small Roman numeral one thousand, which the data draws as rn
        ("scope", "\u0455\u0441\u043e\u0440\u0435"),
        ("strasse", "stra\u00dfe"),
        ("paul", "pau|"),
        ("ΟΔΟΣ", "\u039f\u0394\u039f\u03a3"),
        ("josé", "jose\u0301"),
    ],
)
def test_names_that_look_alike_have_one_skeleton(one: str, other: str) -> None:
    assert username_skeleton(one) == username_skeleton(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("modern", "modem"),
        ("bill", "bi11"),
        ("o0", "00"),
        ("l1", "ll"),
        ("jose", "josé"),
        ("вов", "bob"),
        ("Iris", "lris"),
    ],
)
def test_names_that_are_merely_close_stay_apart(one: str, other: str) -> None:
    assert username_skeleton(one) != username_skeleton(other)


@given(st.text(ascii_letters + digits + "._-+@", max_size=64))
def test_ascii_letters_and_digits_stand_for_themselves(text: str) -> None:
    assert username_skeleton(text) == skeleton(text) == text.lower()


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=64))
def test_the_short_path_agrees_with_the_table(text: str) -> None:
    assert username_skeleton(text) == skeleton(text)


@given(st.text(st.characters(), max_size=30))
def test_a_skeleton_is_its_own_skeleton(text: str) -> None:
    found = skeleton(text)

    assert skeleton(found) == found
    assert unicodedata.is_normalized("NFD", found)


@given(st.text(max_size=20))
def test_the_way_accents_are_typed_does_not_matter(text: str) -> None:
    assert skeleton(unicodedata.normalize("NFC", text)) == skeleton(unicodedata.normalize("NFD", text))


def test_every_character_settles() -> None:
    interesting = {*prototypes(), *(ord(each) for target in prototypes().values() for each in target)}
    interesting |= {point for point in range(sys.maxunicode + 1) if chr(point).casefold() != chr(point)}

    for point in interesting:
        found = skeleton(chr(point))
        assert skeleton(found) == found
        assert 1 <= len(found) <= 18


def test_each_ascii_letter_has_look_alikes_elsewhere() -> None:
    imitated = {skeleton(chr(point)) for point in prototypes()}

    assert set(ascii_lowercase) <= imitated


def test_the_table_has_not_changed_under_the_skeletons_that_are_stored() -> None:
    """When this fails, an upgrade needs a migration that computes every skeleton anew.

    Only characters of Unicode 3.2 count, which every Python treats alike.
    """
    known = [point for point in sorted(prototypes()) if unicodedata.ucd_3_2_0.category(chr(point)) != "Cn"]
    lines = "".join(f"{point:X}>{skeleton(chr(point))}\n" for point in known)

    assert hashlib.sha256(lines.encode("utf-8", "surrogatepass")).hexdigest()[:16] == "d14c99fcd88508b9"
