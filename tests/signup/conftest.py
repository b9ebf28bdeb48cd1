"""Letters as those who sign up get them."""

from __future__ import annotations

from tests.account.conftest import outbox

__all__ = ["outbox"]
