"""A letter, as it is kept and as it is sent."""

from __future__ import annotations

import json
from typing import NamedTuple, Self


class Letter(NamedTuple):
    """What is sent.

    Attributes:
        html: the same words for programs that show HTML; `None` for text alone.
    """

    subject: str
    text: str
    html: str | None

    def packed(self) -> bytes:
        """Give it as the outbox keeps it, before it is sealed."""
        return json.dumps(self._asdict()).encode()

    @classmethod
    def unpacked(cls, content: bytes) -> Self:
        """Read what `packed` gave."""
        return cls(**json.loads(content))
