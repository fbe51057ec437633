"""docs/walkthrough.md, typed line by line into real shells, from a clone and an environment of its own on."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cli.stack.stack import ROOT

pytestmark = [pytest.mark.acceptance, pytest.mark.slow, pytest.mark.timeout(900)]

PAGE = ROOT / "docs" / "walkthrough.md"
STEP = re.compile(
    r"<!-- terminal: (?P<terminal>\w+)(; (?P<again>again )?until: (?P<until>.+?))? -->"
    r"(\n```sh\n(?P<lines>.*?)\n```)?",
    re.DOTALL,
)
#: To set up an environment takes the longest.
LONGEST_S = 300


@dataclass(frozen=True, kw_only=True)
class Step:
    """What to type into which terminal, and what it shows then."""

    terminal: str
    lines: str
    until: str | None
    again: bool


class Terminal:
    """A shell that is typed into; what it prints is kept."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        # Of this machine: where packages come from, and nothing of the developer's own set-up.
        wanted = ("PATH", "HOME", "LANG", "PIP_", "SSL_", "REQUESTS_")
        environ = {key: value for key, value in os.environ.items() if key.startswith(wanted)}
        self._process = subprocess.Popen(
            ["bash"],
            cwd=folder,
            env={**environ, "REPOSITORY": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._shown: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._count = 0

    def type(self, lines: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(lines + "\n")
        self._process.stdin.flush()

    def wait(self, pattern: str, since: int = 0) -> None:
        deadline_s = time.monotonic() + LONGEST_S
        while not re.search(pattern, self.shown(since)):
            assert self._process.poll() is None, f"{self.name} has ended:\n{self.shown()}"
            assert time.monotonic() < deadline_s, f"{self.name} never showed {pattern!r}:\n{self.shown()}"
            time.sleep(0.05)

    def run(self, lines: str) -> str:
        """Type `lines`, wait until all are done, return what they printed; none may fail."""
        self._count += 1
        before = len(self.shown())
        self.type(f"set -e\n{lines}\nset +e\necho done {self._count}")
        self.wait(rf"(?m)^done {self._count}$", before)
        return self.shown(before)

    def shown(self, since: int = 0) -> str:
        return "".join(self._shown)[since:]

    def end(self) -> None:
        """Press Ctrl-C in what runs, and close the shell."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGINT)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait(60)
        self._reader.join()
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._shown.append(line)


@pytest.fixture
def terminals(tmp_path: Path) -> Iterator[dict[str, Terminal]]:
    found = {name: Terminal(tmp_path, name) for name in ("work", "phone", "stack")}
    yield found
    for terminal in reversed(found.values()):
        terminal.end()


def steps() -> list[Step]:
    return [
        Step(
            terminal=each["terminal"],
            lines=each["lines"] or "",
            until=each["until"],
            again=bool(each["again"]),
        )
        for each in STEP.finditer(PAGE.read_text())
    ]


def test_every_block_of_the_page_is_a_step() -> None:
    assert PAGE.read_text().count("```sh") == sum(bool(each.lines) for each in steps())


def test_the_page_leads_from_nothing_to_an_alert(terminals: dict[str, Terminal]) -> None:
    for step in steps():
        if step.terminal == "root":
            continue  # packages of the system: they are there where this test runs
        terminal = terminals[step.terminal]
        if step.until is None:
            terminal.run(step.lines)
        elif step.again:
            deadline_s = time.monotonic() + LONGEST_S
            while not re.search(step.until, terminal.run(step.lines)):
                assert time.monotonic() < deadline_s, terminal.shown()
        else:
            terminal.type(step.lines)
            terminal.wait(re.escape(step.until))
    assert "sent" in terminals["work"].shown()
    assert "clean" in terminals["work"].shown()
