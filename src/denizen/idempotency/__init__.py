"""Requests that may be sent again: the first answer is kept under the Idempotency-Key and given anew."""
