"""`manage.py metrics`: a password that is kept, loopback, and errors that say what to do."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from cli.metrics import PASSWORD_FILE
from state import keys
from tests.unit.cli.command_line import Bench


def test_numbers_are_printed_without_a_server(bench: Bench) -> None:
    ran = bench.run("metrics", "--once")
    assert ran.code == 0
    assert "cleanbook_state_up 1.0" in ran.out
    assert ran.err == ""


def test_no_password_is_for_loopback_only(bench: Bench) -> None:
    ran = bench.run("metrics", "--no-password", "--address", "0.0.0.0")
    assert ran.code == 2
    assert "loopback" in ran.err


def test_a_port_that_is_taken_is_told(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEANBOOK_RUN_DIR", str(tmp_path / "run"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ran = bench.run("metrics", "--port", str(taken.getsockname()[1]))
    assert ran.code == 1
    assert "choose another with --port" in ran.err
    assert (tmp_path / "run" / PASSWORD_FILE).stat().st_mode & 0o777 == 0o600


def test_bytes_that_are_no_text_hide_no_other_instance(bench: Bench) -> None:
    for name, phase in (("broken_01", b"\xff\xfe"), ("whole_01", b"running")):
        bench.client.hset(keys.record(name), mapping={"phase": phase, "last_error": b"\xff"})
        bench.client.sadd(keys.INSTANCES, name)
    ran = bench.run("metrics", "--once")
    assert ran.code == 0
    assert 'cleanbook_instance_phase{instance_id="whole_01",phase="running"} 1.0' in ran.out
    assert 'cleanbook_instance_phase{instance_id="broken_01",phase="damaged"} 1.0' in ran.out
