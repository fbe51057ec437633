"""The tools of the faults: a clock that is off, what is on the disk, messages that were never sent."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.acceptance.command import plain_environ
from tests.chaos import synced
from tests.chaos.server_faults import made_up_message

TELLS_TIME = """
import json, time
from datetime import UTC, datetime
now_s, utc_s = datetime.now(UTC).timestamp(), datetime.utcnow().timestamp()
print(json.dumps([time.time(), time.time_ns() / 1e9, now_s, utc_s, time.monotonic()]))
"""
WRITES = """
import os, sys
file = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
os.write(file, b"x" * 10)
os.fsync(file)
os.write(file, b"x" * 5)
os.fdatasync(file)
os.write(file, b"x" * 7)
"""


@pytest.mark.parametrize("offset_s", [-30, 30])
def test_a_program_with_a_wrong_clock_sees_the_wrong_time_everywhere(tmp_path: Path, offset_s: int) -> None:
    (tmp_path / "tells_time.py").write_text(TELLS_TIME, encoding="utf-8")
    script = Path(synced.__file__).with_name("skewed_clock.py")
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", str(script), str(offset_s), "-m", "tells_time"],
        cwd=tmp_path,
        env=plain_environ() | {"TZ": "UTC"},
        capture_output=True,
        text=True,
        check=True,
    )
    *times_s, monotonic_s = json.loads(ended.stdout)
    # Started and read before this: at most so much earlier, and never later.
    assert all(time.time() - 60 <= at_s - offset_s <= time.time() for at_s in times_s)
    assert monotonic_s <= time.monotonic()


def test_what_a_server_has_synced_is_known_to_the_byte(tmp_path: Path) -> None:
    environ = synced.preloaded(tmp_path)
    if not environ:
        pytest.skip("there is no C compiler on this machine")
    path = tmp_path / "file"
    subprocess.run([sys.executable, "-c", WRITES, str(path)], env=plain_environ() | environ, check=True)
    assert path.stat().st_size == 22
    assert synced.synced_size(tmp_path / synced.NOTES_FILE, path) == 15


def test_nothing_is_known_of_a_file_that_was_never_synced(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x")
    assert synced.synced_size(tmp_path / synced.NOTES_FILE, path) is None
    (tmp_path / synced.NOTES_FILE).write_text(f"{os.stat(path).st_ino + 1} 5\n", encoding="ascii")
    assert synced.synced_size(tmp_path / synced.NOTES_FILE, path) is None


def test_a_made_up_message_asks_for_what_it_should_at_once() -> None:
    body = base64.b64encode(json.dumps([["maker_1", 2, 7], {}, {"chain": None}]).encode()).decode()
    template = {
        "body": body,
        "headers": {"id": "a", "root_id": "a", "task": "tasks.iterate", "eta": "2030-01-01T00:00:00"},
        "properties": {"delivery_info": {"exchange": "", "routing_key": "iterate"}, "delivery_tag": "t"},
    }
    made = made_up_message(template, "cleanup", ["maker_1", 1])
    assert json.loads(base64.b64decode(made["body"])) == [["maker_1", 1], {}, {"chain": None}]
    assert (made["headers"]["task"], made["headers"]["eta"]) == ("tasks.cleanup", None)
    assert made["properties"]["delivery_info"]["routing_key"] == "cleanup"
    assert made["headers"]["id"] != template["headers"]["id"]  # type: ignore[index]
    assert template["headers"]["task"] == "tasks.iterate"  # type: ignore[index]
