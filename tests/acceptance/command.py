"""The command line as a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cli.stack.stack import ROOT

#: What a process needs to run at all; nothing of the developer's own set-up.
INHERITED = ("PATH", "HOME", "LANG", "TMPDIR")
#: Longer than any command here may take.
LONGEST_S = 120


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A command that has ended."""

    code: int
    out: str
    err: str
    took_s: float

    @property
    def json(self) -> dict[str, Any]:
        """Return what ``--json`` printed."""
        found: dict[str, Any] = json.loads(self.out)
        return found


@dataclass(frozen=True, kw_only=True)
class Command:
    """`python manage.py` in an environment of its own."""

    environ: Mapping[str, str] = field(repr=False)

    def __call__(self, *arguments: str, **more: str) -> Ended:
        """Run it to its end; `more` are further variables of its environment."""
        began_s = time.monotonic()
        ended = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env={**self.environ, **more},
            capture_output=True,
            text=True,
            timeout=LONGEST_S,
            check=False,
        )
        return Ended(
            code=ended.returncode, out=ended.stdout, err=ended.stderr, took_s=time.monotonic() - began_s
        )

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        """Run it beside the test."""
        return subprocess.Popen(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


def plain_environ() -> dict[str, str]:
    """Return the least environment."""
    return {name: os.environ[name] for name in INHERITED if name in os.environ}


def command_for(run_dir: Path, config_dir: Path, **more: str) -> Command:
    """Return a command that finds the stack running in `run_dir` by its stack file, as users' do."""
    return Command(
        environ=plain_environ()
        | {"CLEANBOOK_RUN_DIR": str(run_dir), "CLEANBOOK_CONFIG_DIR": str(config_dir)}
        | more
    )
