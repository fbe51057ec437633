"""A main process whose shutdown hangs ends all the same, with its children; not before it was asked to."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tasks.last_resort import EXIT_CODE
from tests.acceptance.world import eventually, holds_for

#: A main process that notes SIGTERM and never ends by itself, with a child that ignores it.
HANGS = """
import signal, subprocess, sys, time
from tasks.last_resort import LastResort

last_resort = LastResort(after_s=float(sys.argv[1]))
signal.signal(signal.SIGTERM, lambda *_: last_resort.shutdown_asked())
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
while True:
    time.sleep(600)
"""


@contextmanager
def hanging(after_s: float) -> Iterator[tuple[subprocess.Popen[str], psutil.Process]]:
    """Run one; yield it and its child, and leave neither."""
    main = subprocess.Popen(
        [sys.executable, "-c", HANGS, str(after_s)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert main.stdout is not None
    child = psutil.Process(int(main.stdout.readline()))
    try:
        yield main, child
    finally:
        main.kill()
        main.wait()
        main.stdout.close()
        if child.is_running():
            child.kill()


@pytest.mark.parametrize("signals", [1, 5])
def test_what_hangs_is_killed_with_its_children(signals: int) -> None:
    with hanging(0.3) as (main, child):
        for _ in range(signals):
            main.send_signal(signal.SIGTERM)
        assert eventually(lambda: main.poll(), what="its end") == EXIT_CODE
        eventually(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, what="its child")


def test_who_was_not_asked_lives_on() -> None:
    with hanging(0.1) as (main, _):
        holds_for(lambda: main.poll() is None, 1.0, what="a worker that nobody ended")
