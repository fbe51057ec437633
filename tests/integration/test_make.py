"""The Makefile on machines with other Pythons than this one: stubs that answer what it asks."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ("sh", "awk", "touch", "mkdir", "cat")

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make on this machine")

#: Says its version and makes environments; each argument that the Makefile uses is one case.
WORKING = """
case "$*" in
  *"version_info < (3, 11)"*) exit {too_old} ;;
  *"import ensurepip"*) exit {no_ensurepip} ;;
  *"-m venv"*) mkdir -p .venv/bin; cp "$0" .venv/bin/python; touch .venv/pyvenv.cfg ;;
  *"-m pip"*) ;;
  *"print("*) echo 3.12 ;;
  *) echo "Python of {name}" ;;
esac
"""


class Machine:
    """A checkout with nothing but Makefile and locks, and a PATH with nothing but some tools and stubs."""

    def __init__(self, directory: Path) -> None:
        self.checkout = directory / "checkout"
        self.checkout.mkdir()
        for name in ("Makefile", "requirements.lock", "requirements-dev.lock"):
            shutil.copy(ROOT / name, self.checkout / name)
        self.bin = directory / "bin"
        self.bin.mkdir()
        for name in (*TOOLS, "cp"):
            found = shutil.which(name)
            assert found, name
            (self.bin / name).symlink_to(found)

    def add(self, name: str, script: str) -> None:
        path = self.bin / name
        path.write_text(f"#!/bin/sh\n{script}")
        path.chmod(0o755)

    def add_python(self, name: str, *, too_old: bool = False, ensurepip: bool = True) -> None:
        self.add(name, WORKING.format(name=name, too_old=int(too_old), no_ensurepip=int(not ensurepip)))

    def make(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        make = shutil.which("make")
        assert make
        environ = {"PATH": str(self.bin), "HOME": os.environ.get("HOME", "/")}
        return subprocess.run(
            [make, *arguments], cwd=self.checkout, env=environ, capture_output=True, text=True, check=False
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_the_newest_python_that_runs_is_taken(machine: Machine) -> None:
    # Given a version manager's stub that is found and yet fails, an old one, and two that are fine
    machine.add("python3.14", "exit 127")
    machine.add_python("python3", too_old=True)
    machine.add_python("python3.12")
    machine.add_python("python3.11")
    done = machine.make("env")
    assert done.returncode == 0, done.stderr
    assert "Setting up .venv with Python of python3.12" in done.stdout


def test_a_python_without_ensurepip_is_passed_over_for_one_that_has_it(machine: Machine) -> None:
    machine.add_python("python3.13", ensurepip=False)
    machine.add_python("python3.11")
    done = machine.make("env")
    assert done.returncode == 0, done.stderr
    assert "with Python of python3.11" in done.stdout


def test_no_suitable_python_is_one_sentence(machine: Machine) -> None:
    machine.add_python("python3", too_old=True)
    done = machine.make("env")
    assert done.returncode != 0
    assert "Cleanbook needs Python 3.11 or newer, and none was found on PATH." in done.stderr
    assert not (machine.checkout / ".venv").exists()


def test_a_missing_venv_package_is_named(machine: Machine) -> None:
    machine.add_python("python3", ensurepip=False)
    done = machine.make("env")
    assert done.returncode != 0
    assert "sudo apt install python3.12-venv" in done.stderr
    assert not (machine.checkout / ".venv").exists()


def test_the_set_up_is_done_once_and_again_when_the_lock_changes(machine: Machine) -> None:
    machine.add_python("python3.11")
    assert "Installing from requirements.lock" in machine.make("env").stdout
    assert "Installing" not in machine.make("env").stdout
    lock = machine.checkout / "requirements.lock"
    later_s = (machine.checkout / ".venv" / ".stamp-run").stat().st_mtime + 10
    os.utime(lock, (later_s, later_s))
    done = machine.make("env")
    assert "Installing from requirements.lock" in done.stdout
    assert "Setting up" not in done.stdout


def test_help_lists_every_target_and_is_the_default(machine: Machine) -> None:
    text = machine.make().stdout
    assert text == machine.make("help").stdout
    for target in ("env", "demo", "test", "lint", "types", "check", "lock", "clean"):
        assert f"make {target} " in text
