"""What commands ask at a terminal, tried at a terminal."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

ASK = "from denizen.core.commands import ask_password; print('got', ask_password() == 'correct horse')"
CONFIRM = "from denizen.core.commands import confirm; confirm('Erase everybody?', yes=False); print('erased')"


def at_terminal(program: str, *answers: tuple[bytes, bytes]) -> tuple[int, str]:
    """Run Python with a terminal of its own; when it shows the first of a pair, type the second."""
    master, slave = pty.openpty()
    # A session leader without a terminal gets the first one that it opens; `getpass` asks that one.
    command = [sys.executable, "-c", f"import os; os.open(os.ttyname(0), os.O_RDWR); {program}"]
    with subprocess.Popen(
        command,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    ) as process:
        os.close(slave)
        shown, left = b"", list(answers)
        try:
            while part := os.read(master, 4096):
                shown += part
                if left and shown.endswith(left[0][0]):
                    os.write(master, left.pop(0)[1])
        except OSError:  # Linux says EIO at the end
            pass
    os.close(master)
    return process.returncode, shown.decode()


def test_password_is_typed_twice_and_not_shown() -> None:
    code, shown = at_terminal(ASK, (b"Password: ", b"correct horse\n"), (b"Once more: ", b"correct horse\n"))

    assert code == 0
    assert "got True" in shown
    assert "correct" not in shown


def test_passwords_that_differ_are_refused() -> None:
    code, shown = at_terminal(ASK, (b"Password: ", b"correct horse\n"), (b"Once more: ", b"correct hrose\n"))

    assert code == 1
    assert "The two passwords differ." in shown


@pytest.mark.parametrize(("typed", "erased"), [(b"y\n", True), (b"Yes\n", True), (b"n\n", False), (b"\n", False)])
def test_only_a_yes_confirms(typed: bytes, erased: bool) -> None:
    _, shown = at_terminal(CONFIRM, (b"[y/N] ", typed))

    assert ("erased" in shown) is erased
    assert ("Nothing was done." in shown) is not erased
