"""Invitations: accounts for people who were asked in, with the roles they were promised."""
