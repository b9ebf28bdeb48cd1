"""Names of people: what is accepted, and which two names are one.

The short path for ASCII is held against the libraries, verdict and result.
"""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Callable
from functools import cache
from string import ascii_letters, digits, punctuation

import pytest
from email_validator import EmailNotValidError, validate_email
from hypothesis import assume, example, given
from hypothesis import strategies as st
from precis_i18n import get_profile

from denizen.core.errors import Invalid
from denizen.core.identifiers import (
    MAX_EMAIL_LENGTH,
    MAX_KEY_LENGTH,
    MAX_USERNAME_LENGTH,
    EmailInvalid,
    Identity,
    IdentityMissing,
    UsernameInvalid,
    check_username_email,
    clean_email,
    clean_username,
    email_key,
    identify,
    username_key,
    username_skeleton,
)

PROFILE = get_profile("UsernameCaseMapped")


@cache
def library_email(text: str) -> str | None:
    try:
        return validate_email(text, check_deliverability=False).normalized
    except EmailNotValidError:
        return None


def our_email(text: str) -> str | None:
    try:
        return clean_email(text)
    except EmailInvalid:
        return None


def why_refused(text: str) -> str:
    try:
        clean_email(text)
    except EmailInvalid as refused:
        return refused.detail
    return ""


def library_username(text: str) -> str | None:
    try:
        return PROFILE.enforce(text)
    except UnicodeEncodeError:
        return None


def our_username_key(text: str) -> str | None:
    try:
        return username_key(text)
    except UsernameInvalid:
        return None


# ---------------------------------------------------------------------------------------------------------- strategies

ATOM = st.text(ascii_letters + digits + "!#$%&'*+-/=?^_`{|}~", min_size=1, max_size=20)
LOCAL = st.lists(ATOM, min_size=1, max_size=3).map(".".join) | st.sampled_from(["Info", "POSTMASTER", "www", "Sales"])
LABEL = st.text(ascii_letters + digits + "-", min_size=1, max_size=12) | st.sampled_from(
    ["xn--p1ai", "XN--80AKHBYKNJ4F", "a" * 63, "b" * 64, "ab--c", "x--y", "1", "-a", "a-"]
)
ENDING = st.sampled_from(
    ["com", "ORG", "de", "local", "Test", "onion", "arpa", "invalid", "localhost", "c0m", "1", "a1"]
)
DOMAIN = st.tuples(st.lists(LABEL, max_size=3), ENDING | LABEL).map(lambda parts: ".".join([*parts[0], parts[1]]))
PLAIN_EMAIL = st.tuples(LOCAL, DOMAIN).map("@".join)
MANGLED = st.tuples(PLAIN_EMAIL, st.integers(0, 40), st.sampled_from([*punctuation, " ", "\n", "\t", "\x00", ""])).map(
    lambda parts: parts[0][: parts[1]] + parts[2] + parts[0][parts[1] :]
)
LETTERS = st.text(
    st.characters(categories=["Lu", "Ll", "Lt", "Lo", "Lm", "Nd", "Mn"]) | st.sampled_from("ßẞİıIiςσΣſKŉǰΐᾳᾼᲀꭰᎠ"),
    min_size=1,
    max_size=12,
)
ANY_EMAIL = PLAIN_EMAIL | st.tuples(LETTERS, st.sampled_from(["example.com", "Straße.DE", "bücher.example.org"])).map(
    "@".join
)


# -------------------------------------------------------------------------------------------------------------- e-mail


@given(PLAIN_EMAIL | MANGLED)
@example("a@" + "b" * 63 + "." + "c" * 63 + "." + "d" * 63 + "." + "e" * 57 + ".com")
@example("a" * 242 + "@example.com")
@example("a" * 243 + "@example.com")
@example("a@b.c-d")
@example("Postmaster@Example.COM")
@example("PostMaster.@example.com")
@example("a@example.com\n")
def test_the_short_path_gives_what_the_library_gives(text: str) -> None:
    assert our_email(text) == library_email(text)


