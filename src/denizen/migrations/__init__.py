"""One history of the schema for both databases: Alembic for contributors, `denizen migrate` for operators."""
