"""What is written beside the code: links lead somewhere, and nothing tells of the machine it was written on."""

from __future__ import annotations

import getpass
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"(?<!`)\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.+?) *#*$", re.MULTILINE)
ADDRESS = re.compile(r"\bhttps?://(\w[\w.-]*)")

# Every host that may be named: specifications, the projects we build on, and names that mean nobody.
HOSTS = {
    "127.0.0.1",
    "0.0.0.0",
    "localhost",
    "testserver",
    "www.rfc-editor.org",
    "www.sqlite.org",
    "www.unicode.org",
    "fastapi.tiangolo.com",
    "github.com",
    "keepachangelog.com",
    "semver.org",
}
RESERVED = ("example", "example.com", "example.org", "example.net", "test", "invalid", "localhost")


def documents() -> list[Path]:
    return [path for path in tracked() if path.suffix == ".md"]


def tracked() -> list[Path]:
    """Return what git would ship: in its index, or new and not ignored."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        listing = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git working tree")
    return [path for name in sorted(set(listing.split("\0")) - {""}) if (path := ROOT / name).is_file()]


def texts() -> Iterator[tuple[Path, str]]:
    """Yield all text files that git would ship."""
    for path in tracked():
        try:
            yield path.relative_to(ROOT), path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # a picture


def anchors(document: Path) -> set[str]:
    """Return the anchors of a Markdown document's headings, as forges make them."""
    headings = HEADING.findall(re.sub(r"```.*?```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_docs_links_lead_somewhere() -> None:
    broken = []
    for document in documents():
        for target in LINK.findall(document.read_text(encoding="utf-8")):
            parts = urlsplit(target)
            if parts.scheme:
                continue
            there = (document.parent / parts.path).resolve() if parts.path else document
            if not there.exists() or (parts.fragment and parts.fragment not in anchors(there)):
                broken.append(f"{document.relative_to(ROOT)}: {target}")
    assert broken == []


def test_docs_of_decisions_are_all_in_the_index() -> None:
    folder = ROOT / "docs" / "adr"
    index = (folder / "README.md").read_text(encoding="utf-8")
    numbers = []
    for path in sorted(folder.glob("0*.md")):
        text = path.read_text(encoding="utf-8")
        numbers.append(int(path.name[:4]))
        assert f"({path.name})" in index
        assert text.startswith(f"# {path.name[:4]} ")
        assert "\nStatus: " in text
        for part in ("Context", "Decision", "Consequences"):
            assert f"\n## {part}\n" in text, f"{path.name} has no {part}"
        assert len(text.split()) < 700, f"{path.name} is longer than a page"
    assert numbers == list(range(1, len(numbers) + 1))


def test_docs_and_code_name_only_hosts_that_mean_something() -> None:
    strange = {
        f"{path}: {host}"
        for path, text in texts()
        if not path.as_posix().startswith("tests/")
        for host in ADDRESS.findall(text)
        if host not in HOSTS and not any(f".{host}".endswith(f".{name}") for name in RESERVED)
    }
    assert strange == set()


def test_docs_and_code_do_not_tell_where_they_were_written() -> None:
    machine = {str(ROOT), str(Path.home())} - {"/", "/root"}
    homes = re.compile(r"(?<![\w.-])/(root|Users/\w+|home/(?!user\b)\w+)/")
    found = [
        f"{path}: {line.strip()[:80]}"
        for path, text in texts()
        for line in text.splitlines()
        if homes.search(line) or any(place in line for place in machine)
    ]
    assert found == [], f"paths of {getpass.getuser()}'s machine"


def test_lock_files_name_no_index() -> None:
    for path in sorted((ROOT / "requirements").glob("*.txt")):
        lines = path.read_text(encoding="utf-8").splitlines()
        assert lines
        for line in lines:
            assert re.match(r"^([a-z0-9.-]+==[\w.+!]+( ; [^\\]+)? \\|    --hash=sha256:[0-9a-f]{64}( \\)?)$", line), (
                line
            )
