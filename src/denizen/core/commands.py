"""What every command stands on: how it is run, how it refuses, and how it comes to the database.

A command is an `async` function below `@command`, which gives it an event loop and turns what it raises into an exit
code:

| exit code | meaning |
| --- | --- |
| 0 | done |
| 1 | refused; the reason is on standard error, as a problem document with `--json` |
| 2 | wrong usage, or settings that cannot be used |
| 130 | stopped with Ctrl-C |
"""

from __future__ import annotations

import asyncio
import functools
import os
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import asdict
from getpass import getpass
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec

import typer

from denizen.core.errors import Conflict, DenizenError, Invalid, Unavailable
from denizen.core.output import Output, progress, write_line

if TYPE_CHECKING:
    from denizen.core.accounts import Accounts
    from denizen.core.database import Database
    from denizen.core.feature import Feature
    from denizen.settings import Settings

__all__ = [
    "Json",
    "Output",
    "ask_password",
    "command",
    "compose",
    "confirm",
    "exit_codes",
    "open_accounts",
    "progress",
    "reach",
    "refuse_passwords",
]

P = ParamSpec("P")

REFUSED = 1
MISUSED = 2
INTERRUPTED = 130
PIPE_CLOSED = 141

Json = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line, for other programs.")]


def command(function: Callable[P, Coroutine[Any, Any, None] | None]) -> Callable[P, None]:
    """Make a function, async as a rule, a command; the table above says what its exceptions become.

    Use it below `@app.command(...)`. Errors are told as JSON when its parameter `as_json: Json` is true.
    """

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        with exit_codes(as_json=bool(kwargs.get("as_json"))):
            result = function(*args, **kwargs)
            if result is not None:
                with asyncio.Runner(loop_factory=_loop_factory()) as runner:
                    runner.run(result)
            sys.stdout.flush()

    return run


@contextmanager
def exit_codes(*, as_json: bool = False) -> Iterator[None]:
    """Turn what is raised inside into a sentence on standard error and an exit code."""
    try:
        yield
    except DenizenError as error:
        _refuse(_problem(error), _sentences(error), as_json=as_json)
        raise typer.Exit(REFUSED) from None
    except BrokenPipeError:
        # Who reads has seen enough (`| head`). Python flushes once more on its way out, which must not fail again.
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(PIPE_CLOSED) from None
    except OSError as error:
        if error.filename is None:
            raise
        _refuse(
            {"title": "File cannot be used", "code": "file_error", "detail": f"{error.filename}: {error.strerror}"},
            [f"{error.filename}: {error.strerror}"],
            as_json=as_json,
        )
        raise typer.Exit(REFUSED) from None
    except ValueError as error:
        raise _refuse_value(error, as_json=as_json) from None
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None


def _refuse_value(error: ValueError, *, as_json: bool) -> Exception:
    """Refuse settings and options that are out of bounds; give what to raise. Imports late: most commands end well."""
    from pydantic import ValidationError

    from denizen.settings import SettingsError

    if isinstance(error, SettingsError):
        _refuse({"title": error.title, "code": error.code, "detail": str(error)}, error.faults, as_json=as_json)
        return typer.Exit(MISUSED)
    if isinstance(error, ValidationError):
        from denizen.core.problems import invalid

        refusal = invalid([{**one, "loc": ("options", *one["loc"])} for one in error.errors(include_url=False)])
        _refuse(_problem(refusal), _sentences(refusal), as_json=as_json)
        return typer.Exit(REFUSED)
    return error


def _problem(error: DenizenError) -> dict[str, Any]:
    problem: dict[str, Any] = {"title": error.title, "code": error.code, "detail": str(error)}
    if error.field:
        problem["field"] = error.field
    if error.errors:
        problem["errors"] = [asdict(one) for one in error.errors]
    return problem


def _sentences(error: DenizenError) -> list[str]:
    others = error.errors if len(error.errors) > 1 else ()
    return [str(error), *(f"  {one.field}: {one.message}" for one in others)]


