"""Finding accounts by their own fields: a side table on SQLite, the index of PostgreSQL, and what looks after them."""