@given(st.text(st.characters(codec="ascii"), max_size=30).map(lambda text: text.replace(" ", "@", 1)))
def test_random_ascii_gives_what_the_library_gives(text: str) -> None:
    assert our_email(text) == library_email(text)


@given(ANY_EMAIL)
def test_a_clean_address_is_clean_and_within_its_length(text: str) -> None:
    cleaned = our_email(text)
    assume(cleaned is not None)
    assert cleaned is not None

    assert len(cleaned) <= MAX_EMAIL_LENGTH
    assert unicodedata.is_normalized("NFC", cleaned)
    assert our_email(cleaned) == cleaned


@given(st.text(st.characters(), max_size=300))
def test_any_text_is_an_address_or_refused_in_order(text: str) -> None:
    cleaned = our_email(text)

    assert cleaned is None or ("\x00" not in cleaned and cleaned.encode())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "@",
        "a@",
        "@b.de",
        "a@b",
        "alice",
        " a@example.com",
        "a@example.com ",
        "a b@example.com",
        '"a b"@example.com',
        "a@[192.0.2.1]",
        "Alice <a@example.com>",
        "a@b@example.com",
        "a..b@example.com",
        ".a@example.com",
        "a@-example.com",
        "a@example..com",
        "a@ex_ample.com",
        "a@example.com.",
        "a@localhost",
        "a@printer.local",
        "a@x.test",
        "\ud800@example.com",
        "a\x00@example.com",
        "a@exam\x00ple.com",
        "a\u200b@example.com",
        "a＠example.com",
        "a@☃.com",
        "é" * 130 + "@example.com",
        "a" * 100_000 + "@example.com",
        "@" * 100_000,
        "a@" + "xn--" * 50 + ".com",
    ],
)
def test_what_mail_could_not_be_sent_to_is_refused(text: str) -> None:
    with pytest.raises(EmailInvalid) as refused:
        clean_email(text)

    assert refused.value.field == "email"
    assert refused.value.code == "email_invalid"


@given(st.tuples(st.text(st.characters(), max_size=12), st.text(st.characters(), max_size=12)).map("qzxj@jxzq".join))
def test_a_refusal_repeats_nothing_of_the_address(text: str) -> None:
    detail = why_refused(text)

    assert "qzxj" not in detail
    assert "jxzq" not in detail
    assert detail.isascii()
    assert detail == "" or detail.endswith(".")


@pytest.mark.parametrize(
    ("text", "cleaned", "key"),
    [
        ("Alice@Example.COM", "Alice@example.com", "alice@example.com"),
        ("Postmaster@Example.com", "postmaster@example.com", "postmaster@example.com"),
        ("O'Brien+x@sub.example.org", "O'Brien+x@sub.example.org", "o'brien+x@sub.example.org"),
        ("Jo\u0308rg@example.com", "Jörg@example.com", "jörg@example.com"),
        ("a@BÜCHER.example.com", "a@bücher.example.com", "a@bücher.example.com"),
        ("a@xn--bcher-kva.example.com", "a@bücher.example.com", "a@bücher.example.com"),
        ("A@例え.jp", "A@例え.jp", "a@例え.jp"),
        ("GROẞ@example.com", "GROẞ@example.com", "gross@example.com"),
        ("ΟΔΥΣΣΕΥΣ@example.com", "ΟΔΥΣΣΕΥΣ@example.com", "οδυσσευσ@example.com"),
        ("İPEK@example.com", "İPEK@example.com", "i\u0307pek@example.com"),
    ],
)
def test_addresses_are_shown_and_compared_in_one_form(text: str, cleaned: str, key: str) -> None:
    assert clean_email(text) == cleaned
    assert email_key(cleaned) == key


@pytest.mark.parametrize(
    "variants",
    [
        ("straße", "STRASSE", "STRAẞE", "strasse", "Straße"),
        ("οδός", "ΟΔΌΣ", "οδόσ", "Οδός"),
        ("ipek", "IPEK", "ıpek"),
        ("İpek", "i\u0307pek", "I\u0307PEK"),
        ("жук", "ЖУК", "Жук"),
        ("ﬁn", "FIN", "Fin"),
        ("ꮳꮃꭹ", "ᏣᎳᎩ"),
        ("ǆ", "ǅ", "Ǆ"),
        ("\u212aelvin", "kelvin", "KELVIN"),
    ],
)
def test_an_address_has_one_key_in_whatever_case(variants: tuple[str, ...]) -> None:
    assert len({email_key(clean_email(f"{each}@example.com")) for each in variants}) == 1


