"""The engine and the session factory: SQLite unless `TUTORIAL_DATABASE_URL` names another database."""

import os

from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, sessionmaker

SQLALCHEMY_DATABASE_URL = os.environ.get("TUTORIAL_DATABASE_URL", "sqlite:///./tutorial.db")

# An endpoint and its session may run on two threads of the pool, which sqlite3 refuses unless told.
connect_args = {"check_same_thread": False} if SQLALCHEMY_DATABASE_URL.startswith("sqlite") else {}

engine = create_engine(SQLALCHEMY_DATABASE_URL, connect_args=connect_args)
SessionLocal = sessionmaker(bind=engine, autoflush=False)


class Base(DeclarativeBase):
    """What every model derives from."""
