"""Synthetic people in any number: the same seed gives the same people, and any stretch of them without those before.

    python -m benchmarks.people 1000000 people.csv
    python -m benchmarks.people 900000 more.ndjson --start 100000

Names come from a dozen languages in their own scripts: of a hundred people about forty have a `full_name` that is not
ASCII. Five usernames and two addresses in a hundred are not ASCII either, so that an import is not measured on its short
path alone. Addresses end in domains that RFC 2606 reserves: none of them reaches anybody.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

SEED = 20_260_101

# ruff: noqa: E501 -- a line below is a language
# Given names, family names, and both as people write them in an address. The first language is drawn more often.
LANGUAGES: tuple[tuple[str, str, str, str], ...] = (
    (
        "Ada Ben Clara David Emma Frank Grace Henry Irene James Karen Leo Maria Noah Olivia Paul Quinn Rose Sam Tina",
        "Smith Jones Brown Taylor Wilson Evans Walker Wright Green Hall Clark Lewis Young King Hill Baker Carter Cook Bell",
        "ada ben clara david emma frank grace henry irene james karen leo maria noah olivia paul quinn rose sam tina",
        "smith jones brown taylor wilson evans walker wright green hall clark lewis young king hill baker carter cook bell",
    ),
    ("José Lucía Íñigo Begoña", "García Núñez Ibáñez Peña", "jose lucia inigo begona", "garcia nunez ibanez pena"),
    ("Jürgen Käthe Björn Zoë", "Müller Größ Schröder Weiß", "juergen kaethe bjoern zoe", "mueller gross schroeder weiss"),
    ("François Zoé Hélène Loïc", "Lefèvre Bérard Noël Garçon", "francois zoe helene loic", "lefevre berard noel garcon"),
    ("Łukasz Zofia Michał Agnieszka", "Wójcik Żak Dąbrowska Król", "lukasz zofia michal agnieszka", "wojcik zak dabrowska krol"),
    ("Đặng Nguyễn Thị Hòa", "Phạm Trần Huỳnh Võ", "dang nguyen thi hoa", "pham tran huynh vo"),
    ("Ольга Иван Пётр Юлия", "Смирнова Ковалёв Щукин Жукова", "olga ivan pyotr yulia", "smirnova kovalyov shchukin zhukova"),
    ("Ελένη Γιώργος Σοφία Νίκος", "Παπαδάκη Αλεξίου Δήμου Ζέρβα", "eleni giorgos sofia nikos", "papadaki alexiou dimou zerva"),
    ("محمد فاطمة يوسف ليلى", "الحداد منصور خليل نجار", "mohamed fatima yusuf layla", "haddad mansour khalil najjar"),
    ("דוד נועה יעל משה", "כהן לוי מזרחי פרץ", "david noa yael moshe", "cohen levi mizrahi peretz"),
    ("अनिता राहुल प्रिया विजय", "शर्मा गुप्ता पटेल सिंह", "anita rahul priya vijay", "sharma gupta patel singh"),
    ("伟 芳 秀英 建国", "王 李 张 刘", "wei fang xiuying jianguo", "wang li zhang liu"),
    ("さくら 陽菜 大翔 健", "佐藤 鈴木 高橋 田中", "sakura hina hiroto ken", "sato suzuki takahashi tanaka"),
    ("민준 서연 지훈 하은", "김 이 박 최", "minjun seoyeon jihun haeun", "kim lee park choi"),
)  # fmt: skip
WORDS = tuple(tuple(tuple(names.split()) for names in language) for language in LANGUAGES)
ASCII_SHARE = 60
"""People in a hundred whose name is ASCII; the other languages share the rest evenly."""
DOMAINS = ("example.com", "example.org", "example.net", "mail.example.com", "team.example.org")
DOMAINS_NOT_ASCII = ("bücher.example.com", "почта.example.org", "例え.example.net")


class Person(NamedTuple):
    """One row; the names of the fields are the columns of `denizen users import`."""

    username: str
    email: str
    full_name: str
    external_id: str


def bits(index: int, seed: int) -> int:
    """Return 64 well-mixed bits for the person at `index`.

    Source: SplitMix64 of Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014.
    """
    z = (index * 0x9E3779B97F4A7C15 + seed) & 0xFFFFFFFFFFFFFFFF
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    return z ^ (z >> 31)


def make_person(index: int, seed: int = SEED) -> Person:
    """Return the person at `index`, who carries the index in username, address and `external_id`: nobody shares them."""
    draw = bits(index, seed)
    share = draw % 100
    language = 0 if share < ASCII_SHARE else 1 + (draw >> 8) % (len(WORDS) - 1)
    given, family, given_latin, family_latin = WORDS[language]
    first, last = (draw >> 20) % len(given), (draw >> 32) % len(family)
    latin = f"{given_latin[first]}.{family_latin[last]}.{index}"
    own_script = share >= 100 - 5
    username = f"{given[first].lower()}.{index}" if own_script else latin
    local = f"{family[last].lower()}.{index}" if share == 99 else latin
    domain = DOMAINS_NOT_ASCII[index % 3] if share == 98 else DOMAINS[(draw >> 44) % len(DOMAINS)]
    return Person(username, f"{local}@{domain}", f"{given[first]} {family[last]}", f"crm-{index:08d}")


def make_people(count: int, *, start: int = 0, seed: int = SEED) -> Iterator[Person]:
    """Yield `count` people, the first of them number `start`."""
    return (make_person(index, seed) for index in range(start, start + count))


def write(people: Iterable[Person], path: Path) -> None:
    """Write NDJSON where the name ends in `.ndjson` or `.jsonl`, else CSV, one person at a time."""
    with path.open("w", encoding="utf-8", newline="") as file:
        if path.suffix in {".ndjson", ".jsonl"}:
            encode = json.JSONEncoder(ensure_ascii=False).encode
            file.writelines(encode(person._asdict()) + "\n" for person in people)
            return
        table = csv.writer(file)
        table.writerow(Person._fields)
        table.writerows(people)


def main() -> int:
    """Write the file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.people", description=__doc__.partition("\n")[0])
    parser.add_argument("count", type=int)
    parser.add_argument("path", type=Path, help="people.csv or people.ndjson")
    parser.add_argument("--start", type=int, default=0, help="number of the first of them (default 0)")
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args()
    write(make_people(options.count, start=options.start, seed=options.seed), options.path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
