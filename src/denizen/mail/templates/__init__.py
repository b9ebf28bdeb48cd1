"""What letters say: `LANGUAGE/NAME.txt`, whose first line is the subject, here or in an operator's folder.

The HTML is made of the same words by `letter.html`, so that a translator writes one file a letter and the two forms
cannot differ. Whoever wants more puts `LANGUAGE/NAME.html` beside his text. A letter that is not there in somebody's
language is sent in English.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from denizen.core.logs import logger
from denizen.mail.values import Letter

if TYPE_CHECKING:
    from jinja2 import Environment

log = logger(__name__)

OURS: Final = Path(__file__).parent
ALWAYS: Final = ("site", "base_url", "email")
"""What every letter may use."""

OPTIONAL: Final = frozenset({"until", "inviter", "name"})
"""What may be left out of `post`, and is `None` then."""

TEMPLATES: Final[Mapping[str, tuple[str, ...]]] = {
    "verify": ("link", "hours"),
    "reset": ("link", "minutes"),
    "change_email": ("link", "hours"),
    "email_changed": ("link", "hours"),
    "magic_link": ("link", "minutes"),
    "code": ("code", "minutes"),
    "sign_up": ("link", "hours"),
    "sign_up_known": (),
    "password_changed": (),
    "suspended": ("until",),
    "invitation": ("link", "hours", "inviter"),
    "deleted": ("until",),
    "test": (),
}
"""The letters, and what each is told beside `ALWAYS`. Instead of `hours` it may be `minutes`, and the reverse."""


class Span(NamedTuple):
    """A length of time as people say it; `unit` is `minutes`, `hours` or `days`."""

    number: int
    unit: str


def span_of(minutes: int) -> Span:
    """Give a length of time in the largest unit of which it is at least two, and nothing left over."""
    for unit, length in (("days", 1440), ("hours", 60)):
        if minutes % length == 0 and (minutes >= 2 * length or (minutes == length and unit == "hours")):
            return Span(minutes // length, unit)
    return Span(minutes, "minutes")


def render(template: str, values: Mapping[str, Any], *, language: str, folder: str | None = None) -> Letter:
    """Write a letter. One of the operator's that cannot be used is ours instead, and logged: what it tells of must not
    fail for it.

    Args:
        template: one of `TEMPLATES`.
        values: that stand in it.
        language: `en`, `de-AT` ...
        folder: an operator's own templates.
    """
    known = _prepared(values)
    if folder is not None:
        try:
            return _render(template, known, language, folder)
        except Exception as error:  # noqa: BLE001  (what an operator's template may raise has no end)
            # Not what it says, nor where: that may quote a value, and links open accounts.
            log.warning("mail_template_broken", template=template, language=language, error=type(error).__name__)
    return _render(template, known, language, None)


def check(folder: str, language: str = "en") -> list[str]:
    """Give a sentence for each letter that cannot be written with an operator's templates."""
    if not Path(folder).is_dir():
        return [f"there is no folder {folder}"]
    faults = []
    for template in TEMPLATES:
        try:
            _render(template, _prepared(example_of(template)), language, folder)
        except Exception as error:  # noqa: BLE001  (as in `render`)
            faults.append(f"{template}: {type(error).__name__}: {error}")
    return faults


def example_of(template: str) -> dict[str, Any]:
    """Give values with which a letter can be looked at."""
    examples: dict[str, Any] = {
        "site": "Example",
        "base_url": "https://accounts.example.com",
        "email": "ada@example.org",
        "link": "https://accounts.example.com/auth/verify?token=...",
        "code": "123456",
        "hours": 24,
        "minutes": 15,
        "until": datetime(2026, 3, 1, 9, 30, tzinfo=UTC),
        "inviter": "Grace Hopper",
    }
    return {name: examples[name] for name in (*ALWAYS, *TEMPLATES[template])}


def _prepared(values: Mapping[str, Any]) -> dict[str, Any]:
    """Bring each text to one line, so that no value can look like a paragraph of ours; say spans as people do."""
    known: dict[str, Any] = dict.fromkeys(OPTIONAL)
    known |= {name: " ".join(each.split()) if isinstance(each, str) else each for name, each in values.items()}
    if known.get("hours") is not None or known.get("minutes") is not None:
        known["span"] = span_of(round((known.get("hours") or 0) * 60 + (known.get("minutes") or 0)))
    return known


def _moment(at: datetime | str) -> str:
    """Write an instant so that it is the same one for every reader."""
    return at if isinstance(at, str) else f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


@lru_cache(maxsize=8)
def _environment(folder: str | None) -> Environment:
    from jinja2 import ChoiceLoader, Environment, FileSystemLoader, StrictUndefined, select_autoescape

    folders = [OURS] if folder is None else [Path(folder), OURS]
    environment = Environment(
        loader=ChoiceLoader([FileSystemLoader(each) for each in folders]),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters["moment"] = _moment
    return environment


def _render(template: str, values: Mapping[str, Any], language: str, folder: str | None) -> Letter:
    environment = _environment(folder)
    languages = dict.fromkeys((language, language.partition("-")[0], "en"))
    text = environment.select_template([f"{each}/{template}.txt" for each in languages])
    subject, _, body = text.render(values).strip().partition("\n")
    subject, body = " ".join(subject.split()), body.strip()
    spoken = (text.name or "").partition("/")[0]
    shown = {**values, "language": spoken, "subject": subject, "paragraphs": body.split("\n\n")}
    html = environment.select_template([f"{spoken}/{template}.html", "letter.html"])
    return Letter(subject, body + "\n", html.render(shown))
