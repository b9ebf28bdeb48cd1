"""Short access tokens for other services, and the refresh tokens that they are renewed by."""
