"""What becomes of a command: its exit code, and what it says on its way out."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from pydantic_core import ValidationError
from typer.testing import CliRunner

from denizen.core.commands import Json, ask_password, command, confirm, refuse_passwords
from denizen.core.errors import FieldError, Invalid, NotFound, Unavailable
from denizen.settings import SettingsError

app = typer.Typer()
RAISED = {
    "missing": NotFound("User not found"),
    "away": Unavailable("The database does not answer right now.", retry_after=2),
    "fields": Invalid(
        "Two fields are wrong.",
        errors=[
            FieldError("email", "email_invalid", "not an address"),
            FieldError("username", "missing", "is missing"),
        ],
    ),
    "model": ValidationError.from_exception_data("x", [{"type": "int_parsing", "loc": ("limit",), "input": "s3cret"}]),
    "field": Invalid("Email already registered", field="email"),
    "settings": SettingsError("DENIZEN_PORT must be a whole number.", "DENIZEN_X is not a setting."),
    "interrupt": KeyboardInterrupt(),
    "pipe": BrokenPipeError(),
}


@app.command("raise")
@command
async def raise_it(what: str, as_json: Json = False) -> None:
    """Raise one of the errors."""
    raise RAISED[what]


@app.command("quiet")
@command
def quiet(as_json: Json = False) -> None:
    """Do nothing, without an event loop."""


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, arguments)
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.parametrize(
    ("what", "code", "said"),
    [
        ("missing", 1, "Error: User not found\n"),
        ("field", 1, "Error: Email already registered\n"),
        ("fields", 1, "Error: Two fields are wrong.\n  email: not an address\n  username: is missing\n"),
        ("model", 1, "Error: limit: Input should be a valid integer, unable to parse string as an integer.\n"),
        ("settings", 2, "Error: DENIZEN_PORT must be a whole number.\nDENIZEN_X is not a setting.\n"),
        ("interrupt", 130, "Stopped.\n"),
        ("pipe", 141, ""),
    ],
)
def test_error_is_a_sentence_and_an_exit_code(what: str, code: int, said: str) -> None:
    assert run("raise", what) == (code, "", said)


@pytest.mark.parametrize(
    ("what", "code"), [("missing", "not_found"), ("away", "unavailable"), ("settings", "settings_invalid")]
)
def test_error_is_a_problem_document_for_programs(what: str, code: str) -> None:
    _, printed, said = run("raise", what, "--json")

    assert printed == ""
    problem = json.loads(said)
    assert problem["code"] == code
    assert problem["type"] == f"urn:denizen:error:{code}"
    assert problem["title"]
    assert problem["detail"] == str(RAISED[what])


def test_problem_document_lists_the_fields_at_fault() -> None:
    assert json.loads(run("raise", "field", "--json")[2])["field"] == "email"
    assert json.loads(run("raise", "fields", "--json")[2])["errors"] == [
        {"field": "email", "code": "email_invalid", "message": "not an address"},
        {"field": "username", "code": "missing", "message": "is missing"},
    ]


def test_wrong_usage_is_2_and_done_is_0() -> None:
    assert run("raise")[0] == 2
    assert run("raise", "missing", "--nonsense")[0] == 2
    assert run("quiet") == (0, "", "")


def test_a_mistake_in_the_program_is_not_hidden() -> None:
    assert isinstance(CliRunner().invoke(app, ["raise", "what is this"]).exception, KeyError)


SLEEPER = """
import asyncio, signal, sys, typer
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests in the background has it ignored
from denizen.core.commands import command
app = typer.Typer()

@app.command()
@command
async def sleep() -> None:
    try:
        print("ready", flush=True)
        await asyncio.sleep(60)
    finally:
        print("cleaned up", flush=True)

app()
"""


def test_interrupt_cleans_up_and_leaves_no_traceback(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SLEEPER], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        printed, said = process.communicate(timeout=30)

    assert (process.returncode, printed, said) == (130, "cleaned up\n", "Stopped.\n")


TALKER = """
import typer
from pydantic_core import ValidationError
from denizen.core.commands import Output, command
app = typer.Typer()

@app.command()
@command
async def talk() -> None:
    for number in range(100_000):
        Output(json=True).row({"number": number})

app()
"""


def test_reader_that_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", TALKER], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert json.loads(process.stdout.readline()) == {"number": 0}
        process.stdout.close()
        said = process.stderr.read()

    assert (process.returncode, said) == (141, "")


@pytest.mark.parametrize(
    "arguments",
    [
        ["move", "--to", "postgresql://me:hunter2@db/x"],
        ["serve", "--database=postgresql://me:hunter2@db/x"],
        ["x", "postgresql://db/x?user=me&password=hunter2"],
    ],
)
def test_url_with_a_password_is_refused_as_an_argument(arguments: list[str]) -> None:
    with pytest.raises(Invalid, match="does not belong on the command line") as refusal:
        refuse_passwords(arguments)

    assert "hunter2" not in str(refusal.value)


def test_other_arguments_are_let_through() -> None:
    refuse_passwords(["users", "show", "me@example.com", "https://example.com/a:b", "a:b@c", "sqlite:///x.db"])


def test_password_comes_from_standard_input_where_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("correct horse \nbattery\n")
    with (tmp_path / "password").open() as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        assert ask_password(stdin=True) == "correct horse "


def test_password_is_not_waited_for_where_nobody_can_type(monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("/dev/null").open() as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        with pytest.raises(Invalid, match="--password-stdin"):
            ask_password()
        with pytest.raises(Invalid, match="No password came"):
            ask_password(stdin=True)


def test_what_cannot_be_undone_needs_a_yes(monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("/dev/null").open() as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        with pytest.raises(Invalid, match="--yes"):
            confirm("Delete everybody?", yes=False)
        confirm("Delete everybody?", yes=True)
