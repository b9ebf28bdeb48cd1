"""What letters say: every one in every language, an operator's own, and what nobody may put into them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from denizen.core.accounts import Accounts
from denizen.mail import service
from denizen.mail.batches import send_due
from denizen.mail.templates import ALWAYS, OPTIONAL, OURS, TEMPLATES, check, example_of, render, span_of
from tests.mail.conftest import Postbox

ROOT = Path(__file__).parents[2]
LANGUAGES = sorted(path.name for path in OURS.iterdir() if path.is_dir() and not path.name.startswith("_"))


def test_letters_are_there_in_two_languages_at_least_and_all_of_them() -> None:
    assert {"de", "en"} <= set(LANGUAGES)
    for language in LANGUAGES:
        there = {path.stem for path in (OURS / language).glob("*.txt")} - {"words"}
        assert there == set(TEMPLATES), language


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("template", TEMPLATES)
def test_every_letter_can_be_written(template: str, language: str) -> None:
    values = example_of(template)

    letter = render(template, values, language=language)

    assert letter.html is not None
    assert f'<html lang="{language}">' in letter.html
    assert "Example" in letter.subject
    assert "\n" not in letter.subject
    for name in ("link", "code"):
        if name in values:
            assert values[name] in letter.text
            assert values[name] in letter.html
    for text in (letter.subject, letter.text, letter.html):
        assert not re.search(r"\{[{%]|None|Undefined", text)
    assert "\n\n\n" not in letter.text


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("template", TEMPLATES)
def test_what_may_be_left_out_may_be_left_out(template: str, language: str) -> None:
    values = {name: value for name, value in example_of(template).items() if name not in OPTIONAL}

    letter = render(template, values, language=language)

    assert "None" not in letter.text


@pytest.mark.parametrize("template", [name for name, values in TEMPLATES.items() if "link" in values])
def test_a_letter_without_its_link_is_not_written(template: str) -> None:
    values = {name: value for name, value in example_of(template).items() if name != "link"}

    with pytest.raises(Exception, match="'link' is undefined"):
        render(template, values, language="en")


def test_the_documentation_lists_the_letters_and_what_they_are_told() -> None:
    text = (ROOT / "docs" / "mail.md").read_text(encoding="utf-8")
    found = re.findall(r"^\| `(\w+)` \| [^|]+ \|([^|]*)\|$", text, re.MULTILINE)
    rows = {name: values.strip() for name, values in found if name not in {"waiting", "sent", "failed", "kept"}}

    assert rows == {name: ", ".join(f"`{value}`" for value in values) for name, values in TEMPLATES.items()}
    for name in ALWAYS:
        assert f"`{name}`" in text


@pytest.mark.parametrize(
    ("minutes", "said"),
    [(1, (1, "minutes")), (15, (15, "minutes")), (60, (1, "hours")), (90, (90, "minutes")), (120, (2, "hours")),
     (1440, (24, "hours")), (2880, (2, "days")), (10080, (7, "days"))],
)  # fmt: skip
def test_times_are_said_as_people_say_them(minutes: int, said: tuple[int, str]) -> None:
    assert span_of(minutes) == said


@pytest.mark.parametrize(("hours", "english", "german"), [(1, "1 hour:", "einer Stunde"), (168, "7 days", "7 Tagen")])
def test_one_and_many_differ_in_every_language(hours: int, english: str, german: str) -> None:
    values = {**example_of("invitation"), "hours": hours}

    assert english in render("invitation", values, language="en").text
    assert german in render("invitation", values, language="de").text


def test_a_language_falls_back_to_its_relative_and_then_to_english() -> None:
    values = example_of("test")

    assert render("test", values, language="de-AT") == render("test", values, language="de")
    assert render("test", values, language="fr") == render("test", values, language="en")


def test_nothing_that_somebody_is_called_becomes_html_or_a_paragraph() -> None:
    values: Mapping[str, Any] = {
        **example_of("invitation"),
        "inviter": "<b>Eve</b>\r\n\r\nhttps://evil.example\u2028\u2028x",
        "site": "A & <B>\nBcc: eve@example.org",
    }

    letter = render("invitation", values, language="en")

    assert letter.html is not None
    assert "<b>" not in letter.html
    assert "&lt;b&gt;Eve&lt;/b&gt; https://evil.example x invites you" in letter.html
    assert "<b>Eve</b> https://evil.example x invites you" in letter.text
    assert letter.subject == "You are invited to A & <B> Bcc: eve@example.org"
    assert 'href="https://evil' not in letter.html


# -- an operator's own ------------------------------------------------------------------------------------------------


def write(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def test_an_operators_letter_wins_and_the_rest_stays_ours(tmp_path: Path) -> None:
    write(tmp_path, "en/verify.txt", "Welcome to {{ site }}\nPlease click:\n\n{{ link }}\n")

    mine = render("verify", example_of("verify"), language="en", folder=str(tmp_path))
    other = render("reset", example_of("reset"), language="en", folder=str(tmp_path))

    assert mine.subject == "Welcome to Example"
    assert mine.html is not None
    assert "Please click:" in mine.html  # both forms say the same
    assert other == render("reset", example_of("reset"), language="en")
    assert render("verify", example_of("verify"), language="de", folder=str(tmp_path)).subject.startswith("Bestätigen")


def test_an_operators_html_and_frame_win(tmp_path: Path) -> None:
    write(tmp_path, "letter.html", "<h1>{{ site }}</h1>{% for each in paragraphs %}<p>{{ each }}</p>{% endfor %}")
    write(tmp_path, "en/test.html", "<em>{{ email }}</em>")

    framed = render("reset", example_of("reset"), language="en", folder=str(tmp_path))
    own = render("test", example_of("test"), language="en", folder=str(tmp_path))

    assert framed.html is not None
    assert framed.html.startswith("<h1>Example</h1><p>Hello,</p>")
    assert own.html == "<em>ada@example.org</em>"
    assert own.text == render("test", example_of("test"), language="en").text


@pytest.mark.parametrize("broken", ["{{ lnik }}", "{% if %}", "{{ 1 / 0 }}", "{{ site.a.b }}", '{% include "no" %}'])
async def test_a_broken_letter_of_an_operator_loses_no_sign_up(
    accounts: Accounts, postbox: Postbox, tmp_path: Path, broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, "en/verify.txt", f"Subject\n{broken} {{{{ link }}}}\n")
    accounts.settings = accounts.settings.model_copy(update={"mail_templates": str(tmp_path)})

    async with accounts.writing() as db:
        values = example_of("verify")
        await service.post(accounts, db, "verify", to="ada@example.org", at=accounts.clock(), values=values)
    await send_due(accounts)

    (message,) = postbox.received
    assert message["Subject"] == "Confirm your e-mail address for Example"
    assert "mail_template_broken" in caplog.text
    assert "token=" not in caplog.text
    assert [fault.partition(":")[0] for fault in check(str(tmp_path))] == ["verify"]
