"""Reads and writes of users through the ORM's session."""

from sqlalchemy.orm import Session

from . import models, schemas


def get_user(db: Session, user_id: int) -> models.User | None:
    return db.query(models.User).filter(models.User.id == user_id).first()


def get_user_by_email(db: Session, email: str) -> models.User | None:
    return db.query(models.User).filter(models.User.email == email).first()


def get_user_by_username(db: Session, username: str) -> models.User | None:
    return db.query(models.User).filter(models.User.username == username).first()


def get_users(db: Session, skip: int = 0, limit: int = 10) -> list[models.User]:
    return db.query(models.User).offset(skip).limit(limit).all()


def create_user(db: Session, user: schemas.UserCreate) -> models.User:
    not_a_real_hash = f"fake:{user.password}"
    row = models.User(
        username=user.username,
        email=user.email,
        full_name=user.full_name,
        hashed_password=not_a_real_hash,
    )
    db.add(row)
    db.commit()
    db.refresh(row)
    return row
