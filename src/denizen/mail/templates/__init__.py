"""What letters say: a text template for each, whose first line is the subject, and HTML made of the same words.

`templates/LANGUAGE/NAME.txt` and, where it is there, `NAME.html`; in an operator's folder alike. A letter that is not
there in somebody's language is sent in English.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple

from jinja2 import ChoiceLoader, Environment, FileSystemLoader, StrictUndefined, select_autoescape

OURS: Final = Path(__file__).parent


class Letter(NamedTuple):
    """What is sent."""

    subject: str
    text: str
    html: str | None


@lru_cache(maxsize=8)
def _environment(folder: str | None) -> Environment:
    folders = [OURS] if folder is None else [Path(folder), OURS]
    return Environment(
        loader=ChoiceLoader([FileSystemLoader(each) for each in folders]),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )


def render(template: str, values: Mapping[str, Any], *, language: str, folder: str | None = None) -> Letter:
    """Write a letter.

    Args:
        template: its name.
        values: that stand in it.
        language: `en`, `de-AT` ...
        folder: an operator's own templates.
    """
    environment = _environment(folder)
    languages = dict.fromkeys((language, language.partition("-")[0], "en"))
    text = environment.select_template([f"{each}/{template}.txt" for each in languages])
    subject, _, body = text.render(values).partition("\n")
    found = Path(text.name or "").parent / f"{template}.html"
    there = found.as_posix() in environment.list_templates(extensions=["html"])
    html = environment.get_template(found.as_posix()).render(values) if there else None
    return Letter(" ".join(subject.split()), body.strip() + "\n", html)
