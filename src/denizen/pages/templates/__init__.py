"""What pages say: `templates/LANGUAGE/NAME.html`, each a whole page made of `base.html` and the macros of `parts.html`.

A page that is not there in somebody's language is shown in English. There is no script, and one style for all, which
stands in the page itself: nothing has to be fetched, whatever prefix or proxy there is.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

OURS: Final = Path(__file__).parent
LANGUAGES: Final = tuple(sorted(path.name for path in OURS.iterdir() if len(path.name) == 2))
ENGLISH: Final = "en"

_STYLE: Final = (OURS / "style.css").read_text(encoding="utf-8").strip()
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

CSP: Final = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""Nothing is loaded or run, only our one style applies, and a form goes to this server alone."""


@cache
def _environment() -> Environment:
    environment = Environment(loader=FileSystemLoader(OURS), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.globals["style"] = Markup(_STYLE)  # noqa: S704  (our own file)
    return environment


def render(name: str, values: Mapping[str, Any], *, language: str) -> str:
    """Write a page.

    Args:
        name: which: `reset_password` for `reset_password.html`.
        values: that stand in it, escaped; what it asks for and is not there is left out.
        language: one of `LANGUAGES`.
    """
    template = _environment().select_template([f"{each}/{name}.html" for each in (language, ENGLISH)])
    shown = Path(template.name or "").parent.name
    return template.render({**values, "language": shown})


def choose_language(accepted: str) -> str:
    """Give the language of ours that the header `Accept-Language` likes best; English where it likes none."""
    wishes = sorted(_wishes(accepted[:1000].split(",")), key=lambda wish: -wish[1])
    return next((language for language, liking in wishes if liking > 0 and language in LANGUAGES), ENGLISH)


def _wishes(ranges: Iterable[str]) -> Iterable[tuple[str, float]]:
    for each in ranges:
        tag, _, parameter = each.partition(";")
        name, _, value = parameter.partition("=")
        try:
            liking = float(value) if name.strip() == "q" else 1.0
        except ValueError:
            liking = 0.0
        yield tag.strip().lower().partition("-")[0], liking
