"""`denizen users import | export` as people run them."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks import real_people
from tests.cli.conftest import Command, Run
from tests.transfer.conftest import HASH

GOOD = "username,email\nada,ada@example.org\ngrace,grace@example.org\n"


@pytest.fixture
def good(tmp_path: Path) -> str:
    path = tmp_path / "people.csv"
    path.write_text(GOOD, encoding="utf-8")
    return str(path)


def test_a_good_file_ends_with_0_and_a_summary(command: Command, good: str) -> None:
    said = command("users", "import", good)

    assert said.code == 0
    assert "2 rows: 2 created, 0 refused" in said.out
    assert "Importing: 2 rows" in said.err
    assert [row["username"] for row in command("users", "list", "--json").rows] == ["ada", "grace"]


@pytest.mark.slow
def test_a_file_may_have_any_name(denizen: Run, command: Command, database_url: str, tmp_path: Path) -> None:
    """One that Latin-1 was the encoding of, say: the database and the terminal are shown what can be shown of it."""
    name = os.fsencode(tmp_path) + b"/l\xe9ute.csv"
    with open(name, "w") as file:  # noqa: PTH123  (a Path is text)
        file.write(GOOD + "".join(f"u{n},nowhere\n" for n in range(20)))
    settings = {"DATABASE_URL": database_url, "SECRET_KEY": "kX7v2Qm9Lp4Zr8Tn3Wc6Yb1Hd5Gf0SaJe"}

    said = denizen("users", "import", os.fsdecode(name), "--report", os.fsdecode(name + b".ndjson"), **settings)

    assert said.returncode == 1, said.stderr
    assert "22 rows: 2 created, 20 refused" in said.stdout
    assert "l\ufffdute.csv.ndjson" in said.stdout
    (job,) = command("jobs", "list", "--json").rows
    assert job["source"].endswith("/l\ufffdute.csv")


def test_refused_rows_end_with_1_and_are_counted_by_code(command: Command, good: str) -> None:
    command("users", "import", good)
    with Path(good).open("a") as file:
        file.write("new,nowhere\nlinus,linus@example.org\n")

    said = command("users", "import", good)

    assert said.code == 1
    assert "4 rows: 1 created, 3 refused" in said.out
    assert "email_taken: 2" in said.out
    assert "email_invalid: 1" in said.out
    assert "line 2: Email already registered (email_taken)" in said.out


def test_a_summary_for_programs(command: Command, good: str) -> None:
    command("users", "import", good)

    said = command("users", "import", good, "--json")

    (summary,) = said.rows
    assert (summary["rows"], summary["created"], summary["refused"]) == (2, 0, 2)
    assert summary["codes"] == {"email_taken": 2}
    assert summary["problems"][0]["line"] == 2
    assert said.code == 1
    assert said.err == ""  # where a program looks for a problem, as JSON


def test_a_dry_run_writes_nothing(command: Command, good: str) -> None:
    said = command("users", "import", good, "--dry-run")

    assert said.code == 0
    assert "2 valid" in said.out
    assert command("users", "list", "--json").rows == []


@pytest.mark.parametrize("name", ["report.csv", "report.ndjson"])
def test_the_report_tells_of_every_row(command: Command, good: str, tmp_path: Path, name: str) -> None:
    command("users", "import", good)
    with Path(good).open("a") as file:
        file.write("linus,\n")

    command("users", "import", good, "--report", str(tmp_path / name))

    lines = (tmp_path / name).read_text().splitlines()
    if name.endswith("csv"):
        assert lines[0] == "line,outcome,id,code,field,message"
        assert lines[1] == "2,refused,,email_taken,email,Email already registered"
        assert lines[3].startswith("4,created,")
    else:
        first, *_, last = [json.loads(line) for line in lines]
        assert first["code"] == "email_taken"
        assert (last["line"], last["outcome"]) == (4, "created")


@pytest.mark.parametrize(
    "arguments",
    [
        ("missing.csv",),
        (".",),
        ("people.csv", "--report", "report.txt"),
        ("people.csv", "--report", "people.csv"),
        ("people.csv", "--batch", "0"),
        ("people.csv", "--format", "xlsx"),
        ("people.csv", "--mode", "replace"),
        ("people.csv", "--match", "id"),
        ("people.csv", "--resume", "--dry-run"),
        (),
    ],
)
def test_wrong_usage_ends_with_2(command: Command, good: str, arguments: tuple[str, ...]) -> None:
    assert command("users", "import", *arguments).code == 2
    assert Path(good).read_text() == GOOD


def test_a_file_that_is_refused_ends_with_1_and_says_why(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text("email,phone\nada@example.org,1\n")

    problem = command("users", "import", str(path), "--json").problem

    assert problem["code"] == "column_unknown"
    assert "--ignore-unknown" in problem["detail"]
    assert command("users", "import", str(path), "--ignore-unknown").code == 0


@pytest.mark.parametrize("data", [GOOD, '{"username":"ada"}\n{"username":"grace"}\n'])
def test_standard_input_says_by_itself_what_it_is(command: Command, data: str) -> None:
    assert command("users", "import", "-", stdin=data).code == 0
    assert [row["username"] for row in command("users", "list", "--json").rows] == ["ada", "grace"]


def test_an_export_is_a_file_that_imports(command: Command, good: str, tmp_path: Path) -> None:
    command("users", "import", good)
    there = tmp_path / "out.ndjson"

    assert command("users", "export", "--output", str(there)).code == 0

    rows = [json.loads(line) for line in there.read_text().splitlines()]
    assert rows == command("users", "list", "--json").rows
    assert command("users", "import", str(there), "--json").rows[0]["codes"] == {"email_taken": 2}
    assert command("users", "export", "--active", "--format", "csv").out.count("\n") == 3
    assert command("users", "export", "--inactive").out == ""


def test_an_export_with_hashes_is_for_its_owner_alone(command: Command, tmp_path: Path) -> None:
    (tmp_path / "in.ndjson").write_text(json.dumps({"username": "ada", "hashed_password": HASH}) + "\n")
    command("users", "import", str(tmp_path / "in.ndjson"))
    plain, secret = tmp_path / "plain.csv", tmp_path / "secret.csv"

    command("users", "export", "-o", str(plain))
    command("users", "export", "-o", str(secret), "--with-hashes")

    assert HASH not in plain.read_text()
    assert HASH in secret.read_text()
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert stat.S_IMODE(plain.stat().st_mode) == 0o666 & ~_umask()
    assert sorted(path.name for path in tmp_path.glob("*.csv")) == ["plain.csv", "secret.csv"]


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_an_export_that_fails_leaves_the_old_file(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = tmp_path / "out.csv"
    there.write_text("old")
    monkeypatch.setenv("DENIZEN_DATABASE_URL", f"sqlite:///{tmp_path}/none.db")

    assert command("users", "export", "-o", str(there)).code == 1
    assert there.read_text() == "old"


@pytest.mark.slow
def test_real_people_go_in_once(command: Command, tmp_path: Path) -> None:
    found = real_people.find_people()
    if not found:
        pytest.skip("this machine has no package lists")
    path = tmp_path / "people.csv"
    real_people.write(real_people.build(found, as_found=False), path)

    first = command("users", "import", str(path), "--json").row
    second = command("users", "import", str(path), "--json").rows[0]

    assert first["created"] == first["rows"] > 1000
    assert second["codes"] == {"email_taken": first["rows"]}


# -- as processes ----


def _write_people(path: Path, count: int) -> None:
    with path.open("w") as file:
        file.write("username,email,full_name,external_id\n")
        file.writelines(f"user{n},user{n}@example.org,User {n},x{n}\n" for n in range(count))


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_kill_leaves_whole_batches_and_another_run_brings_in_the_rest(
    denizen: Run, environment: dict[str, str], sqlite_template: Path, tmp_path: Path
) -> None:
    database, people, report = tmp_path / "denizen.db", tmp_path / "people.csv", tmp_path / "report.ndjson"
    database.write_bytes(sqlite_template.read_bytes())
    _write_people(people, 20_000)
    command = [
        sys.executable,
        "-m",
        "denizen",
        "users",
        "import",
        str(people),
        "--batch",
        "1000",
        "--report",
        str(report),
    ]

    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not (report.exists() and report.stat().st_size):
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)

    with sqlite3.connect(database) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        stored = {row[0] for row in connection.execute("SELECT username FROM denizen_users")}
        told = [json.loads(line) for line in report.read_text().splitlines() if line.endswith("}")]
    assert 0 < len(stored) < 20_000
    assert stored == {f"user{n}" for n in range(len(stored))}  # a beginning of the file, without holes
    assert len(told) <= len(stored)  # nothing was said to be in that is not

    rest = denizen("users", "import", str(people), "--json")

    summary = json.loads(rest.stdout)
    assert summary["created"] == 20_000 - len(stored)
    assert summary["codes"] == {"email_taken": len(stored)}


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("count", [300_000])
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells")
def test_memory_stays_under_150_mb(tmp_path: Path, environment: dict[str, str], database_url: str, count: int) -> None:
    people = tmp_path / "people.csv"
    _write_people(people, count)
    # Not `ru_maxrss`: that of a child begins with what its parent, here the test run, has.
    script = (
        "import sys; from denizen.cli import main; sys.argv = ['denizen', *sys.argv[1:]]\n"
        "try: main()\n"
        "finally: print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0], file=sys.stderr)"
    )
    settings = {"DENIZEN_DATABASE_URL": database_url, "DENIZEN_SECRET_KEY": "kX7v2Qm9Lp4Zr8Tn3Wc6Yb1Hd5Gf0SaJe"}
    for arguments in (("import", str(people)), ("export", "-o", str(tmp_path / "out.csv"))):
        done = subprocess.run(
            [sys.executable, "-c", script, "users", *arguments],
            cwd=tmp_path,
            env=environment | settings,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        kilobytes = int(done.stderr.split()[-1])
        assert kilobytes < 150 * 1024, f"{kilobytes / 1024:.0f} MB"


@pytest.mark.slow
def test_a_pipe_is_read_as_it_comes(denizen: Run, sqlite_template: Path, tmp_path: Path) -> None:
    (tmp_path / "denizen.db").write_bytes(sqlite_template.read_bytes())

    done = denizen("users", "import", "-", stdin=GOOD)

    assert done.returncode == 0, done.stderr
    assert "2 created" in done.stdout
    again = denizen("users", "export")
    assert [json.loads(line)["username"] for line in again.stdout.splitlines()] == ["ada", "grace"]
