"""Notebooks that people share: an application with Denizen inside."""
