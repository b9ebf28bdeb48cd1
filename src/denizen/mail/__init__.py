"""Mail: an outbox in the database, what its letters say, and what sends them."""
