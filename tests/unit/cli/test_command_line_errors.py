"""What goes wrong ends in one clear line and the right exit code."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.commands import COMMANDS
from cli.main import run
from cli.stack.valkey import ValkeyServer
from tests.support import closed_port
from tests.unit.cli.command_line import Bench

ROOT = Path(__file__).parents[3]


@pytest.fixture
def nobody_there() -> Iterator[str]:
    """The address of no server."""
    with closed_port() as port:
        yield f"redis://127.0.0.1:{port}/0"


@pytest.mark.parametrize("command", [("stop", "x"), ("start", "x"), ("status",), ("list",), ("cleanup", "x")])
def test_an_unreachable_server_is_one_line_and_exit_4(
    command: tuple[str, ...],
    nobody_there: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("BROKER_URL", nobody_there)

    assert run(command) == 4
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert "cannot be reached" in captured.err
    assert "BROKER_URL" in captured.err


def test_a_wrong_password_is_said_and_not_shown(
    bench: Bench, valkey_server: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = re.sub(r"//:[^@]*@", "//:wrong-hunter2@", valkey_server.url)
    monkeypatch.setenv("BROKER_URL", wrong)

    ran = bench.run("stop", "x")

    assert ran.code == 4
    assert "refuses the password" in ran.err
    assert "hunter2" not in ran.err
    assert "Traceback" not in ran.err


def test_an_error_with_json_is_one_object_too(
    nobody_there: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BROKER_URL", nobody_there)

    assert run(["stop", "x", "--json"]) == 4
    found = json.loads(capsys.readouterr().out)
    assert found["exit_code"] == 4
    assert "cannot be reached" in found["error"]


def test_debug_shows_the_traceback(
    nobody_there: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BROKER_URL", nobody_there)

    assert run(["stop", "x", "--debug"]) == 4
    assert "Traceback" in capsys.readouterr().err


def test_a_misspelt_setting_is_bad_usage(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CLEANBOOK_LEAS_MS", "1")

    assert run(["stop", "x"]) == 2
    assert "did you mean CLEANBOOK_LEASE_MS?" in capsys.readouterr().err


def test_a_misspelt_command_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["stpo", "x"]) == 2
    assert "no command 'stpo'; did you mean 'stop'?" in capsys.readouterr().err


def test_the_beginning_of_a_command_names_that_one_and_no_other_that_looks_alike(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["stat"]) == 2
    assert "did you mean 'status'?" in capsys.readouterr().err


def test_the_version_is_that_of_the_folder_or_as_installed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"cleanbook {project['version']}\n"
    monkeypatch.setattr("cli.version.PROJECT_FILE", ROOT / "no such file")
    monkeypatch.setattr("importlib.metadata.version", lambda name: f"9 of {name}")
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == "cleanbook 9 of cleanbook\n"


def test_no_command_shows_the_help_and_is_bad_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 2
    assert "Exit codes:" in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example_and_the_exit_codes(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([command, "--help"]) == 0
    told = capsys.readouterr().out
    assert f"manage.py {command}" in told
    assert "4  state server, broker, exchange or ledger not reachable" in told


def test_a_stop_imports_neither_celery_nor_what_talks_to_exchanges(nobody_there: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-X", "importtime", "manage.py", "stop", "x"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "BROKER_URL": nobody_there},
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 4
    imported = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in ended.stderr.splitlines()}
    assert "redis" in imported
    assert not imported & {"celery", "kombu", "billiard", "requests", "urllib3", "rich", "structlog"}


def test_manage_py_goes_on_in_its_own_environment(tmp_path: Path) -> None:
    (tmp_path / "manage.py").write_text((ROOT / "manage.py").read_text())
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "own python: $*"\n')
    python.chmod(0o755)
    outside = Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}"

    ended = subprocess.run(
        [str(outside), "manage.py", "stop", "a b"], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert ended.stdout == f"own python: {tmp_path / 'manage.py'} stop a b\n" or (
        ended.stdout == "own python: manage.py stop a b\n"
    )
