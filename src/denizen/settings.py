"""Everything an operator can set, and the only file that reads (or writes) the environment.

A setting is `DENIZEN_` and its name in capitals, in the environment or in the file `.env` of the working folder; the
environment wins, and an empty value counts as unset. What is mistyped refuses to start: a server that runs with half
of what its operator meant is worse than one that does not run.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, Self

from dotenv.parser import parse_stream
from pydantic import PrivateAttr, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from denizen import setting_groups as groups
from denizen.setting_types import mask_password

PREFIX = "DENIZEN_"
_FIGURES = "PROMETHEUS_MULTIPROC_DIR"
Source = Literal["default", "environment", ".env", "option"]
DatabaseKind = Literal["sqlite", "postgresql"]


class SettingsError(ValueError):
    """Settings that cannot be used.

    Args:
        faults: one sentence for each fault; it names the variable and never repeats a value.
    """

    code = "settings_invalid"
    title = "Settings cannot be used"

    def __init__(self, *faults: str) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting as `denizen settings` shows it: `value` is written as in the environment, secrets masked."""

    name: str
    value: str
    source: Source
    meaning: str


class Settings(BaseSettings, groups.Accounts, groups.Server):
    """All settings, checked. Frozen: what a process started with is what it runs with.

    Keyword arguments (the options of `denizen serve`, an embedding application) win over the environment.

    Raises:
        SettingsError: with a sentence for every fault, unknown `DENIZEN_*` variables included.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file_encoding="utf-8-sig",
        env_ignore_empty=True,
        enable_decoding=False,
        dotenv_filtering="only_existing",
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        validate_default=True,
    )
    _origins: dict[str, Source] = PrivateAttr(default_factory=dict)

    def __init__(self, *, _env_file: Path | str | None = ".env", **options: Any) -> None:
        found, faults = _find_variables(_env_file)
        try:
            super().__init__(_env_file=_env_file, **options)
        except ValidationError as error:
            faults += _sentences(error, options)
        if faults:
            raise SettingsError(*faults) from None
        self._origins = found | dict.fromkeys(options, "option")

    @classmethod
    def load(cls, **options: Any) -> Self:
        """Read the environment and `.env`; `options` win over both, and those that are None are as if not given."""
        return cls(**{name: value for name, value in options.items() if value is not None})

    @property
    def database_kind(self) -> DatabaseKind:
        """Which of the two databases `database_url` names."""
        return "sqlite" if self.database_url.lower().startswith("sqlite") else "postgresql"

    @property
    def sqlite_path(self) -> Path | None:
        """The database's file, as written (relative paths stay so); None on PostgreSQL."""
        return Path(self.database_url.partition(":///")[2]) if self.database_kind == "sqlite" else None

    @property
    def admin_link_path(self) -> Path:
        """Where `serve` leaves the link to the first administrator's account when there is no terminal: beside the
        SQLite database and named after it, `denizen.admin-link` by `denizen.db`, so that two databases in one folder
        have two; with PostgreSQL `denizen.admin-link` in the working folder.
        """
        path = self.sqlite_path
        if path is None:
            return Path("denizen.admin-link")
        end = ".admin-link"
        return path.with_name(f"{path.name}{end}") if path.suffix == end else path.with_suffix(end)

    @property
    def database_shown(self) -> str:
        """The database's URL without its password."""
        return mask_password(self.database_url)

    @property
    def signup_is_set(self) -> bool:
        """Whether somebody decided about sign-up, or it is merely open by default."""
        return "signup" in self.model_fields_set

    def sources(self) -> list[Setting]:
        """Every setting with its value and where it comes from, in order of their names' appearance."""
        return [
            Setting(variable(name), self._written(name, masked=True), self._origins.get(name, "default"), meaning or "")
            for name, meaning in ((name, field.description) for name, field in type(self).model_fields.items())
        ]

    def to_environment(self) -> dict[str, str]:
        """What another process must find in its environment to have these settings. It holds the secrets."""
        return {variable(name): self._written(name, masked=False) for name in sorted(self.model_fields_set)}

    def hand_to_children(self) -> None:
        """Put these settings into the environment of this process, for the worker processes it starts."""
        os.environ.update(self.to_environment())

    @staticmethod
    def share_figures(folder: Path | None) -> None:
        """Tell this process and its children where they write figures that are to be summed; `None` for nowhere.

        It is prometheus-client that reads it, when it is first imported.
        """
        if folder is None:
            os.environ.pop(_FIGURES, None)
        else:
            os.environ[_FIGURES] = str(folder)

    @staticmethod
    def figures_folder() -> Path | None:
        """Where this process and others write figures, if they do."""
        folder = os.environ.get(_FIGURES)
        return None if not folder else Path(folder)

    def _written(self, name: str, *, masked: bool) -> str:
        value = getattr(self, name)
        match value:
            case SecretStr():
                return "********" if masked else value.get_secret_value()
            case None:
                return "off" if name == "database_prepare_threshold" else ""
            case bool():
                return str(value).lower()
            case tuple():
                return ",".join(map(str, value))
            case float():
                return _in_units(value)
        return mask_password(str(value)) if masked else str(value)


