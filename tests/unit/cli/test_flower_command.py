"""`manage.py flower` never runs without a password."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from cli.flower import PASSWORD_FILE, USER
from tests.unit.cli.command_line import Bench

#: Command line and environment with which Flower would run.
Started = list[tuple[tuple[str, ...], Mapping[str, str]]]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Started:
    """What was started, with nothing of Flower in the environment."""
    found: Started = []
    monkeypatch.setattr(os, "execve", lambda _, words, environ: found.append((words, environ)))
    monkeypatch.setenv("CLEANBOOK_RUN_DIR", str(tmp_path / "run"))
    for name in [name for name in os.environ if name.startswith("FLOWER_")]:
        monkeypatch.delenv(name)
    return found


def test_a_password_is_made_kept_and_shown_to_its_owner_alone(
    bench: Bench, started: Started, tmp_path: Path
) -> None:
    ran = bench.run("flower")
    bench.run("flower", "--port", "6000")
    path = tmp_path / "run" / PASSWORD_FILE
    password = path.read_text().strip()
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(password) >= 24
    assert [environ["FLOWER_BASIC_AUTH"] for _, environ in started] == [f"{USER}:{password}"] * 2
    assert "--address=127.0.0.1" in started[0][0]
    assert "--port=6000" in started[1][0]
    assert str(path) in ran.err
    assert password not in ran.err + ran.out + str(started[0][0])


@pytest.mark.parametrize("name", ["FLOWER_BASIC_AUTH", "FLOWER_AUTH"])
def test_the_users_own_credentials_are_taken(
    bench: Bench, started: Started, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "me:mine")
    assert bench.run("flower").code == 0
    ((_, environ),) = started
    assert environ[name] == "me:mine"
    assert not (tmp_path / "run" / PASSWORD_FILE).exists()


def test_an_empty_variable_is_no_password(
    bench: Bench, started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOWER_BASIC_AUTH", " ")
    bench.run("flower")
    assert started[0][1]["FLOWER_BASIC_AUTH"].startswith(f"{USER}:")


@pytest.mark.parametrize("value", ["1", "true", "Yes"])
def test_an_open_interface_is_refused(
    bench: Bench, started: Started, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("FLOWER_UNAUTHENTICATED_API", value)
    ran = bench.run("flower")
    assert (ran.code, started) == (2, [])
    assert "unset it" in ran.err


@pytest.mark.parametrize(("content", "mode"), [("x" * 24, 0o644), ("x" * 24, 0o660), ("\n", 0o600)])
def test_a_password_that_others_can_read_or_that_is_none_is_refused(
    bench: Bench, started: Started, tmp_path: Path, content: str, mode: int
) -> None:
    path = tmp_path / "run" / PASSWORD_FILE
    path.parent.mkdir()
    path.write_text(content)
    path.chmod(mode)
    ran = bench.run("flower")
    assert (ran.code, started) == (1, [])
    assert "remove it" in ran.err


def test_a_proxys_path_is_handed_on_without_its_slashes(bench: Bench, started: Started) -> None:
    assert bench.run("flower", "--url-prefix", "/see/flower/").code == 0
    ((words, _),) = started
    assert "--url-prefix=see/flower" in words
    assert "--read_only" not in words


@pytest.mark.parametrize("prefix", ["/", "a b", "a//b", "x?y", "a\nb", "--port=1"])
def test_what_is_no_path_is_refused(bench: Bench, started: Started, prefix: str) -> None:
    ran = bench.run("flower", f"--url-prefix={prefix}")
    assert (ran.code, started) == (2, [])
    assert "--url-prefix" in ran.err