def _refuse(problem: Mapping[str, Any], lines: Sequence[str], *, as_json: bool) -> None:
    if as_json:
        write_line({"type": f"urn:denizen:error:{problem['code']}", **problem}, err=True)
        return
    first, *others = lines
    print(f"Error: {first}", *others, sep="\n", file=sys.stderr)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # Windows
        return None
    return uvloop.new_event_loop


def refuse_passwords(arguments: Iterable[str]) -> None:
    """Refuse a URL with a password among the arguments of a command.

    Raises:
        Invalid: one has it. It is in the shell's history now, and `ps` showed it.
    """
    addresses = [argument for argument in arguments if "://" in argument]
    if not addresses:
        return
    from denizen.setting_types import mask_password

    if any(mask_password(address) != address for address in addresses):
        raise Invalid(
            "A URL with a password does not belong on the command line, where every user of this machine can read it. "
            "Set DENIZEN_DATABASE_URL in the environment or in the file .env, and consider that password known."
        )


def ask_password(*, stdin: bool = False) -> str:
    """Read a new password: twice from the terminal, unseen, or with `stdin` the first line of standard input.

    Raises:
        Invalid: there is no terminal, the two differ, or nothing came.
    """
    if stdin:
        password = sys.stdin.readline().rstrip("\r\n")
        if not password:
            raise Invalid("No password came on standard input.", field="password")
        return password
    if not sys.stdin.isatty():
        raise Invalid("There is no terminal to ask for the password; give it by --password-stdin.", field="password")
    password = getpass("Password: ")
    if getpass("Once more: ") != password:
        raise Invalid("The two passwords differ.", field="password")
    return password


def confirm(question: str, *, yes: bool) -> None:
    """Ask before something that cannot be undone, unless `yes` (the command's `--yes`) says it already.

    Raises:
        Invalid: the answer is no, or nobody is there to ask.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise Invalid("Nobody is there to confirm; say --yes.")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise Invalid("Nothing was done.")


_rooms: ContextVar[Sequence[Feature]] = ContextVar("rooms", default=())


def compose(features: Sequence[Feature]) -> None:
    """Tell the commands that run now which rooms there are, whose listeners hear of what a command does."""
    _rooms.set(features)


@asynccontextmanager
async def open_accounts(settings: Settings | None = None) -> AsyncIterator[Accounts]:
    """Open what the settings name, for one command. Never makes a database.

    Args:
        settings: instead of those of the environment.

    Raises:
        NoDatabase: no SQLite file there.
        Unavailable: nobody answers.
        SchemaMissing: it is no database of this release.
        SettingsError: see `Settings`.
    """
    from denizen.core.assembly import assemble
    from denizen.core.origin import Origin, coming_from
    from denizen.settings import Settings

    accounts = assemble(settings or Settings.load(), _rooms.get())
    try:
        await reach(accounts.database)
        with coming_from(Origin("command")):
            yield accounts
    except Exception as error:
        if _no_such_table(error):
            raise SchemaMissing(
                f"{accounts.database.describe()} does not have the tables of this release; look with "
                "`denizen migrate status`, and bring it up to date with `denizen migrate up`."
            ) from None
        raise
    finally:
        await accounts.close()


async def reach(database: Database) -> None:
    """Make sure that a database answers, and say more than a client of the API is told when it does not.

    Raises:
        NoDatabase: no SQLite file there.
        Unavailable: nobody answers; with what the driver said, which names no password.
    """
    from denizen.core.database import NoDatabase

    try:
        await database.ping()
    except NoDatabase:
        raise
    except Unavailable as error:
        said: BaseException = error
        while said.__cause__ is not None:
            said = said.__cause__
        reason = str(said).strip().partition("\n")[0] if said is not error else str(error)
        raise Unavailable(f"{database.describe()} does not answer: {reason}") from None


class SchemaMissing(Conflict):
    """Tables or columns that this release needs are not in the database."""

    code = "schema_missing"
    title = "Schema out of date"


def _no_such_table(error: Exception) -> bool:
    original = getattr(error, "orig", error)
    if getattr(original, "sqlstate", None) in {"42P01", "42703", "3F000"}:
        return True
    return type(original).__name__ == "OperationalError" and str(original).startswith(
        ("no such table", "no such column")
    )
