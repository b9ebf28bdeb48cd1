"""Accounts in bulk: in from files and out to files, with the truth told about every row."""
