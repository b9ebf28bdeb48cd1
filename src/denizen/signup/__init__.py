"""Strangers who open accounts of their own: at once, or after proving that they read mail at the address."""
