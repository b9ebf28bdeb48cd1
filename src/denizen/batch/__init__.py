"""Many accounts created, changed and deleted by one request, each for itself."""
