"""What one run measures, and how long it takes over it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from .databases import Kind
from .load import Generator

Part = Literal[
    "traffic",
    "memory",
    "start",
    "import",
    "beside",
    "batch",
    "keyset",
    "search",
    "export",
    "signing",
    "embedding",
    "growth",
]
PARTS: tuple[Part, ...] = get_args(Part)


@dataclass(frozen=True)
class Plan:
    """The choices of one run.

    Args:
        users: people in each database while requests are measured.
        many: people in it when the last page is measured against the first.
        rounds: how often each case is measured; the contenders take turns.
        seconds: how long one round of one contender lasts.
        soak: seconds under load before memory is read.
    """

    parts: tuple[Part, ...]
    kinds: tuple[Kind, ...]
    generator: Generator
    folder: Path
    tell: Callable[[str], None]
    peer_only: bool = False
    users: int = 100_000
    many: int = 1_000_000
    rounds: int = 5
    seconds: float = 3.0
    soak: float = 60.0
    starts: int = 5
    pages: int = 400

    def wants(self, *parts: Part) -> bool:
        """Tell whether any of these parts is to be measured."""
        return not set(parts).isdisjoint(self.parts)
