#!/usr/bin/env python3
"""Look the locked packages up in a list of known vulnerabilities: `make audit`.

Ends with 1 for a vulnerability that `audit-ignored.toml` does not excuse. A list that cannot be reached is
said aloud and ends with 0, or with 1 under ``--strict``, for machines that have the internet.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
#: Holds the packages of the run lock, too, at the same versions.
LOCK = ROOT / "requirements-dev.lock"
IGNORED_FILE = Path(__file__).with_name("audit-ignored.toml")
LONGEST_S = 300


@dataclass(frozen=True, kw_only=True)
class Ignored:
    """A vulnerability that does not concern us, for a reason and for a while."""

    id: str
    package: str
    reason: str
    #: The last day on which it is excused.
    until: date

    def __post_init__(self) -> None:
        """Refuse an excuse without a reason."""
        if len(self.reason.strip()) < 20 or not isinstance(self.until, date):
            raise ValueError(f"{self.id}: it takes a reason of some words and a date `until`")


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What came of it."""

    lines: tuple[str, ...]
    #: False: nothing could be looked up, so nothing is known.
    audited: bool
    found: bool

    def exit_code(self, *, strict: bool) -> int:
        """Return 1 for what must not pass."""
        return int(self.found or (strict and not self.audited))


def main(arguments: Sequence[str]) -> int:
    """Run pip-audit and judge its report."""
    report, said = run_pip_audit()
    verdict = judge(report, read_ignored(IGNORED_FILE), datetime.fromtimestamp(time.time(), UTC).date())
    sys.stdout.write("".join(f"{line}\n" for line in verdict.lines))
    if report is None and said.strip():
        sys.stdout.write(f"  {said.strip().splitlines()[-1][:200]}\n")
    return verdict.exit_code(strict="--strict" in arguments)


def run_pip_audit() -> tuple[dict[str, Any] | None, str]:
    """Return its report, None where it made none, and what it said."""
    command = [sys.executable, "-m", "pip_audit", "-r", str(LOCK), "--require-hashes", "--disable-pip"]
    try:
        ended = subprocess.run(
            [*command, "--progress-spinner", "off", "--format", "json"],
            capture_output=True,
            text=True,
            timeout=LONGEST_S,
            check=False,
        )
        return json.loads(ended.stdout), ended.stderr
    except subprocess.TimeoutExpired:
        return None, f"no answer within {LONGEST_S} s"
    except ValueError:
        return None, ended.stderr


def read_ignored(path: Path) -> tuple[Ignored, ...]:
    """Return what is excused. Raises `ValueError` or `TypeError` for an entry that is not complete."""
    return tuple(Ignored(**entry) for entry in tomllib.loads(path.read_text()).get("ignored", ()))


def judge(report: dict[str, Any] | None, ignored: Sequence[Ignored], today: date) -> Verdict:
    """Say what the report means."""
    packages = (report or {}).get("dependencies", [])
    audited = [package for package in packages if "skip_reason" not in package]
    if not audited:
        line = (
            "NOT AUDITED: no list of known vulnerabilities can be reached from here; "
            "run `make audit` where there is one"
        )
        return Verdict(lines=(line,), audited=False, found=False)
    lines, found = [], False
    for package in audited:
        for vulnerability in package["vulns"]:
            names = {vulnerability["id"], *vulnerability.get("aliases", ())}
            excuse = next(
                (each for each in ignored if each.id in names and each.package == package["name"]), None
            )
            where = f"{package['name']} {package['version']}: {vulnerability['id']}"
            if excuse is not None and today <= excuse.until:
                lines.append(f"ignored until {excuse.until}: {where} ({excuse.reason})")
                continue
            found = True
            fixed = ", ".join(vulnerability.get("fix_versions", ())) or "no version yet"
            lines.append(f"VULNERABLE {where}, fixed in {fixed}")
    skipped = len(packages) - len(audited)
    lines.append(f"{len(audited)} packages looked up{f', {skipped} unknown there' if skipped else ''}")
    return Verdict(lines=tuple(lines), audited=True, found=found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
