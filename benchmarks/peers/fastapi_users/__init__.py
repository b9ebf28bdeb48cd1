"""A users database as the documentation of fastapi-users shows it: SQLAlchemy's asyncio, bearer tokens in the database.

It needs SQLAlchemy 2.0, so it runs in an environment of its own (`benchmarks.peers.environment`). Nothing in it is tuned and
nothing is held back.
"""
