"""`logs`: the lines about one instance out of many files, also as they grow and are rotated."""

from __future__ import annotations

import io
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.log_files import Tail
from cli.log_lines import lines_about
from cli.logs import _Chosen, _follow
from cli.main import run
from cli.output import Output
from cli.stack.processes import ManagedProcess, ProcessSpec

T0 = "2026-03-01T10:00:0"


def said(second: int, event: str, *, instance: str = "a_01", level: str = "info", **more: object) -> str:
    line = {"timestamp": f"{T0}{second}.000000Z", "level": level, "event": event, "instance": instance}
    return json.dumps(line | more) + "\n"


@pytest.fixture
def log_dir(tmp_path: Path) -> Path:
    """The logs of `up` in this test's run directory."""
    found = tmp_path / "run" / "logs"
    found.mkdir(parents=True)
    return found


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    capsys.readouterr()
    assert run(["logs", "a_01", *arguments]) == 0
    return capsys.readouterr().out.splitlines()


def events(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    (text,) = told(capsys, "--json", *arguments)
    return [line["event"] for line in json.loads(text)["lines"]]


def test_lines_of_all_processes_are_in_order_of_time(
    log_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (log_dir / "iterate.log").write_text(said(1, "one") + said(3, "three") + said(2, "b", instance="a_011"))
    (log_dir / "feed.log").write_text("a banner about a_01\n" + said(2, "two") + '{"instance": "a_01"}\n')
    assert events(capsys) == ["one", "two", "three"]
    assert events(capsys, "--limit", "2") == ["two", "three"]
    assert told(capsys)[0].split() == ["2026-03-01T10:00:01.000", "info", "iterate", "one"]


def test_level_and_since_choose(log_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (log_dir / "iterate.log").write_text(
        said(1, "old", level="error") + said(3, "fine") + said(4, "bad", level="warning")
    )
    assert events(capsys, "--level", "warning") == ["old", "bad"]
    assert events(capsys, "--since", f"{T0}2") == ["fine", "bad"]


def test_columns_are_read_with_their_tracebacks() -> None:
    text = [
        f"{T0}1.5Z [error    ] it failed                      [runner] epoch=3 error='a b' instance=a_01",
        "Traceback (most recent call last):",
        "ZeroDivisionError: no",
        f"{T0}2.5Z [info     ] another                        [runner] instance=b_01",
        "not of a_01",
    ]
    (line,) = lines_about("a_01", text, source="iterate")
    assert (line.level, line.event, line.fields) == ("error", "it failed", {"epoch": "3", "error": "a b"})
    assert line.more == "Traceback (most recent call last):\nZeroDivisionError: no"


def test_a_traceback_in_json_stands_below_and_control_characters_do_nothing() -> None:
    (line,) = lines_about("a_01", [said(1, "e\x1b[2J", exception="Trace\nEnd", seq=7)], source="iterate")
    assert line.text().splitlines() == [
        "2026-03-01T10:00:01.000  info      iterate    e?[2J  seq=7",
        "Trace",
        "End",
    ]


def test_standard_input_can_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(said(1, "one") + "-- Boot 1234 --\n"))
    assert events(capsys, "--file", "-") == ["one"]


def test_where_there_are_no_logs_it_says_how_to_get_at_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["logs", "a_01"]) == 1
    assert (
        "journalctl -u 'cleanbook*' -o cat --since -1h | manage.py logs a_01 --file -"
        in capsys.readouterr().err
    )


def test_a_file_that_is_not_there_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["logs", "a_01", "--file", "/nowhere.log"]) == 2
    assert "/nowhere.log" in capsys.readouterr().err


def test_a_line_is_taken_once_its_end_is_written(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    tail = Tail(path=path)
    assert list(tail.lines()) == []
    path.write_text("one\ntw")
    assert list(tail.lines()) == ["one"]
    with path.open("a") as file:
        file.write("o\n")
    assert list(tail.lines()) == ["two"]


@pytest.mark.parametrize("way", ["renamed", "truncated"])
def test_a_rotated_file_is_followed(tmp_path: Path, way: str) -> None:
    path = tmp_path / "x.log"
    path.write_text("one\nhalf")
    tail = Tail(path=path)
    assert list(tail.lines()) == ["one"]
    if way == "renamed":
        path.rename(tmp_path / "x.log.1")
    else:
        os.truncate(path, 0)
    with path.open("a") as file:
        file.write("two\n")
    assert list(tail.lines()) == ["two"]


class _Ended(Exception):
    """Raised by a test instead of a pause, to end following."""


def test_following_shows_what_comes_and_files_that_are_new(
    log_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (log_dir / "iterate.log").write_text("")
    steps: list[Callable[[], object]] = [
        lambda: (log_dir / "iterate.log").write_text(said(2, "two") + said(1, "one")),
        lambda: (log_dir / "feed.log").write_text(said(3, "three")),
    ]

    class Pause:
        def wait(self, _: float) -> None:
            if not steps:
                raise _Ended
            steps.pop(0)()

    monkeypatch.setattr("cli.logs.threading.Event", Pause)
    with pytest.raises(_Ended):
        _follow(Output(as_json=True), _Chosen("a_01", since="", level="debug"), {}, log_dir.parent)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["process"], line["event"]) for line in lines] == [
        ("iterate", "one"),
        ("iterate", "two"),
        ("feed", "three"),
    ]


def test_a_process_goes_on_writing_into_a_log_that_was_truncated(tmp_path: Path) -> None:
    """What `copytruncate` of logrotate needs: no signal, and no hole in the file."""
    code = "import time\nwhile True: print('x' * 100, flush=True); time.sleep(0.01)"
    spec = ProcessSpec(name="p", command=(sys.executable, "-c", code), environ={}, cwd=tmp_path)
    process = ManagedProcess(spec, tmp_path)
    process.start()
    try:

        def grown_to(size: int) -> None:
            deadline_s = time.monotonic() + 20
            while not process.log_file.exists() or process.log_file.stat().st_size < size:
                assert time.monotonic() < deadline_s
                time.sleep(0.01)

        grown_to(1000)
        os.truncate(process.log_file, 0)
        grown_to(200)
        assert b"\0" not in process.log_file.read_bytes()
    finally:
        process.stop()
