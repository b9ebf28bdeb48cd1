"""What Alembic runs, on the database that DENIZEN_DATABASE_URL names, or that a test gives."""

from logging.config import fileConfig

from alembic import context

from denizen.alembic import run_migrations
from notes.models import Base

if context.config.config_file_name is not None and "url" not in context.config.attributes:
    fileConfig(context.config.config_file_name, disable_existing_loggers=False)

run_migrations(target_metadata=Base.metadata, url=context.config.attributes.get("url"))
