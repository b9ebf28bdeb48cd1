"""API keys: how programs show who they are."""
