"""Letters as those who sign in by them get them."""

from __future__ import annotations

from tests.account.conftest import outbox

__all__ = ["outbox"]
