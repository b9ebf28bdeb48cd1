"""Files as people send them: each row is told by its line and a code, and the rows that are good go in."""

from __future__ import annotations

from pathlib import Path

import pytest

from denizen.core.errors import DenizenError
from tests.cli.conftest import Command
from tests.transfer.conftest import BringIn, Stored, told

C = "created"


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(
            b"\xef\xbb\xbfsep=;\r\nE-Mail;Username;\r\n".replace(b"E-Mail", b"Email")
            + b"ada@example.org;ada;\r\nbob@example.org;bob;\r\n",
            [(3, C), (4, C)],
            id="Excel: BOM, hint, semicolons, one more at every end",
        ),
        pytest.param(
            b'username,full_name\nada,"one\ntwo"\nbob,"say ""hi"", then\r\n\r\nleave"\ncarl,x\n',
            [(2, C), (4, C), (7, C)],
            id="line breaks in quotes",
        ),
        pytest.param(b"username\tfull_name\nada\tA, B; C\n", [(2, C)], id="tabs"),
        pytest.param(
            b"username;full_name\nada;A\nbob,B\ncarl;C\n", [(2, C), (3, "columns_missing"), (4, C)], id="mixed"
        ),
        pytest.param(
            b"username,full_name\nada,\x93A\x94\nbob,B\n", [(2, "encoding_invalid"), (3, C)], id="Windows-1252 quotes"
        ),
        pytest.param(
            "username,full_name\nada,\u201cA\u201d\nbob,\u2019B\n".encode(), [(2, C), (3, C)], id="typographic quotes"
        ),
        pytest.param(
            b"username,full_name\nada,Ren\xe9e\nbob,Bob\ncarl,Carl\xe9\n",
            [(2, "encoding_invalid"), (3, C), (4, "encoding_invalid")],
            id="Latin-1",
        ),
        pytest.param(b"username,email\nada,ada@example.org\nbob", [(2, C), (3, "columns_missing")], id="torn"),
        pytest.param(b'username,full_name\nada,A\nbob,"torn', [(2, C), (3, "quote_unclosed")], id="torn in quotes"),
        pytest.param(b"username,full_name\rada,A\rbob,B\r", [(2, C), (3, C)], id="carriage returns alone"),
        pytest.param(
            b"username,full_name\nada," + b"x" * 1_100_000 + b"\nbob,B\n",
            [(2, "row_too_long"), (3, C)],
            id="a megabyte",
        ),
        pytest.param(
            b"username,full_name\nada," + b"x" * 1_000_000 + b"\nbob,B\n", [(2, "value_too_long"), (3, C)], id="nearly"
        ),
        pytest.param(b"username,full_name\n", [], id="header only"),
        pytest.param(
            b"username,full_name\nada,A\0B\nbob,B\n\0\0\n",
            [(2, "text_unacceptable"), (3, C), (4, "columns_missing")],
            id="NUL",
        ),
        pytest.param(
            "username,\ufefffull_name\u200b\nada,A\n".encode(), [(2, C)], id="marks nobody sees in the header"
        ),
        pytest.param(
            b"username,full_name,,\nada,A,,\nbob,B\ncarl,C,,x\n",
            [(2, C), (3, "columns_missing"), (4, "columns_surplus")],
            id="trailing delimiters",
        ),
        pytest.param(b"\n\nusername\nada\n\n\nbob\n", [(4, C), (7, C)], id="empty lines"),
        pytest.param("username\nada\u200b\nbob\u00a0\n".encode(), [(2, "username_invalid"), (3, C)], id="odd spaces"),
    ],
)
async def test_every_row_is_told_and_the_good_ones_go_in(
    bring_in: BringIn, stored: Stored, data: bytes, expected: list[tuple[int, str]], *, dry_run: bool
) -> None:
    results = await bring_in(data, dry_run=dry_run)

    assert [(line, C if code == "valid" else code) for line, code in told(results)] == expected
    assert len(await stored()) == (0 if dry_run else sum(code == C for _, code in expected))


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "header_missing"),
        (b"\n \n", "header_missing"),
        ("username\nada\n".encode("utf-16"), "encoding_unsupported"),
        ("username\nada\n".encode("utf-16-le"), "encoding_unsupported"),
        (b"username,username\nada,bob\n", "column_repeated"),
        ("username,user\u200bname\nada,bob\n".encode(), "column_repeated"),
        (b"username,t\xe9l\xe9phone\nada,1\n", "header_missing"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "header_missing"),
        (b"PK\x03\x04\x14\x00\x06\x00\x08\x00\x00\x00!\x00", "header_missing"),
    ],
    ids=["empty", "blank", "UTF-16", "UTF-16 without mark", "twice", "twice unseen", "Latin-1 header", "PNG", "XLSX"],
)
async def test_what_is_no_file_of_rows_is_refused_whole(bring_in: BringIn, data: bytes, code: str) -> None:
    with pytest.raises(DenizenError) as refusal:
        await bring_in(data)

    assert refusal.value.code == code


def test_a_file_in_another_encoding_gets_one_hint(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_bytes(b"username,full_name\n" + "".join(f"u{n},Renée\n" for n in range(50)).encode("latin-1"))

    said = command("users", "import", str(path), "--report", str(tmp_path / "report.csv"))

    assert "encoding_invalid: 50" in said.out
    assert said.out.count("iconv -f WINDOWS-1252 -t UTF-8") == 1
    assert (tmp_path / "report.csv").read_text().count("encoding_invalid") == 50