def _in_units(seconds: float) -> str:
    """Write a time as people do: the largest unit that leaves nothing over, from five minutes on."""
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 300 and seconds % length == 0:
            return f"{int(seconds // length)}{unit}"
    return f"{seconds:.15g}"


def variable(name: str) -> str:
    """The environment variable of the setting `name`."""
    return PREFIX + name.upper()


def _find_variables(env_file: Path | str | None) -> tuple[dict[str, Source], list[str]]:
    """Where each setting is set, and a sentence for every `DENIZEN_*` that is no setting."""
    known = {variable(name): name for name in Settings.model_fields}
    found: dict[str, Source] = {}
    faults: list[str] = []
    written: list[tuple[str, str | None, Source]] = [(name, value, "environment") for name, value in os.environ.items()]
    try:
        written = [*_read_env_file(env_file), *written]
    except (OSError, UnicodeDecodeError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise SettingsError(f"The settings file {env_file} cannot be read: {reason}.") from None
    for name, value, source in written:
        if name in known and value:
            found[known[name]] = source
        elif name not in known and name.upper().startswith(PREFIX):
            faults.append(f"{name} ({source}) is not a setting; {_nearest(name)}")
    return found, faults


def _nearest(name: str) -> str:
    near = get_close_matches(name.upper().removeprefix(PREFIX).lower(), Settings.model_fields, n=1, cutoff=0.6)
    return f"did you mean {variable(near[0])}?" if near else "docs/configuration.md lists them all."


def _read_env_file(env_file: Path | str | None) -> Iterator[tuple[str, str | None, Source]]:
    if env_file is None or not Path(env_file).exists():
        return
    with Path(env_file).open(encoding="utf-8-sig") as stream:
        for binding in parse_stream(stream):
            if binding.error or (binding.key is not None and binding.value is None):
                raise ValueError(f"line {binding.original.line} is not of the form NAME=value")
            if binding.key is not None:
                yield binding.key, binding.value, ".env"


_IN_WORDS = {
    "bool_parsing": "must be true or false",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "extra_forbidden": "is not a setting",
    "too_short": "must name at least one",
}


def _sentences(error: ValidationError, options: Mapping[str, object]) -> list[str]:
    """Every setting's first fault in words. Pydantic's messages hold no input, only what would have been accepted."""
    said: dict[str, str] = {}
    for problem in error.errors(include_input=False, include_url=False):
        if problem["type"] == "default_factory_not_called":  # a default that would have followed a setting at fault
            continue
        name = str(problem["loc"][0]) if problem["loc"] else "settings"
        subject = name if name in options or name not in Settings.model_fields else variable(name)
        message = problem["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
        said.setdefault(name, f"{subject} {_IN_WORDS.get(problem['type'], message)}.")
    return list(said.values())
