"""Tokens: 256 random bits under a prefix that says what they open."""

from __future__ import annotations

import base64
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from denizen.core.tokens import DIGEST_LENGTH, TOKEN_LENGTH, Prefix, digest, looks_like, new_token

PREFIXES: tuple[Prefix, ...] = ("dzk_", "dzs_", "dzr_")


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_token_carries_32_random_bytes_under_its_prefix(prefix: Prefix) -> None:
    tokens = {new_token(prefix) for _ in range(500)}

    assert len(tokens) == 500
    for token in tokens:
        assert len(token) == TOKEN_LENGTH == 47
        assert token.startswith(prefix)
        assert len(base64.urlsafe_b64decode(token[4:] + "=")) == 32
        assert looks_like(token, prefix)


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_token_of_one_purpose_looks_like_no_other(prefix: Prefix) -> None:
    token = new_token(prefix)

    assert [other for other in PREFIXES if looks_like(token, other)] == [prefix]


def test_the_digest_covers_the_prefix() -> None:
    token = new_token("dzk_")

    assert digest(token) == sha256(token.encode()).digest()
    assert len(digest(token)) == DIGEST_LENGTH
    assert digest(token) != digest("dzs_" + token[4:])


TOKEN = "dzk_" + "A" * 43


@pytest.mark.parametrize(
    "text",
    ["", "dzk_", TOKEN[:-1], TOKEN + "A", TOKEN + "\n", TOKEN[:-1] + "B", TOKEN[:-1] + "\n", TOKEN[:-1] + "=",
     TOKEN.upper(), "dzk-" + "A" * 43, TOKEN.replace("A", "+"), TOKEN.replace("A", "٠"), "\ud800" * 47],
)  # fmt: skip
def test_what_was_never_made_here_does_not_look_like_a_token(text: str) -> None:
    assert looks_like(TOKEN, "dzk_")
    assert not looks_like(text, "dzk_")


@given(st.text(st.characters(), max_size=60))
def test_any_text_has_a_digest(text: str) -> None:
    assert len(digest(text)) == 32
