"""What `denizen init` writes into a project: an Alembic whose history includes ours, and settings with a secret.

Nothing that is there is changed. Where a file is there already, what it lacks is told instead.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from configparser import Error as ConfigError
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from tomllib import TOMLDecodeError

from alembic.config import Config
from alembic.util import CommandError

from denizen.core.errors import Invalid
from denizen.migrations.history import SHIPPED
from denizen.migrations.together import LOCATION

VERSION_LOCATIONS = f"""path_separator = newline
version_locations =
    %(here)s/migrations/versions
    {LOCATION}
# env.py runs for `alembic revision` too: it lets new revisions follow this application's head, not Denizen's.
revision_environment = true"""

ALEMBIC_INI = f"""# `alembic upgrade heads`, `alembic revision --autogenerate -m "..."`, `alembic check`.
# The database is the one that DENIZEN_DATABASE_URL names, in the environment or in .env.

[alembic]
script_location = %(here)s/migrations
prepend_sys_path = %(here)s
# One a line; the last are Denizen's revisions.
{VERSION_LOCATIONS}

[loggers]
keys = root,alembic

[handlers]
keys = console

[formatters]
keys = generic

[logger_root]
level = WARNING
handlers = console
qualname =

[logger_alembic]
level = INFO
handlers =
qualname = alembic

[handler_console]
class = StreamHandler
args = (sys.stderr,)
level = NOTSET
formatter = generic

[formatter_generic]
format = %(levelname)-5.5s [%(name)s] %(message)s
"""

ENV = '''"""What Alembic runs, on the database that DENIZEN_DATABASE_URL names."""

from logging.config import fileConfig

from alembic import context
from denizen.alembic import run_migrations
{models}
if context.config.config_file_name is not None:
    fileConfig(context.config.config_file_name, disable_existing_loggers=False)

run_migrations(target_metadata=target_metadata)
'''

NO_MODELS = """
# What `alembic revision --autogenerate` and `alembic check` compare the database with. For models in notes/models.py:
#
#     from notes.models import Base
#     target_metadata = Base.metadata
target_metadata = None
"""

SCRIPT = '''"""${message}"""

import sqlalchemy as sa
from alembic import op
${imports if imports else ""}
revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    ${downgrades if downgrades else "pass"}
'''

FIRST = f'''"""The beginning of this application's own history, which stands on Denizen's tables."""

revision = "app_0001"
down_revision = None
branch_labels = ("app",)
depends_on = "{SHIPPED.heads[0]}"  # always a revision: written into a file, denizen@head means nothing


def upgrade() -> None:
    """Nothing yet. What follows may have foreign keys to denizen_users."""


def downgrade() -> None:
    """Nothing."""
'''

SETTINGS = """# Settings of Denizen; `denizen settings` shows all of them. Not for version control: the key is a secret.
DENIZEN_DATABASE_URL=sqlite:///app.db
DENIZEN_SECRET_KEY={secret}
"""

EXAMPLE = """# Copy to .env and fill in a secret: python -c "import secrets; print(secrets.token_urlsafe(32))"
DENIZEN_DATABASE_URL=sqlite:///app.db
# DENIZEN_DATABASE_URL=postgresql://user:password@localhost/app
DENIZEN_SECRET_KEY=
"""

IGNORED = """.env
*.db
*.db-shm
*.db-wal
*.db.before-*
__pycache__/
"""

ENV_LINES = """from denizen.alembic import options
context.configure(connection=connection, target_metadata=target_metadata, **options())"""

TOML_LINES = f"""version_locations = ["%(here)s/migrations/versions", "{LOCATION}"]
revision_environment = true"""

NEXT_REVISION = "alembic revision --depends-on denizen@head -m 'Stand on Denizen'"


class Did(StrEnum):
    """What became of a file."""

    WRITTEN = "written"
    KEPT = "kept"
    LACKING = "lacks something"


@dataclass(frozen=True, slots=True)
class Piece:
    """One file of the project.

    Attributes:
        path: from the project's folder.
        did: what became of it, or would.
        advice: what to do about it by hand, as a sentence and lines to add.
    """

    path: str
    did: Did
    advice: str = ""


def write_project(folder: Path, *, models: str = "", dry_run: bool = False) -> list[Piece]:
    """Write what a host needs into its project, and leave what is there.

    Args:
        folder: the project; made if it is not there.
        models: where the base class of the models is, as `notes.models:Base`.
        dry_run: write nothing, and tell what would be.

    Raises:
        Invalid: `models` is not of that form.
        OSError: a file cannot be written.
    """
    imports = _imports(models)
    return [*_alembic(folder, imports, dry_run=dry_run), *_settings(folder, dry_run=dry_run)]


def _imports(models: str) -> str:
    if not models:
        return NO_MODELS
    module, _, name = models.partition(":")
    if not all(part.isidentifier() for part in (*module.split("."), name)):
        raise Invalid(f"{models!r} does not name a base class, as notes.models:Base does.", field="models")
    return f"from {module} import {name}\n\ntarget_metadata = {name}.metadata\n"


def _alembic(folder: Path, imports: str, *, dry_run: bool) -> Iterator[Piece]:
    found = _find_setup(folder)
    place = found or Setup("alembic.ini", folder / "migrations", (LOCATION,))
    fresh = not any(place.versions.glob("*.py")) and not (place.scripts / "env.py").exists()

    def put(path: Path, content: str, lacks: Callable[[str], str] = lambda text: "") -> Piece:
        return _put(folder, path, content, lacks, dry_run=dry_run)

    if found is None:
        yield put(folder / "alembic.ini", ALEMBIC_INI)
    else:
        yield Piece(found.file, *(_judged(found.advice)))
    yield put(place.scripts / "env.py", ENV.format(models=imports), _lacks_options)
    yield put(place.scripts / "script.py.mako", SCRIPT)
    first = place.versions / "app_0001_begin.py"
    if fresh:
        yield put(first, FIRST)
    elif any("depends_on" in text and "denizen_" in text for text in _texts(place.versions)):
        yield Piece(_name(folder, place.versions), Did.KEPT)
    else:
        advice = f"Begin to stand on Denizen's tables, after the above, with a revision that says so:\n{NEXT_REVISION}"
        yield Piece(_name(folder, place.versions), Did.LACKING, advice)


@dataclass(frozen=True, slots=True)
class Setup:
    """An Alembic that is there.

    Attributes:
        file: where it is configured.
        scripts: the folder of its `env.py`.
        locations: its `version_locations`.
    """

    file: str
    scripts: Path
    locations: tuple[str, ...]

    @property
    def versions(self) -> Path:
        """The folder of the application's own revisions."""
        own = [place for place in self.locations if "denizen" not in place]
        return Path(own[0]) if own else self.scripts / "versions"

    @property
    def advice(self) -> str:
        """What its configuration lacks."""
        if any(
            place.endswith(("denizen:migrations/versions", "denizen/migrations/versions")) for place in self.locations
        ):
            return ""
        lines = TOML_LINES if self.file.endswith(".toml") else VERSION_LOCATIONS
        return f"Let it include Denizen's revisions beside your own folder of versions:\n{lines}"


