"""What can go wrong with a search."""

from __future__ import annotations

from denizen.core.errors import Invalid


class SearchInvalid(Invalid):
    """A search for nothing: no letter and no digit in it."""

    code = "search_invalid"
    title = "Nothing to search for"
