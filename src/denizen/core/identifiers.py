"""What people are known by: e-mail addresses and usernames, how they are checked, and what makes two of them one.

Three forms are kept of a name. The *clean* one is shown to people; the *key* decides uniqueness; the *skeleton* (of
usernames alone) is what a reader takes it for. Plain ASCII takes a short path that gives what the libraries give,
at a tenth of the time; property tests hold the two against each other.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Final, NamedTuple

from email_validator import SPECIAL_USE_DOMAIN_NAMES, EmailNotValidError, validate_email
from email_validator.rfc_constants import CASE_INSENSITIVE_MAILBOX_NAMES
from precis_i18n import get_profile

from denizen.core.confusables import skeleton
from denizen.core.errors import Invalid

MAX_USERNAME_LENGTH: Final = 64
MAX_EMAIL_LENGTH: Final = 254
MAX_FULL_NAME_LENGTH: Final = 200
MAX_EXTERNAL_ID_LENGTH: Final = 255
MAX_KEY_LENGTH: Final = 512
"""Lengths in code points; a key or skeleton may be longer than what it was made of (`ß` becomes `ss`)."""

_MAX_RAW_LENGTH: Final = 4 * MAX_USERNAME_LENGTH
"""Before normalisation, which may make it shorter; beyond this nothing is looked at."""

_ATEXT: Final = r"[A-Za-z0-9_!#$%&'*+\-/=?^`{|}~]+"
_PLAIN_EMAIL: Final = re.compile(
    rf"({_ATEXT}(?:\.{_ATEXT})*)@(?:[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*\.)+([A-Za-z0-9]*[A-Za-z])"
)
"""Addresses about which there can be no doubt. A label with two hyphens in a row (Punycode, say) is not one."""
_PLAIN_LOCAL: Final = re.compile(rf"(?=.{{1,40}}\Z){_ATEXT}(?:\.{_ATEXT})*")
_MAX_SHORT: Final = 60
"""Of such an address no form, in Punycode or in bytes, is as long as an address may be."""
_MAX_LABEL: Final = 63
_RESERVED: Final = frozenset(name.rpartition(".")[2] for name in SPECIAL_USE_DOMAIN_NAMES)
_MAILBOX_NAMES: Final = frozenset(CASE_INSENSITIVE_MAILBOX_NAMES)

_PLAIN_USERNAME: Final = re.compile(r"[!#$&-_a-{}~]{1,64}")
"""Printable ASCII without `"`, `%`, `` ` `` and `|`, which look like something else."""
_USERNAME: Final = get_profile("UsernameCaseMapped:ToLower")


class EmailInvalid(Invalid):
    """Not an e-mail address that mail could be sent to."""

    code = "email_invalid"
    title = "E-mail address not valid"


class UsernameInvalid(Invalid):
    """Not a username by RFC 8265, or one that looks like somebody else's address."""

    code = "username_invalid"
    title = "Username not valid"


class IdentityMissing(Invalid):
    """Neither a username nor an e-mail address was given."""

    code = "identity_missing"
    title = "Username or e-mail address needed"


class Identity(NamedTuple):
    """All forms of one person's names, as they are stored. The skeleton is there when the username is."""

    username: str | None
    email: str | None
    email_key: str | None
    username_key: str | None
    username_skeleton: str | None


def clean_email(text: str) -> str:
    """Check an address and return it as it is shown: local part in NFC, domain in lower-case Unicode.

    The case of the local part stays, but for names like `Postmaster` (RFC 2142). Quoted local parts, addresses in
    brackets, display names and reserved domains are refused; nobody asks the DNS.

    Raises:
        EmailInvalid: with the reason, which repeats nothing of the address.
    """
    return _clean_and_key(text)[0]


def _clean_and_key(text: str) -> tuple[str, str]:
    """Return an address as shown and its key; one object for both where they are the same, as most are."""
    plain = _PLAIN_EMAIL.fullmatch(text) if len(text) <= MAX_EMAIL_LENGTH else None
    if plain is not None:
        lowered = text.lower()
        local_end = plain.end(1)
        if lowered[plain.start(2) :] not in _RESERVED and len(text) - local_end <= _MAX_LABEL:
            if lowered == text or lowered[:local_end] in _MAILBOX_NAMES:
                return lowered, lowered
            return text[:local_end] + lowered[local_end:], lowered
    clean = _clean_any_email(text)
    return clean, email_key(clean)


def _clean_any_email(text: str) -> str:
    if len(text) > MAX_EMAIL_LENGTH:
        raise EmailInvalid(f"The e-mail address is longer than {MAX_EMAIL_LENGTH} characters.", field="email")
    local, _, domain = text.rpartition("@")
    try:
        is_plain = not domain.isascii() and len(text) <= _MAX_SHORT and _PLAIN_LOCAL.fullmatch(local)
        if is_plain and local.lower() not in _MAILBOX_NAMES:
            return f"{local}@{_clean_domain(domain)}"
        return validate_email(text, check_deliverability=False).normalized
    except EmailNotValidError as error:
        # What follows a colon or a bracket in the library's sentences are pieces of the address.
        reason = re.split(r"[:(]", str(error), maxsplit=1)[0].rstrip(" .")
        raise EmailInvalid(f"{reason}.", field="email") from None


@lru_cache(maxsize=1024)
def _clean_domain(domain: str) -> str:
    """Check a domain that is not ASCII: 90 µs of IDNA, for which many people have one."""
    return validate_email(f"a@{domain}", check_deliverability=False).domain


def email_key(email: str) -> str:
    """Return what makes an address unique: the same for every way to write its letters large or small.

    The local part is compared by Unicode case folding of its upper-case form, so that `ß`, `ẞ` and `SS`, both small
    sigmas, the dotless i and `I` are the same in it. The domain is compared as IDNA compares it: there `ß` and `ss`
    are two names with two owners.

    Args:
        email: an address as `clean_email` returns it, or a key. Nothing is checked here.
    """
    if email.isascii():
        return email.lower()
    local, at, domain = email.rpartition("@")
    return _fold(local) + at + domain.lower()


def _fold(text: str) -> str:
    """Fold case for good: a second fold changes nothing, and neither does a change of case before the first."""
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFD", text).upper().casefold())
    return folded if folded == text else _fold(folded)


def clean_username(text: str) -> str:
    """Check a username and return it as it is shown: NFC, full-width letters made plain, case kept.

    Raises:
        UsernameInvalid: empty, longer than 64 code points, or not allowed by the IdentifierClass of RFC 8264.
    """
    return text if _PLAIN_USERNAME.fullmatch(text) else _enforce(text)[0]


def username_key(username: str) -> str:
    """Return what makes a username unique: UsernameCaseMapped of RFC 8265 section 3.3.

    Args:
        username: as `clean_username` returns it, or a key.

    Raises:
        UsernameInvalid: as `clean_username`.
    """
    return username.lower() if _PLAIN_USERNAME.fullmatch(username) else _enforce(username)[1]


def _enforce(text: str) -> tuple[str, str]:
    """Return a username as shown and its key, by the library."""
    if not text:
        raise UsernameInvalid("A username cannot be empty.", field="username")
    too_long = f"A username has at most {MAX_USERNAME_LENGTH} characters."
    if len(text) > _MAX_RAW_LENGTH:
        raise UsernameInvalid(too_long, field="username")
    shown = _USERNAME.normalization_rule(_USERNAME.width_mapping_rule(text))
    if len(shown) > MAX_USERNAME_LENGTH:
        raise UsernameInvalid(too_long, field="username")
    try:
        key = _USERNAME.enforce(shown)
    except UnicodeEncodeError:
        raise UsernameInvalid(
            "A username is made of letters, digits and ASCII signs, without spaces; "
            "right-to-left letters do not mix with others.",
            field="username",
        ) from None
    return shown, key


def username_skeleton(username: str) -> str:
    """Return what a reader takes a username for; two people never have the same.

    As the skeleton of UTS #39, but ASCII letters and digits stand for themselves, so that `modern` and `modem` both
    exist while `paypal` in Cyrillic letters is taken when `paypal` is. Case is folded after the mapping, since the
    capital ve of Cyrillic looks like `B` and its small form like no Latin letter. Idempotent; NFD.

    Args:
        username: as shown (`clean_username`). A key will do as well, but misses the likeness of capitals.
    """
    if _PLAIN_USERNAME.fullmatch(username):
        return username.lower()
    return skeleton(username)


def check_username_email(username: str, email: str | None) -> None:
    """Refuse a username with an `@`, unless it is the same person's e-mail address.

    Args:
        username: as `clean_username` returns it.
        email: as `clean_email` returns it, if there is one.

    Raises:
        UsernameInvalid: it could be mistaken for the address of another.
    """
    if "@" not in username:
        return
    if email is not None:
        try:
            if email_key(clean_email(username)) == email_key(email):
                return
        except EmailInvalid:
            pass
    raise UsernameInvalid("A username with an @ must be the same person's e-mail address.", field="username")


def identify(username: str | None, email: str | None) -> Identity:
    """Check both names of one person and return every form of them.

    Plain ASCII takes about 2 µs, other scripts about 100 µs.

    Raises:
        IdentityMissing: both are None.
        EmailInvalid, UsernameInvalid: as `clean_email`, `clean_username` and `check_username_email`.
    """
    if email is None and username is None:
        raise IdentityMissing("A username or an e-mail address is needed.")
    key_of_email = None
    if email is not None:
        email, key_of_email = _clean_and_key(email)
    if username is None:
        return Identity(None, email, key_of_email, None, None)
    plain = _PLAIN_USERNAME.fullmatch(username) is not None
    shown, key = (username, username.lower()) if plain else _enforce(username)
    if key == shown:
        key = shown  # one object instead of two, of which an import holds many
    if "@" in shown:
        check_username_email(shown, email)
    return Identity(shown, email, key_of_email, key, key if plain else skeleton(shown))
