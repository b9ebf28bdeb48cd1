"""Signing in by mail: a link, or a code of six digits."""
