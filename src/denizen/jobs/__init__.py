"""Long work: how far it has come, who is at it, and what becomes of it when its process dies."""
