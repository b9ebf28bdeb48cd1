"""The application: three routes on users, and one that tells a bearer who he is."""

from collections.abc import Iterator
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import OAuth2PasswordBearer
from sqlalchemy.orm import Session

from . import crud, models, schemas
from .database import Base, SessionLocal, engine

Base.metadata.create_all(bind=engine)

app = FastAPI()
oauth2_scheme = OAuth2PasswordBearer(tokenUrl="token")


def get_db() -> Iterator[Session]:
    """Lend a session to one request, and close it whatever happens."""
    db = SessionLocal()
    try:
        yield db
    finally:
        db.close()


Db = Annotated[Session, Depends(get_db)]


def get_current_user(db: Db, token: Annotated[str, Depends(oauth2_scheme)]) -> models.User:
    """Find the bearer. The token is the username itself: as fake as the hash, and as cheap as a token can be."""
    user = crud.get_user_by_username(db, username=token)
    if user is None:
        raise HTTPException(401, "Invalid authentication credentials", headers={"WWW-Authenticate": "Bearer"})
    return user


def get_current_active_user(user: Annotated[models.User, Depends(get_current_user)]) -> models.User:
    """Refuse a bearer who was switched off."""
    if not user.is_active:
        raise HTTPException(400, "Inactive user")
    return user


@app.post("/users/", response_model=schemas.User)
def create_user(user: schemas.UserCreate, db: Db) -> models.User:
    if crud.get_user_by_email(db, email=user.email):
        raise HTTPException(400, "Email already registered")
    return crud.create_user(db, user)


@app.get("/users/", response_model=list[schemas.User])
def read_users(db: Db, skip: int = 0, limit: int = 10) -> list[models.User]:
    return crud.get_users(db, skip=skip, limit=limit)


@app.get("/users/me", response_model=schemas.User)
def read_own_user(user: Annotated[models.User, Depends(get_current_active_user)]) -> models.User:
    return user


@app.get("/users/{user_id}", response_model=schemas.User)
def read_user(user_id: int, db: Db) -> models.User:
    user = crud.get_user(db, user_id)
    if user is None:
        raise HTTPException(404, "User not found")
    return user
