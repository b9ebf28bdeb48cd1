"""Make `.venv` and install the pinned packages and the project itself, with the standard library alone.

    python requirements/install.py runtime|dev|plot      (the Makefile does)

Two calls at once are safe: the second waits for the first, sees that all is done, and does nothing.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"

# `build` has what makes an editable install; with it here, pip need not fetch an unpinned one of its own accord.
# `dev` holds all of `runtime`, in the same versions.
LOCKS = {"runtime": ("build", "runtime"), "dev": ("build", "runtime", "dev"), "project": ()}
LOCKS["plot"] = (*LOCKS["dev"], "plot")


def main(kind: str) -> None:
    """Bring `.venv` to what the lock files of `kind` say."""
    if sys.version_info < (3, 11):  # noqa: UP036 - it runs before anything has looked
        sys.exit(f"Denizen needs Python 3.11 or newer; {sys.executable} is {sys.version.split()[0]}.")
    folder = os.open(ROOT / "requirements", os.O_RDONLY)  # a folder can be locked too, and no file is left behind
    fcntl.flock(folder, fcntl.LOCK_EX)  # until this process ends
    make_venv()
    if not any(is_done(name) for name in ("runtime", "dev") if set(LOCKS[kind]) <= set(LOCKS[name])):
        install(kind)
    for name in (kind, "project"):
        stamp(name).write_text(fingerprint(name))


def make_venv() -> None:
    """Create `.venv`, or create it anew where its interpreter is gone or is another version."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    if PYTHON.exists() and run("-c", f"import sys, pip; assert sys.version.startswith({version!r} + '.')", check=False):
        return
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        sys.exit(
            f"{sys.executable} cannot make virtual environments. On Debian and Ubuntu: "
            f"apt-get install python{version}-venv (or python3-venv), then run make again."
        )
    print(f"Creating .venv with Python {sys.version.split()[0]} ...", flush=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)], check=True)


def install(kind: str) -> None:
    """Install what is locked, by hash, and then the project over it, editable and without looking for anything more."""
    print(f"Installing {kind} packages into .venv ...", flush=True)
    files = [argument for name in LOCKS[kind] for argument in ("-r", f"requirements/{name}.txt")]
    pip("--require-hashes", "--no-deps", *files)
    if not is_done("project"):  # another make may be running the project: do not pull it from under its feet
        pip("--no-deps", "--no-build-isolation", "--editable", ".")


def pip(*arguments: str) -> None:
    """Run `pip install`; a failure has been explained by pip itself, so no traceback hides it."""
    command = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments]
    if not run(*command, check=False, quiet=False):
        sys.exit("pip could not install the packages; see above.")


def run(*arguments: str, check: bool, quiet: bool = True) -> bool:
    """Run `.venv`'s Python and tell whether it succeeded."""
    output = subprocess.DEVNULL if quiet else None
    return subprocess.run([str(PYTHON), *arguments], cwd=ROOT, check=check, stderr=output).returncode == 0


def stamp(name: str) -> Path:
    """Return where it is noted what was installed last."""
    return VENV / f".installed-{name}"


def is_done(name: str) -> bool:
    """Tell whether what is in `.venv` is what the files say now."""
    return stamp(name).exists() and stamp(name).read_text() == fingerprint(name)


def fingerprint(name: str) -> str:
    """Digest all that decides what gets installed."""
    digest = hashlib.sha256()
    for path in ("pyproject.toml", *(f"requirements/{lock}.txt" for lock in LOCKS[name])):
        digest.update((ROOT / path).read_bytes())
    return digest.hexdigest()


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in ("runtime", "dev", "plot"):
        sys.exit("usage: install.py runtime|dev|plot")
    main(sys.argv[1])
