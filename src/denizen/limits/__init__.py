"""Limits on how often, kept in the database so that all processes agree: wrong guesses, sign-ins, mails."""
