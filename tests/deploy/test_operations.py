"""Commands of docs/operations.md, as far as they can be run here."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from cli.commands import COMMANDS
from cli.stack.stack import ROOT
from ledger.database import open_ledger
from ledger.queries import runs

pytestmark = pytest.mark.deploy

PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")


def test_the_ledger_is_copied_while_it_is_open(tmp_path: Path) -> None:
    (line,) = [line for line in PAGE.splitlines() if line.startswith("python -c ")]
    old, new = tmp_path / "ledger.sqlite", tmp_path / "copy.sqlite"
    line = line.replace("/var/lib/cleanbook/ledger.sqlite", str(old))
    line = line.replace("ledger-$(date +%F).sqlite", str(new))
    with open_ledger(f"sqlite:///{old}"):
        program, *arguments = shlex.split(line)
        assert program == "python"
        subprocess.run((sys.executable, *arguments), check=True, timeout=30)
    with open_ledger(f"sqlite:///{new}") as ledger:
        assert list(runs(ledger, "nobody", limit=1)) == []


def test_every_unit_and_command_that_it_names_is_there() -> None:
    units = {path.name for path in (ROOT / "deploy" / "systemd").iterdir()}
    for name in re.findall(r"\bcleanbook-([a-z]+)(@?)\d?(?=[\s;`,)])", PAGE):
        assert f"cleanbook-{name[0]}{name[1]}.service" in units, name
    for name in re.findall(r"manage\.py ([a-z-]+)", PAGE):
        assert name in COMMANDS
