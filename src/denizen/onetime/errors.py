"""What can go wrong with what opens once."""

from __future__ import annotations

from denizen.core.errors import Invalid


class LinkInvalid(Invalid):
    """The link, ticket or code is unknown, used up, expired or for something else; which of them is not said."""

    code = "link_invalid"
    title = "Link or code not valid"