@given(LETTERS)
def test_a_change_of_case_never_changes_the_key(local: str) -> None:
    cleaned = our_email(f"{local}@example.com")
    assume(cleaned is not None)
    assert cleaned is not None
    local = cleaned.partition("@")[0]

    for change in (str.upper, str.lower, str.title, str.swapcase, str.casefold, str.capitalize):
        assert email_key(f"{change(local)}@example.com") == email_key(cleaned), change


def test_no_character_at_all_has_two_keys() -> None:
    for point in range(sys.maxunicode + 1):
        character = chr(point)
        if unicodedata.category(character) in ("Cs", "Cn", "Co") or character in ("\x00", "@"):
            continue
        if (upper := character.upper()) != character or character.casefold() != character:
            keys = {email_key(f"{each}@e.de") for each in (character, upper, character.lower(), character.title())}
            assert len(keys) == 1, hex(point)


@given(ANY_EMAIL)
def test_a_key_is_its_own_key_and_within_its_length(text: str) -> None:
    cleaned = our_email(text)
    assume(cleaned is not None)
    assert cleaned is not None
    key = email_key(cleaned)

    assert email_key(key) == key
    assert len(key) <= MAX_KEY_LENGTH
    assert "\x00" not in key
    assert key.encode()


@pytest.mark.parametrize("character", "ßİΐᾳŉǰﬃᾼ")
def test_the_longest_keys_fit(character: str) -> None:
    cleaned = clean_email(character * ((MAX_EMAIL_LENGTH - 5) // len(character.encode())) + "@e.de")

    assert len(email_key(cleaned)) <= MAX_KEY_LENGTH


def test_domains_that_are_different_names_stay_different() -> None:
    assert email_key(clean_email("a@faß.de")) != email_key(clean_email("a@fass.de"))


# ------------------------------------------------------------------------------------------------------------ username


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=MAX_USERNAME_LENGTH))
def test_the_short_path_for_usernames_gives_what_the_library_gives(text: str) -> None:
    assert username_key(text) == library_username(text)
    assert clean_username(text) == text


@given(st.text(st.characters(codec="ascii"), max_size=8))
def test_random_ascii_usernames_give_what_the_library_gives(text: str) -> None:
    assert our_username_key(text) == library_username(text)


@given(LETTERS)
def test_usernames_are_judged_by_the_library(text: str) -> None:
    assume(len(unicodedata.normalize("NFC", text)) <= MAX_USERNAME_LENGTH)
    assert (our_username_key(text) is None) == (library_username(unicodedata.normalize("NFC", text)) is None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "a b",
        "a\u00a0b",
        "a\tb",
        "a\x00b",
        "\ud800",
        "a\u200bb",
        "a\u202eb",
        "\ufeffa",
        "😀",
        "ﬁ",
        "①",
        "aא",
        "𝐩𝐚𝐲",
        "a" * 65,
        "é" * 65,
        "a" * 1_000_000,
        "\u0301" * 1_000_000,
    ],
)
def test_what_is_no_username_is_refused(text: str) -> None:
    for judge in (clean_username, username_key):
        with pytest.raises(UsernameInvalid) as refused:
            judge(text)

        assert refused.value.field == "username"
        assert refused.value.code == "username_invalid"
        assert refused.value.detail.isascii()


