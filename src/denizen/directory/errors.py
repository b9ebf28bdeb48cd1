"""What can go wrong with lists."""

from __future__ import annotations

from denizen.core.errors import Invalid


class ListingUnsupported(Invalid):
    """A filter, an order or a combination of them that no index supports."""

    code = "listing_unsupported"
    title = "Not a list that can be served"
