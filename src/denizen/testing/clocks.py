"""Time that stands still until a test turns it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


class Clock:
    """Gives one and the same instant, in UTC, until it is turned: `install(app, clock=Clock())`."""

    def __init__(self, at: datetime = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)) -> None:
        self.at = at

    def __call__(self) -> datetime:
        """Give the present."""
        return self.at

    def turn(self, **by: float) -> None:
        """Turn it on, by what `timedelta` takes: `clock.turn(minutes=5)`."""
        self.at += timedelta(**by)
