"""Housekeeping: what has expired is deleted in small batches, by one process at a time."""
