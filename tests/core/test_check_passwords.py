"""Which passwords are taken: long, rare, and not one's own name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from denizen.core.passwords import PasswordPolicy, PasswordRefused, common_passwords

POLICY = PasswordPolicy()
ALICE = ("Example Corp", "accounts.example.com", "alice.smith@mail.example.org", "asmith", "Alice Smith", None)


def refusal(password: str, policy: PasswordPolicy, context: tuple[str | None, ...]) -> PasswordRefused | None:
    try:
        policy.check(password, context=context)
    except PasswordRefused as refused:
        return refused
    return None


def verdict(password: str, *, policy: PasswordPolicy = POLICY, context: tuple[str | None, ...] = ()) -> str | None:
    refused = refusal(password, policy, context)
    assert refused is None or refused.field == "password"
    return None if refused is None else refused.code


@pytest.mark.parametrize(
    ("password", "code"),
    [
        ("", "password_too_short"),
        ("xK3$vQ9", "password_too_short"),
        ("xK3$vQ9z", None),
        ("e\u0301" * 7, "password_too_short"),  # seven letters, however they are typed
        ("😀🙃🚀🌍🎲🧩🪐🐙", None),
        ("😀🙃🚀🌍🎲🧩🪐", "password_too_short"),
        ("ab" + "x7" * 512, "password_too_long"),
        ("ab" + "qz7y5" * 204 + "zz", None),
        ("y" * 10_000_000, "password_too_long"),
        ("\u0301" * 5_000, "password_too_long"),
        ("abc\x00defghij", "password_unacceptable"),
        ("abc\ud800defghij", "password_unacceptable"),
        ("correct horse battery staple", None),
        ("пароль от дачи соседа", None),
        ("   x   y   z   ", None),
    ],
)
def test_length_is_counted_in_characters_and_nothing_else_is_asked(password: str, code: str | None) -> None:
    assert verdict(password) == code


@pytest.mark.parametrize(
    "password",
    [
        "password",
        "PASSWORD",
        "PassWord",
        "12345678",
        "qwertyuiop",
        "1qaz2wsx",
        "password1",
        "Password123!",
        "!!password!!",
        "dragon2024",
        "Dragon 2024!",
        "letmein-1999",
        "ｐａｓｓｗｏｒｄ",
        "aaaaaaaa",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "abcabcabcabc",
        "        ",
        "23456789",
        "98765432",
        "abcdefghijklm",
        "mnopqrst",
        "😀😀😀😀😀😀😀😀",
    ],
)
def test_what_everybody_tries_first_is_refused(password: str) -> None:
    assert verdict(password) == "password_common"


@pytest.mark.parametrize(
    "password",
    [
        "dragon-lantern-46",
        "mike8347192837465",
        "a8h2-9f7k",
        "passwordless-harbour",
        "monkey tennis racket",
        "x1234567890123y",
        "abababab-kelp",
    ],
)
def test_a_known_word_within_a_longer_secret_is_no_harm(password: str) -> None:
    assert verdict(password) is None


@pytest.mark.parametrize(
    "password",
    [
        "alice.smith",
        "AliceSmith",
        "alicesmith1985",
        "Alice Smith!!",
        "smithalice",
        "htimsecila",
        "asmith-2024",
        "asmithasmith",
        "alice.smith@mail.example.org",
        "example.org",
        "examplecorp1",
        "Example-Corp",
        "mail.example.org",
        "xasmithx",
        "alice@example",
        "ａｓｍｉｔｈ２０２４",
    ],
)
def test_what_everybody_knows_about_its_owner_is_refused(password: str) -> None:
    assert verdict(password, context=ALICE) == "password_contextual"
    assert verdict(password) is None


@pytest.mark.parametrize(
    "password",
    ["alice loves turnips", "asmith83471928374", "corporate ladder 9", "smithereens of glass", "xK3$vQ9z"],
)
def test_ones_name_within_a_longer_secret_is_no_harm(password: str) -> None:
    assert verdict(password, context=ALICE) is None


@pytest.mark.parametrize("context", [(), (None,), ("",), ("a",), ("@",), ("..", "12", "\ud800"), ("x" * 100_000,)])
def test_a_context_that_says_little_refuses_nothing(context: tuple[str | None, ...]) -> None:
    assert verdict("a12b-@..\u00e9z", context=context) is None


@given(st.text(st.characters(), max_size=40), st.lists(st.text(st.characters(), max_size=20), max_size=4))
def test_any_text_is_judged_in_order(password: str, context: list[str]) -> None:
    assert verdict(password, context=tuple(context)) in {
        None, "password_too_short", "password_common", "password_contextual", "password_unacceptable",
    }  # fmt: skip


@given(st.text(st.characters(categories=["L", "N"]), min_size=5, max_size=20))
def test_a_refusal_repeats_nothing_of_the_password(word: str) -> None:
    password = f"qzxj{word}"
    with pytest.raises(PasswordRefused) as refused:
        POLICY.check(password, context=[password])

    assert "qzxj" not in refused.value.detail + refused.value.title


def test_the_limits_can_be_set() -> None:
    nist = PasswordPolicy(min_length=15, max_length=64)

    assert verdict("xK3$vQ9zxK3$v", policy=nist) == "password_too_short"
    assert verdict("xK3$vQ9z-mT5&w2", policy=nist) is None
    assert verdict("xK3$vQ9z" * 8 + "!", policy=nist) == "password_too_long"


def test_a_list_of_ones_own_can_be_given() -> None:
    own = PasswordPolicy(blocklist={"turnip harvest"})

    assert verdict("Turnip Harvest 7", policy=own) == "password_common"
    assert verdict("password", policy=own) is None


@pytest.mark.parametrize(("least", "greatest"), [(0, 10), (11, 10)])
def test_limits_that_make_no_sense_are_refused(least: int, greatest: int) -> None:
    with pytest.raises(ValueError, match="least length"):
        PasswordPolicy(least, greatest)


def test_the_list_has_the_passwords_that_most_people_choose() -> None:
    known = common_passwords()

    assert len(known) >= 10_000
    assert {"123456", "password", "qwerty", "iloveyou", "letmein", "trustno1", "football"} <= known
    assert all(each == each.casefold() and each for each in known)


@pytest.mark.parametrize(("min_length", "many"), [(8, 11_611), (9, 2_420), (15, 31)])
def test_all_that_are_listed_and_long_enough_are_refused(min_length: int, many: int) -> None:
    """More than 3,000 with the default; a greater least length leaves fewer that anybody chose, or that leaked."""
    policy = PasswordPolicy(min_length=min_length)
    listed = [each for each in common_passwords() if len(each) >= min_length]

    assert len(listed) == many
    assert {verdict(each, policy=policy) for each in listed} == {"password_common"}