def _find_setup(folder: Path) -> Setup | None:
    """Find an Alembic that is configured here, in `alembic.ini` or in `pyproject.toml`.

    Raises:
        Invalid: the file cannot be read.
    """
    ini, toml = folder / "alembic.ini", folder / "pyproject.toml"
    config = Config(ini if ini.exists() else None, toml if toml.exists() else None)
    try:
        scripts = config.get_alembic_option("script_location")
        locations = config.get_version_locations_list() or ()
    except (ConfigError, TOMLDecodeError, CommandError, ValueError, KeyError) as error:
        raise Invalid(f"The configuration of Alembic in {folder} cannot be read: {error}") from None
    if scripts is None:
        return Setup("alembic.ini", folder / "migrations", tuple(locations)) if ini.exists() else None
    file = "alembic.ini" if ini.exists() and "script_location" in ini.read_text(encoding="utf-8") else "pyproject.toml"
    return Setup(file, folder / scripts.replace(":", "/"), tuple(locations))


def _lacks_options(text: str) -> str:
    if "denizen.alembic" in text:
        return ""
    return f"Let Alembic know what belongs to Denizen's branch, wherever it is configured:\n{ENV_LINES}"


def _settings(folder: Path, *, dry_run: bool) -> Iterator[Piece]:
    def lacks_secret(text: str) -> str:
        if "DENIZEN_SECRET_KEY" in text:
            return ""
        return (
            "Give it a secret of its own, unless the environment does:\n"
            'DENIZEN_SECRET_KEY=... (python -c "import secrets; print(secrets.token_urlsafe(32))")'
        )

    def lacks_env(text: str) -> str:
        return "" if {".env", "/.env", "*.env", ".env*"} & set(text.split()) else "Keep the secret out of it:\n.env"

    secret = SETTINGS.format(secret=secrets.token_urlsafe(32))
    yield _put(folder, folder / ".env", secret, lacks_secret, dry_run=dry_run)
    yield _put(folder, folder / ".env.example", EXAMPLE, dry_run=dry_run)
    yield _put(folder, folder / ".gitignore", IGNORED, lacks_env, dry_run=dry_run)


def _put(
    folder: Path, path: Path, content: str, lacks: Callable[[str], str] = lambda text: "", *, dry_run: bool
) -> Piece:
    """Write a file that is not there; of one that is, say what it lacks."""
    name = _name(folder, path)
    if path.exists() or path.is_symlink():
        return Piece(name, *_judged(lacks(path.read_text(encoding="utf-8")) if path.is_file() else ""))
    if not dry_run:
        path.parent.mkdir(parents=True, exist_ok=True)
        mode = 0o600 if path.name == ".env" else 0o666
        with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode), "w", encoding="utf-8") as file:
            file.write(content)
    return Piece(name, Did.WRITTEN)


def _judged(advice: str) -> tuple[Did, str]:
    return (Did.LACKING, advice) if advice else (Did.KEPT, "")


def _texts(folder: Path) -> Iterator[str]:
    for path in folder.glob("*.py"):
        yield path.read_text(encoding="utf-8", errors="replace")


def _name(folder: Path, path: Path) -> str:
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)
