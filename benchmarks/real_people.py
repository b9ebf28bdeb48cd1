"""A file of real people: everybody who signs for a package in the Debian indexes this machine already holds.

    apt-get update                                   # once, if the machine has no package lists
    python -m benchmarks.real_people people.csv
    python -m benchmarks.real_people --as-found people.ndjson
    denizen users import people.csv

Sources, all of them public and all read from local files: the `Maintainer`, `Original-Maintainer` and `Uploaders` of
every package that apt knows (binary indexes; source indexes too where `deb-src` is on), and whoever signed an entry of
an installed `/usr/share/doc/*/changelog.Debian.gz`. The same lists give the same file, byte for byte.

One row is one address, judged without regard to case. Where an address comes with several names or spellings, the pair
that was found most often wins, and the first in code point order among equals. What has no `@` is left out. With
`--as-found` nothing is merged and nothing left out: each distinct name and address as they were written is a row, so
that the file holds the same address twice with different names or in different case, and a few that are none, as files
from life do.

Columns: `email`, `full_name`, `username` (the login of those at debian.org, else empty) and `external_id` (stable for
the row). The file holds personal data: it is never committed.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import hashlib
import json
import lzma
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

FIELDS = re.compile(r"(?:Maintainer|Original-Maintainer|XSBC-Original-Maintainer|Uploaders):(.*)")
SIGNATURE = re.compile(r" -- (.*>)  \w{3}, ")
PERSON = re.compile(r"\s*(?P<name>[^<>]*?)\s*<\s*(?P<email>[^<>]*?)\s*>\s*,?")
CHANGELOGS = Path("/usr/share/doc")
APT_HELPER = "/usr/lib/apt/apt-helper"
NO_LISTS = """\
This machine has no package lists to read people from.
  Debian, Ubuntu:  apt-get update   (as root), then run this again
  elsewhere:       fetch a `Packages` or `Sources` index of any Debian mirror, and name it with --index FILE"""

Found = Counter[tuple[str, str]]
"""How often each pair of name and address stands in the sources, both as they were written."""


@dataclass(frozen=True)
class Person:
    """One row of the file; the names of the fields are the columns of `denizen users import`."""

    username: str
    email: str
    full_name: str
    external_id: str


def people_in(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield (name, address) for every person that a control file names; a field may go on over several lines."""
    value = ""
    for line in lines:
        if line.startswith((" ", "\t")) and value:
            value += " " + line.strip()
            continue
        yield from split_people(value)
        match = FIELDS.match(line)
        value = match[1].strip() if match else ""
    yield from split_people(value)


def split_people(value: str) -> Iterator[tuple[str, str]]:
    """Yield the (name, address) pairs of one field. Names hold commas in life, so a pair ends at `>` alone."""
    for match in PERSON.finditer(value):
        yield match["name"].strip("\"' ,"), match["email"]


def output_of(*command: str) -> Iterator[str]:
    """Yield the lines that a command of apt prints; none where apt is absent."""
    if shutil.which(command[0]) is None:
        return
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        for line in process.stdout:
            yield line.decode("utf-8", "replace").rstrip("\n")


def lines_of(path: Path) -> Iterator[str]:
    """Yield the lines of an index, compressed or not."""
    with path.open("rb") as raw:
        file: Iterable[bytes] = raw
        if path.suffix == ".gz":
            file = gzip.open(raw)  # noqa: SIM115 -- closes nothing but itself
        elif path.suffix == ".xz":
            file = lzma.open(raw)  # noqa: SIM115 -- as above
        for line in file:
            yield line.decode("utf-8", "replace").rstrip("\n")


def find_people(indexes: Sequence[Path] = ()) -> Found:
    """Count everybody in the given indexes, or, if none is given, in what this machine holds."""
    found: Found = Counter()
    for index in indexes:
        found.update(people_in(lines_of(index)))
    if indexes:
        return found
    found.update(people_in(output_of("apt-cache", "dumpavail")))
    for source in output_of("apt-get", "indextargets", "--format", "$(FILENAME)", "Created-By: Sources"):
        found.update(people_in(output_of(APT_HELPER, "cat-file", source)))
    for changelog in sorted(CHANGELOGS.glob("*/changelog.Debian*.gz")):
        for line in lines_of(changelog):
            if match := SIGNATURE.match(line):
                found.update(split_people(match[1]))
    return found


def merge(found: Found) -> Iterator[tuple[str, str]]:
    """Keep one pair for each address, as the top of this file says, in the order of the addresses."""
    best: dict[str, tuple[str, str]] = {}
    for pair, _ in sorted(found.items(), key=lambda item: (-item[1], item[0])):
        if "@" in pair[1]:
            best.setdefault(pair[1].casefold(), pair)
    yield from (best[key] for key in sorted(best))


def make_person(name: str, email: str, *, distinguish_by: str) -> Person:
    """Build a row; two rows with the same `distinguish_by` have the same `external_id`."""
    login, _, domain = email.partition("@")
    digest = hashlib.sha256(distinguish_by.encode()).hexdigest()
    return Person(
        username=login if domain.casefold() == "debian.org" else "",
        email=email,
        full_name=name,
        external_id=f"debian-{digest[:16]}",
    )


def build(found: Found, *, as_found: bool) -> list[Person]:
    """Return the rows of the file, in an order that depends on nothing but what was found."""
    if as_found:
        return [make_person(*pair, distinguish_by="\n".join(pair)) for pair in sorted(found)]
    return [make_person(*pair, distinguish_by=pair[1].casefold()) for pair in merge(found)]


def write(people: Iterable[Person], path: Path) -> None:
    """Write NDJSON where the name ends in `.ndjson` or `.jsonl`, else CSV; an absent username is left empty."""
    with path.open("w", encoding="utf-8", newline="") as file:
        if path.suffix in {".ndjson", ".jsonl"}:
            for person in people:
                row = {name: value for name, value in asdict(person).items() if value}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
            return
        table = csv.DictWriter(file, [field.name for field in fields(Person)])
        table.writeheader()
        table.writerows(asdict(person) for person in people)


def main() -> int:
    """Write the file and say what is in it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.real_people", description=__doc__.partition("\n")[0])
    parser.add_argument("path", type=Path, help="people.csv or people.ndjson")
    parser.add_argument("--as-found", action="store_true", help="merge nothing: the same address may come twice")
    parser.add_argument(
        "--index", type=Path, action="append", default=[], help="read this Packages or Sources file instead"
    )
    options = parser.parse_args()
    found = find_people(options.index)
    if not found:
        print(NO_LISTS, file=sys.stderr)
        return 1
    people = build(found, as_found=options.as_found)
    write(people, options.path)
    print(
        f"{len(people):,} people in {options.path}: {sum(not person.full_name.isascii() for person in people):,} names"
        f" not ASCII, {sum(bool(person.username) for person in people):,} with a username,"
        f" {len(people) - len({person.email.casefold() for person in people}):,} addresses that come again"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
