"""An exchange of a bench's own, as a process beside the stack."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from cli.stack.processes import ManagedProcess, ProcessSpec
from cli.stack.stack import ROOT
from settings import environment

DEADLINE_S = 30.0


class NoVenue(RuntimeError):
    """Raised when the exchange does not start."""


@contextlib.contextmanager
def open_venue(script: str, folder: Path, *arguments: str) -> Iterator[tuple[ManagedProcess, str]]:
    """Start `bench/<script>` with its log in `folder`; yield it and its URL, and end it. Raises `NoVenue`."""
    port_file = folder / "venue.port"
    command = (sys.executable, str(ROOT / "bench" / script), "--port-file", str(port_file), *arguments)
    spec = ProcessSpec(name="venue", command=command, environ=dict(environment()), cwd=ROOT)
    venue = ManagedProcess(spec, folder / "venue")
    venue.start()
    try:
        deadline_s = time.monotonic() + DEADLINE_S
        while not port_file.exists():
            if time.monotonic() > deadline_s or not venue.is_alive:
                raise NoVenue(f"the exchange does not start:\n{venue.tail()}")
            time.sleep(0.02)
        yield venue, f"http://127.0.0.1:{port_file.read_text(encoding='utf-8')}"
    finally:
        venue.stop()
