"""Invitations: accounts for people who were asked in, and the first administrator's."""
