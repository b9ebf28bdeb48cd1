"""How long texts and how large numbers may be, said once for tables and for what goes in over HTTP.

They stand apart from the models, so that schemas can be had without SQLAlchemy: other programs import them too
(`denizen.client`). What the identifiers of people may be stands in `core.identifiers`.
"""

from typing import Final

MAX_REASON_LENGTH: Final = 500
"""Why somebody is suspended."""
MAX_VERSION: Final = 2**31 - 1
"""What the column of an account's version holds on PostgreSQL."""
MAX_KEY_NAME_LENGTH: Final = 100
MAX_ROLE_NAME_LENGTH: Final = 64
MAX_DESCRIPTION_LENGTH: Final = 200
"""What a role says of itself."""
MAX_SEARCH_LENGTH: Final = 255
"""Characters of a question; no name that is looked for has more."""
