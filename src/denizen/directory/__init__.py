"""Accounts found: lists by filter, order and cursor, counts, searches, and changes of all who match."""
