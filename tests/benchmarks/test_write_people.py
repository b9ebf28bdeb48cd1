"""The people that imports are measured with: who they are does not change, and all of them can be imported."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from benchmarks import people, real_people
from denizen.core.identifiers import clean_email, clean_username, email_key, username_key, username_skeleton

CONTROL = """\
Package: one
Maintainer: José Núñez <jose@example.org>
Uploaders: "Doe, Jane" <jane@debian.org>,
 Jane Doe <Jane@Debian.org>, Łukasz Żak <lukasz@example.net>

Package: two
Maintainer: Jane Doe <Jane@Debian.org>
Original-Maintainer: The Builders <https://example.com/builders>
Description: Maintainer: Nobody <nobody@example.org>
"""


def test_people_do_not_depend_on_where_one_starts() -> None:
    assert list(people.make_people(50, start=950)) == list(people.make_people(1000))[950:]


def test_another_seed_gives_other_people() -> None:
    assert list(people.make_people(100)) != list(people.make_people(100, seed=7))


def test_every_person_is_accepted_and_nobody_is_taken_for_another() -> None:
    everybody = list(people.make_people(5000))

    emails = {email_key(clean_email(person.email)) for person in everybody}
    usernames = {username_key(clean_username(person.username)) for person in everybody}
    skeletons = {username_skeleton(username) for username in usernames}

    assert len(emails) == len(usernames) == len(skeletons) == len(everybody)
    assert sum(not person.full_name.isascii() for person in everybody) > len(everybody) // 4


def test_csv_and_ndjson_hold_the_same_people(tmp_path: Path) -> None:
    table, lines = tmp_path / "people.csv", tmp_path / "people.ndjson"
    people.write(people.make_people(200), table)
    people.write(people.make_people(200), lines)

    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows == [json.loads(line) for line in lines.read_text(encoding="utf-8").splitlines()]


def test_maintainers_are_merged_by_address(tmp_path: Path) -> None:
    index = tmp_path / "Packages"
    index.write_text(CONTROL, encoding="utf-8")

    rows = real_people.build(real_people.find_people([index]), as_found=False)

    assert [(row.username, row.email, row.full_name) for row in rows] == [
        ("Jane", "Jane@Debian.org", "Jane Doe"),
        ("", "jose@example.org", "José Núñez"),
        ("", "lukasz@example.net", "Łukasz Żak"),
    ]


def test_as_found_keeps_what_life_writes(tmp_path: Path) -> None:
    index = tmp_path / "Packages"
    index.write_text(CONTROL, encoding="utf-8")

    rows = real_people.build(real_people.find_people([index]), as_found=True)

    assert {row.email for row in rows} >= {"jane@debian.org", "Jane@Debian.org", "https://example.com/builders"}
    assert len({row.external_id for row in rows}) == len(rows) == 5