@pytest.mark.parametrize(
    ("text", "shown", "key"),
    [
        ("Alice", "Alice", "alice"),
        ("ＡＬＩＣＥ", "ALICE", "alice"),
        ("Jo\u0308rg", "Jörg", "jörg"),
        ("ΟΔΟΣ", "ΟΔΟΣ", "οδος"),
        ("שלום", "שלום", "שלום"),
        ("日本語", "日本語", "日本語"),
        ("fussball", "fussball", "fussball"),
        ("Fußball", "Fußball", "fußball"),
        ("a" * 64, "a" * 64, "a" * 64),
        ("e\u0301" * 64, "é" * 64, "é" * 64),
    ],
)
def test_usernames_are_shown_and_compared_in_one_form(text: str, shown: str, key: str) -> None:
    assert clean_username(text) == shown
    assert username_key(text) == username_key(shown) == key


@given(LETTERS | st.text(max_size=12))
def test_names_are_stable_and_within_their_lengths(text: str) -> None:
    try:
        shown = clean_username(text)
    except UsernameInvalid:
        return
    key, skeleton = username_key(shown), username_skeleton(shown)

    assert len(shown) <= MAX_USERNAME_LENGTH
    assert clean_username(shown) == shown
    assert username_key(text) == key
    assert our_username_key(key) == key or len(key) > MAX_USERNAME_LENGTH
    assert username_skeleton(skeleton) == skeleton
    for form in (key, skeleton):
        assert 1 <= len(form) <= MAX_KEY_LENGTH
        assert "\x00" not in form
        assert form.encode()


# --------------------------------------------------------------------------------------- a username that is an address


def test_a_username_may_be_ones_own_address() -> None:
    check_username_email("Alice@Example.com", "alice@example.com")
    check_username_email("Jörg@example.com", "jo\u0308rg@example.com")
    check_username_email("alice", None)


@pytest.mark.parametrize(
    ("username", "email"),
    [
        ("bob@example.com", "alice@example.com"),
        ("bob@example.com", None),
        ("@alice", "alice@example.com"),
        ("alice@", "alice@example.com"),
        ("alice@example.com@", "alice@example.com"),
    ],
)
def test_a_username_may_not_be_the_address_of_another(username: str, email: str | None) -> None:
    with pytest.raises(UsernameInvalid):
        check_username_email(username, email)
    with pytest.raises(UsernameInvalid):
        identify(username, email)


def test_a_full_width_at_sign_is_an_at_sign() -> None:
    with pytest.raises(UsernameInvalid):
        identify("bob＠example.com", "alice@example.com")
    assert identify("alice＠example.com", "alice@example.com").username == "alice@example.com"


# ------------------------------------------------------------------------------------------------------------ identify


def test_identifying_gives_every_form_at_once() -> None:
    assert identify("Alice", "Alice@Example.com") == Identity(
        username="Alice",
        email="Alice@example.com",
        email_key="alice@example.com",
        username_key="alice",
        username_skeleton="alice",
    )
    assert identify(None, "a@example.com") == Identity(None, "a@example.com", "a@example.com", None, None)
    assert identify("Жук", None) == Identity("Жук", None, None, "жук", username_skeleton("Жук"))


def test_somebody_needs_a_name() -> None:
    with pytest.raises(IdentityMissing) as refused:
        identify(None, None)

    assert refused.value.code == "identity_missing"


@given(
    st.none() | PLAIN_EMAIL | LETTERS | st.text(st.characters(), max_size=8),
    st.none() | ANY_EMAIL | st.text(st.characters(), max_size=8),
)
def test_identifying_agrees_with_its_parts(username: str | None, email: str | None) -> None:
    assert outcome(identify, username, email) == outcome(step_by_step, username, email)


def step_by_step(username: str | None, email: str | None) -> Identity:
    if username is None and email is None:
        raise IdentityMissing("")
    cleaned = None if email is None else clean_email(email)
    shown = None if username is None else clean_username(username)
    if shown is not None:
        check_username_email(shown, cleaned)
    return Identity(
        shown,
        cleaned,
        None if cleaned is None else email_key(cleaned),
        None if shown is None else username_key(shown),
        None if shown is None else username_skeleton(shown),
    )


def outcome(
    act: Callable[[str | None, str | None], Identity], username: str | None, email: str | None
) -> Identity | type[Invalid]:
    try:
        return act(username, email)
    except Invalid as refused:
        return type(refused)
