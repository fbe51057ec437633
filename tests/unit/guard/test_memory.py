"""The file that the guard acts from when the state server is gone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from guard.memory import Memory, Remembered
from tests.factories import ACCOUNT
from tests.unit.guard.guard_bench import NAME, WATCHED

URL = "redis://:a-password@127.0.0.1:7001/0"
REMEMBERED = Remembered(instances={NAME: WATCHED}, proven={ACCOUNT: "abc"}, stops_owed={NAME: 1})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "guard.json"


def test_what_was_saved_is_read_by_another_process(path: Path) -> None:
    Memory(path, URL).save(REMEMBERED)
    assert Memory(path, URL).load() == REMEMBERED
    assert path.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["guard.json"]


def test_it_holds_no_password(path: Path) -> None:
    Memory(path, URL).save(REMEMBERED)
    assert "a-password" not in path.read_text()


def test_a_password_that_has_changed_makes_it_no_other_server(path: Path) -> None:
    Memory(path, URL).save(REMEMBERED)
    assert Memory(path, URL.replace("a-password", "another")).load() == REMEMBERED


def test_another_servers_instances_are_not_ours(path: Path) -> None:
    Memory(path, URL).save(REMEMBERED)
    assert Memory(path, URL.replace("7001", "7002")).load() == Remembered()


def test_a_missing_or_damaged_file_is_no_reason_not_to_start(path: Path) -> None:
    assert Memory(path, URL).load() == Remembered()
    path.parent.mkdir()
    for text in ("", "[]", '{"version": 1}', '{"version": 99}', "\\x00"):
        path.write_text(text)
        assert Memory(path, URL).load() == Remembered()


def test_a_file_that_others_may_write_is_not_trusted(path: Path) -> None:
    Memory(path, URL).save(REMEMBERED)
    path.chmod(0o622)
    assert Memory(path, URL).load() == Remembered()


def test_it_is_written_only_when_something_has_changed(path: Path) -> None:
    memory = Memory(path, URL)
    memory.save(REMEMBERED)
    path.unlink()
    memory.save(REMEMBERED)
    assert not path.exists()
    memory.save(Remembered())
    assert json.loads(path.read_text())["instances"] == {}


def test_a_disk_that_takes_nothing_does_not_end_the_guard(path: Path) -> None:
    path.parent.parent.joinpath("run").write_text("a file where the folder should be")
    memory = Memory(path, URL)
    memory.save(REMEMBERED)
    path.parent.unlink()
    memory.save(REMEMBERED)
    assert memory.load() == REMEMBERED
