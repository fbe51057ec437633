"""The units of `deploy/systemd`, read by systemd's own programs."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from cli.stack.stack import ROOT
from tests.conftest import services_required

pytestmark = pytest.mark.deploy

UNITS = ROOT / "deploy" / "systemd"
COMMON = "cleanbook-.service.d/10-common.conf"
#: The most that any unit may be exposed, of 10 (systemd calls everything below 2 OK).
MOST_EXPOSED = 1.5
#: Each template with an instance, so that systemd can read it.
SERVICES = (
    "cleanbook-iterate@1.service",
    "cleanbook-cleanup@1.service",
    "cleanbook-feed@1.service",
    "cleanbook-guard@1.service",
    "cleanbook-web.service",
    "cleanbook-metrics.service",
    "cleanbook-alerts.service",
    "cleanbook-flower.service",
)


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("systemd-analyze") is None:
        if services_required():
            pytest.fail("CLEANBOOK_REQUIRE_SERVICES is set, but there is no systemd-analyze")
        pytest.skip("no systemd-analyze on PATH")
    return subprocess.run(
        ("systemd-analyze", "--no-pager", *arguments), capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A file system with our units installed as docs/operations.md says, and the system's own."""
    shutil.copytree(UNITS, tmp_path / "etc" / "systemd" / "system")
    system = Path("/usr/lib/systemd/system")
    if system.is_dir():
        shutil.copytree(system, tmp_path / "usr" / "lib" / "systemd" / "system", symlinks=True)
    program = tmp_path / "opt" / "cleanbook" / "deploy" / "bin"
    program.mkdir(parents=True)
    shutil.copy(ROOT / "deploy" / "bin" / "with-secrets", program)
    return tmp_path


def test_every_unit_has_a_name_here() -> None:
    found = {path.name for path in UNITS.glob("*.service")}
    assert found == {name.replace("@1", "@") for name in SERVICES}


def test_systemd_finds_nothing_wrong(root: Path) -> None:
    done = analyze("verify", f"--root={root}", "cleanbook.target", *SERVICES)
    # Only what is about ours: a copy of the system's own units may lack their programs.
    assert [line for line in done.stderr.splitlines() if "cleanbook" in line] == []


def test_systemd_would_notice(root: Path) -> None:
    path = root / "etc" / "systemd" / "system" / COMMON
    path.write_text(path.read_text().replace("KillMode=mixed", "KillMode=mixd"))
    assert "mixd" in analyze("verify", f"--root={root}", SERVICES[0]).stderr


@pytest.mark.parametrize("name", SERVICES)
def test_no_unit_may_do_more_than_it_needs(root: Path, name: str) -> None:
    done = analyze(
        "security", "--offline=yes", f"--root={root}", f"--threshold={int(MOST_EXPOSED * 10)}", name
    )
    found = re.search(r"exposure level for \S+: ([0-9.]+)", done.stdout)
    assert found, done.stdout + done.stderr
    assert float(found[1]) <= MOST_EXPOSED
    assert done.returncode == 0


def test_an_open_unit_would_be_noticed(root: Path) -> None:
    (root / "etc" / "systemd" / "system" / COMMON).unlink()
    done = analyze("security", "--offline=yes", f"--root={root}", "--threshold=15", SERVICES[0])
    assert done.returncode != 0


def test_workers_end_as_they_have_to() -> None:
    """Decision 0022: SIGTERM to the main process alone, and time to hand over."""
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(UNITS / COMMON)
    assert parser["Service"]["KillMode"] == "mixed"
    assert parser["Service"]["TimeoutStopSec"] == "20"
    for name in SERVICES:
        text = (UNITS / name.replace("@1", "@")).read_text()
        assert "TimeoutStopSec" not in text
        assert "KillMode" not in text


@pytest.mark.parametrize("name", SERVICES)
def test_no_unit_holds_a_secret_and_each_runs_what_there_is(name: str) -> None:
    text = (UNITS / name.replace("@1", "@")).read_text()
    assert not re.search(r"redis://|PASSWORD|_KEY=|_SECRET", text)
    command = re.search(r"^ExecStart=/opt/cleanbook/deploy/bin/with-secrets (.+)$", text, re.MULTILINE)
    assert command
    manage = re.search(r"manage\.py (\S+)", command[1])
    if manage:
        from cli.commands import COMMANDS

        assert manage[1] in COMMANDS
    else:
        serves = "-X cleanup" if "iterate" in name else "-Q cleanup"
        assert f"celery -A tasks worker {serves} " in command[1]
