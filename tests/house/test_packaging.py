"""What carries Denizen to a machine: wheel, image, compose file, service. Each may only name what exists."""

from __future__ import annotations

import configparser
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command
from typer.testing import CliRunner

from denizen.cli import build
from denizen.settings import Settings

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
EXAMPLES = ["packaging/compose.env.example", "packaging/denizen.env.example"]


def assert_is_command(words: list[str]) -> None:
    """Fail unless the words after `denizen` name a command, with options that it has."""
    names = [word for word in words if not word.startswith("-")]
    options = [word for word in words if word.startswith("--")]
    command = get_command(build())
    depth = 0
    while hasattr(command, "commands"):
        assert names[depth] in command.commands, f"denizen has no command {' '.join(names[: depth + 1])}"
        command = command.commands[names[depth]]
        depth += 1
    known = {option for parameter in command.params for option in parameter.opts}
    assert set(options) - {"--help"} <= known
    outcome = CliRunner().invoke(build(), [*names[:depth], "--help"])
    assert outcome.exit_code == 0


def instructions(name: str) -> list[str]:
    return re.findall(rf"^{name} +(.*)$", DOCKERFILE, re.MULTILINE)


def test_packaging_image_copies_only_what_is_there_and_not_ignored() -> None:
    allowed = set(re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(encoding="utf-8"), re.MULTILINE))
    copied = [source for line in instructions("COPY") if not line.startswith("--from") for source in line.split()[:-1]]

    assert copied
    for source in copied:
        assert (ROOT / source).exists(), f"the Dockerfile copies {source}"
    assert set(copied) == allowed


def test_packaging_image_starts_the_server_without_root_and_with_a_volume() -> None:
    (entry,) = instructions("ENTRYPOINT")
    (arguments,) = instructions("CMD")

    assert yaml.safe_load(entry) == ["denizen"]
    assert_is_command(yaml.safe_load(arguments))
    assert instructions("USER") == ["denizen"]
    assert instructions("VOLUME") == ["/data"]
    (url,) = re.findall(r"DENIZEN_DATABASE_URL=(\S+)", DOCKERFILE)
    assert Settings(_env_file=None, database_url=url).sqlite_path == Path("/data/denizen.db")


def test_packaging_image_checks_its_health_with_python_alone() -> None:
    (check,) = instructions("HEALTHCHECK")
    command = yaml.safe_load(check.partition("CMD ")[2])

    assert command[:2] == ["python", "-c"]
    compile(command[2], "HEALTHCHECK", "exec")
    assert "/healthz" in command[2]
    assert instructions("EXPOSE") == ["8000"]


def test_packaging_compose_names_what_exists() -> None:
    services = COMPOSE["services"]
    for name, service in services.items():
        assert service["env_file"] == "compose.env"
        for other in service.get("depends_on", {}):
            assert other in services, f"{name} waits for {other}"
        if "command" in service:
            assert_is_command(service["command"])
    assert services["denizen"]["depends_on"]["migrate"]["condition"] == "service_completed_successfully"
    assert services["database"]["healthcheck"]["test"][1] == "pg_isready"
    text = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    assert (ROOT / "packaging" / "compose.env.example").is_file()
    assert "packaging/compose.env.example" in text
    for command in re.findall(r"run --rm denizen (.+)$", text, re.MULTILINE):
        assert_is_command(command.split())


def test_packaging_compose_secrets_stay_out_of_git() -> None:
    outcome = subprocess.run(
        ["git", "check-ignore", "compose.env", ".env", "denizen.admin-link"], cwd=ROOT, check=False
    )

    assert outcome.returncode == 0


@pytest.mark.parametrize("example", EXAMPLES)
def test_packaging_examples_of_settings_can_be_used_once_filled_in(example: str, tmp_path: Path) -> None:
    lines = (ROOT / example).read_text(encoding="utf-8").replace("#DENIZEN_", "DENIZEN_")
    filled = lines.replace("A-PASSWORD", "correct-horse-42").replace("A-SECRET", "k9J2-qw7ZpX1_vT5rB8nM4cL6dF3gH0s")
    (tmp_path / "filled").write_text(filled, encoding="utf-8")

    settings = Settings(_env_file=tmp_path / "filled")

    assert settings.database_kind == "postgresql"
    assert settings.signup == "closed"


@pytest.mark.parametrize("example", EXAMPLES)
def test_packaging_examples_of_settings_are_refused_as_they_are(example: str, tmp_path: Path) -> None:
    (tmp_path / "as-is").write_text(
        (ROOT / example).read_text(encoding="utf-8").replace("#DENIZEN_", "DENIZEN_"), encoding="utf-8"
    )

    with pytest.raises(ValueError, match="DENIZEN_SECRET_KEY"):
        Settings(_env_file=tmp_path / "as-is")


def test_packaging_service_starts_the_server_and_gives_it_time_to_stop() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]  # systemd's names are in capitals
    unit.read_string((ROOT / "packaging" / "denizen.service").read_text(encoding="utf-8"))
    service = unit["Service"]

    program, *arguments = service["ExecStart"].split()
    assert Path(program).name == "denizen"
    assert_is_command(arguments)
    assert int(service["TimeoutStopSec"]) > Settings(_env_file=None).shutdown_timeout
    assert service["DynamicUser"] == "yes"
    assert service["WorkingDirectory"] == f"%S/{service['StateDirectory']}"


def test_packaging_dependencies_are_each_explained_and_locked() -> None:
    groups = PROJECT["dependency-groups"]
    developing = [line for name in ("build", "dev") for line in groups[name] if isinstance(line, str)]
    developing += [line for extra in PROJECT["project"]["optional-dependencies"].values() for line in extra]
    records = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs" / "adr").glob("*.md"))
    explained = {
        name for row in re.findall(r"^\| ([a-z0-9, -]+) \|", records, re.MULTILINE) for name in row.split(", ")
    }

    locks = {"runtime": PROJECT["project"]["dependencies"], "dev": developing, "plot": groups["plot"]}
    for lock, wanted in locks.items():
        names = {re.split(r"[\[<>=;]", line)[0] for line in wanted}
        locked = set(re.findall(r"^([a-z0-9.-]+)==", (ROOT / f"requirements/{lock}.txt").read_text(), re.MULTILINE))
        assert names <= locked, "make lock"
        assert names <= explained, "a dependency without a reason on record"


@pytest.mark.slow
def test_packaging_wheel_holds_the_migrations_and_the_command(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")

    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (entry_points,) = [name for name in names if name.endswith("entry_points.txt")]
        assert "denizen = denizen.__main__:main" in archive.read(entry_points).decode()

    shipped = {path.relative_to(ROOT / "src").as_posix() for path in (ROOT / "src" / "denizen").rglob("*")}
    wanted = {name for name in shipped if not re.search(r"__pycache__|\.py[co]$", name)}
    files = {name for name in wanted if (ROOT / "src" / name).is_file()}
    assert files <= set(names)
    assert "denizen/py.typed" in names
    assert any(name.startswith("denizen/migrations/versions/") and name.endswith(".py") for name in names)
