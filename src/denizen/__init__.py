"""Denizen: the accounts database for Python teams."""
