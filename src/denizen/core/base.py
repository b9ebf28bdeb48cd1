"""The declarative base of every table of ours."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from sqlalchemy import MetaData, String
from sqlalchemy.orm import DeclarativeBase, MappedAsDataclass

from denizen.core.types import UtcDateTime, Uuid


class Base(MappedAsDataclass, DeclarativeBase, kw_only=True, eq=False):
    """Base of the models: dataclasses made by keyword, compared by identity, with constraints named by one convention.

    The names are part of the interface between the tables and `crud`, which tells a person *what* clashed by the name
    of the constraint that the database says was broken.
    """

    metadata: ClassVar[MetaData] = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar = {datetime: UtcDateTime, UUID: Uuid, str: String}
