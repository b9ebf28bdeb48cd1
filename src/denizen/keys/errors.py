"""What can go wrong with API keys."""

from __future__ import annotations

from denizen.core.errors import Conflict, Forbidden, Invalid, NotFound


class KeyNotFound(NotFound):
    """No such key."""

    code = "key_not_found"
    title = "API key not found"


class KeyBeyondMaker(Forbidden):
    """A key may not be given what its maker lacks, and may not outlive its maker."""

    code = "key_beyond_maker"
    title = "More than the maker has"


class KeyExpiryInvalid(Invalid):
    """The key would have ended before it began."""

    code = "key_expiry_invalid"
    title = "Expiry not valid"


class KeysTooMany(Conflict):
    """A person has as many keys as anybody may have."""

    code = "keys_too_many"
    title = "Too many API keys"
