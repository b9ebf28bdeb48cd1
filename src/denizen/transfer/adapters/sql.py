"""The lines of an export as the database writes them: the same bytes as `CsvWriter` and `NdjsonWriter` give.

To bring rows into Python, only to make text of them there, is most of an export (ADR 0020). So each line is one
expression over the columns of a row `u`, and there is one for each form on each database. Nothing of a value or of a
request is in their text: they are made of the names in `schemas`, and of those of own fields, which are identifiers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Final, Literal

from denizen.transfer.schemas import OWN, TEXTS, Format

Kind = Literal["sqlite", "postgresql"]

_MAYBE_TIMES: Final = frozenset({"email_verified_at", "suspended_at", "suspended_until"})
_TIMES: Final = frozenset({"created_at", "updated_at", *_MAYBE_TIMES})
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "")
"""What `neutralise` looks for behind the apostrophes that a text begins with; at last its end."""

_PLACE: Final = "\0"
"""Stands in a line's pattern where a value goes; no literal has it."""


def line(form: Format, columns: Sequence[str], kind: Kind, texts: frozenset[str] = frozenset()) -> str:
    """Give the expression of one line with its end.

    Args:
        form: of the file.
        columns: names of the table's columns; see `_may_be_null`. CSV has own fields (`OWN`) besides.
        kind: of the database.
        texts: those of own fields that are text; of the others there is JSON.
    """
    if form == "ndjson" and kind == "sqlite":
        members = ", ".join(f"'{name}', {_json_value(name)}" for name in columns)
        return f"json_object({members}) || char(10)"
    values = [_value(name, kind) for name in columns]
    if form == "csv":
        chosen = TEXTS | texts
        shown = [_cell(name, value, kind, chosen) for name, value in zip(columns, values, strict=True)]
        return _joined(",".join(_PLACE for _ in columns) + "\r\n", shown, kind)
    quote = dict.fromkeys((*(_TIMES - _MAYBE_TIMES), "id"), '"')
    members = ",".join(f'"{name}":{quote.get(name, "")}{_PLACE}{quote.get(name, "")}' for name in columns)
    shown = [_json_text(name, value) for name, value in zip(columns, values, strict=True)]
    return _joined(f"{{{members}}}\n", shown, kind)


def own_value(column: str, kind: Kind, texts: frozenset[str]) -> str:
    """Give the expression of an own field for the column of `u` that has its name: text where it is one of `texts`, and
    JSON of others; NULL where there is none, or `null`.
    """
    profile, name = "denizen_users.profile", column.removeprefix(OWN)
    if kind == "postgresql":
        return f"{profile} ->> '{name}'" if column in texts else f"nullif(CAST({profile} -> '{name}' AS text), 'null')"
    if column in texts:
        return f"json_extract({profile}, '$.{name}')"
    # Of several paths it gives an array, of JSON as it is stored: alone, `true` would be 1, and a number lose digits.
    both = f"json_extract({profile}, '$.{name}', '$[0]')"  # `[0.1,null]`
    return f"nullif(substr({both}, 2, length({both}) - 7), 'null')"


def all_lines(kind: Kind) -> str:
    """Give the aggregate of all rows' `line` in their order, as bytes in UTF-8; NULL where there is no row."""
    if kind == "sqlite":
        return "CAST(group_concat(line, '') AS BLOB)"
    return "convert_to(string_agg(line, ''), 'UTF8')"


def _value(name: str, kind: Kind) -> str:
    """Give a column as text. SQLite stores ids and times in that form already."""
    if name == "is_active":
        return "CASE WHEN u.is_active THEN 'true' ELSE 'false' END"
    if kind == "postgresql" and name in _TIMES:
        return f"""to_char(timezone('UTC', u.{name}), 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""
    if name.startswith(OWN):
        return f'u."{name}"'
    if kind == "postgresql" and name in {"id", "version", "profile"}:
        return f"CAST(u.{name} AS text)"
    return f"u.{name}"


def _json_value(name: str) -> str:
    if name == "profile":
        return "json(u.profile)"
    return "json(CASE WHEN u.is_active THEN 'true' ELSE 'false' END)" if name == "is_active" else f"u.{name}"


def _json_text(name: str, value: str) -> str:
    """Give a column as JSON on PostgreSQL, whose `row_to_json` takes half as long again."""
    if name in _MAYBE_TIMES:
        return f"coalesce('\"' || {value} || '\"', 'null')"
    return f"coalesce(CAST(to_json({value}) AS text), 'null')" if _may_be_null(name) else value


def _cell(name: str, value: str, kind: Kind, texts: frozenset[str]) -> str:
    """Give a column as CSV has it: neutralised where it is one of `texts`, and in quotes where it needs them.

    The mark that neutralises is none of the characters that need quotes, so the two are judged apart.
    """
    if not _may_be_null(name):
        return value
    if name in _MAYBE_TIMES:
        return f"coalesce({value}, '')"
    mark = ""
    if name in texts:
        formula = ", ".join(_literal(each, kind) for each in _FORMULA)
        mark = f"CASE WHEN substr(ltrim({value}, ''''), 1, 1) IN ({formula}) THEN '''' ELSE '' END || "
    quoted = f"""'"' || {mark}replace({value}, '"', '""') || '"'"""
    return f"coalesce(CASE WHEN {_NEEDS_QUOTES[kind](value)} THEN {quoted} ELSE {mark}{value} END, '')"


def _may_be_null(name: str) -> bool:
    return name in TEXTS or name in _MAYBE_TIMES or name == "hashed_password" or name.startswith(OWN)


_NEEDS_QUOTES: Final[Mapping[Kind, Callable[[str], str]]] = {
    "sqlite": lambda value: f"""{value} GLOB '*[,"' || char(10, 13) || ']*'""",
    "postgresql": lambda value: " OR ".join(
        f"strpos({value}, {_literal(each, 'postgresql')}) > 0" for each in (",", '"', "\n", "\r")
    ),
}
"""By what each is quickest at."""


def _joined(pattern: str, values: Sequence[str], kind: Kind) -> str:
    """Give `pattern` with the values in its places: by concatenation, of which SQLite is quickest at `printf`."""
    if kind == "sqlite":
        return f"printf({_literal(pattern.replace(_PLACE, '%s'), kind)}, {', '.join(values)})"
    first, *others = pattern.split(_PLACE)
    pieces = [_literal(first, kind)]
    for value, literal in zip(values, others, strict=True):
        pieces += [value, _literal(literal, kind)]
    return " || ".join(piece for piece in pieces if piece != "''")


_CONTROLS: Final = {"\t": 9, "\n": 10, "\r": 13}


def _literal(text: str, kind: Kind) -> str:
    """Write a literal; control characters, for which SQLite knows no escapes, by their numbers there."""
    if kind == "postgresql":
        escaped = {"\\": "\\\\", "'": "''", "\t": "\\t", "\n": "\\n", "\r": "\\r"}
        written = "".join(escaped.get(each, each) for each in text)
        return f"E'{written}'" if "\\" in written else f"'{written}'"
    return reduce(
        lambda found, control: found.replace(control, f"' || char({_CONTROLS[control]}) || '"),
        _CONTROLS,
        "'" + text.replace("'", "''") + "'",
    )
