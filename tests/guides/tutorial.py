"""What somebody has who followed the tutorial: the files beside his models, and people in his database."""

from __future__ import annotations

FILES = {
    "sql_app/__init__.py": "",
    "sql_app/database.py": """
from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, sessionmaker

engine = create_engine("sqlite:///sql_app.db")
SessionLocal = sessionmaker(engine, autoflush=False)


class Base(DeclarativeBase):
    pass
""",
    "sql_app/main.py": """
from fastapi import FastAPI
from sql_app import models
from sql_app.database import engine

models.Base.metadata.create_all(engine)
app = FastAPI()
""",
    "fill.py": """
import sys
from sql_app import main
from sql_app.database import SessionLocal
from sql_app.models import Item, User

ada, eve, max = sys.argv[1], "correct horse batterynotreallyhashed", "$2b$12$" + "a" * 53
with SessionLocal() as db:
    for email, hashed in (("ada@example.org", ada), ("eve@example.org", eve), ("max@example.org", max)):
        db.add(User(email=email, hashed_password=hashed, items=[]))
    db.commit()
    db.add_all([Item(title="Engine", owner_id=1), Item(title="Letters", owner_id=2)])
    db.commit()
""",
}
