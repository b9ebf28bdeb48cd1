"""Names as words: one form for all spellings, ASCII alone, and never a letter across two others."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from denizen.core import words
from denizen.core.words import part_of_text, search_text, trigrams_of, words_of


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Ada Lovelace", "ADA lovelace"),
        ("José Núñez", "jose nunez"),
        ("Müller", "MULLER"),
        ("Łukasz Wójcik", "lukasz wojcik"),
        ("Đặng Thị Hòa", "dang thi hoa"),
        ("Straße", "STRASSE"),
        ("İstanbul", "istanbul"),
        ("ISPARTA", "\u0131sparta"),
        ("Smørrebrød", "smorrebrod"),
        ("Ærøskøbing", "aeroskobing"),
        ("Щукин Пётр", "щукин петр"),
        ("ΝΊΚΟΣ", "νίκος"),
        ("Ζέρβας", "ΖΕΡΒΑΣ"),
        ("مُحَمَّد", "محمد"),
        ("דָּוִד", "דוד"),
        ("ｆｕｌｌｗｉｄｔｈ", "fullwidth"),
        ("ﬁsh", "fish"),
        ("O'Brien", "obrien"),
        ("O\u2019Brien", "obrien"),
        ("٣٤٥", "345"),
        (unicodedata.normalize("NFD", "김민준"), "김민준"),
        ("ﾀﾅｶ", "タナカ"),
        ("葛\U000e0100城", "葛城"),
        ("می\u200cخواهم", "میخواهم"),
        ("co\u00adop", "coop"),
    ],
)
def test_spellings_of_one_name_are_the_same_words(one: str, other: str) -> None:
    assert words_of(one) == words_of(other) != []


@pytest.mark.parametrize(
    ("one", "other"), [("かき", "がき"), ("कमल", "कमाल"), ("ไก่", "ไก"), ("김", "긴"), ("李", "王"), ("и", "у")]
)
def test_marks_that_make_another_letter_stay(one: str, other: str) -> None:
    assert words_of(one) != words_of(other)


def test_words_are_split_where_a_reader_splits_them_and_each_is_there_once() -> None:
    assert words_of("ada.lovelace+news@mail.example.org") == ["ada", "lovelace", "news", "mail", "example", "org"]
    assert words_of("Ada ada ADA  Ada-Maria") == ["ada", "maria"]
    assert words_of("  @#!?  ") == []
    assert search_text("ada", None, "Ada Lovelace", "") == "  ada  lovelace "
    assert search_text(None, "—") == ""


@given(st.text(max_size=60))
def test_the_form_is_ascii_and_nothing_is_too_strange_for_it(text: str) -> None:
    for word in words_of(text):
        assert re.fullmatch(r"(?:[a-z0-9]|[A-F][G-Z]{4})+", word)


@given(st.text(min_size=1, max_size=20), st.text(max_size=5), st.text(max_size=5))
def test_a_part_of_a_word_is_a_part_of_the_text_and_so_are_its_trigrams(middle: str, before: str, behind: str) -> None:
    text = search_text(middle + behind)
    whole = words_of(middle + behind)

    for word in words_of(before + middle):
        for part in (word[: len(word) // 2], word):
            if part and any(each.startswith(part) for each in whole) and not re.search("[A-F][G-Z]{0,3}$", part):
                assert part_of_text(part) in text
                assert all(trigram in text for trigram in trigrams_of(part))


@pytest.mark.parametrize(
    ("word", "trigrams"), [("b", ["  b"]), ("bo", [" bo"]), ("bob", ["bob"]), ("smith", ["smi", "mit", "ith"])]
)
def test_short_words_are_looked_for_at_a_beginning(word: str, trigrams: list[str]) -> None:
    assert trigrams_of(word) == trigrams


SIGNS = st.characters(exclude_categories=["Cs"])
JOINING = st.sampled_from("가각김\u1100\u1161\u11a8कि\u093e\u093c\u0301\u3099がか\u0e48Σσς'İıß\u0344")


@given(st.text(SIGNS | JOINING, max_size=8))
def test_sign_by_sign_gives_the_same_as_the_whole(text: str) -> None:
    assert words._fold(text) == words._fold_together(text)


def test_nothing_but_what_is_told_apart_joins_what_stands_before_it() -> None:
    """As Unicode is in this Python: what `_alone` relies on."""
    composed = [chr(point) for point in range(0x110000) if unicodedata.decomposition(chr(point))[:1] not in ("", "<")]
    pairs = [unicodedata.decomposition(each).split() for each in composed if unicodedata.normalize("NFC", each) == each]

    assert {unicodedata.category(chr(int(pair[1], 16)))[0] for pair in pairs if len(pair) == 2} == {"M"}
