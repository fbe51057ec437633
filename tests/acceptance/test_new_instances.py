"""From nothing to a running instance: `new`, `start`, and what a shell completes on the way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cli.stack.stack import ROOT
from tests.acceptance.command import Command
from tests.acceptance.world import World

pytestmark = pytest.mark.acceptance

DONE, BAD_USAGE = 0, 2
TEMPLATE = ROOT / "config" / "templates" / "market_maker_spot.json"


def test_a_new_instance_is_sized_written_and_starts(world: World, manage: Command) -> None:
    name = "new_01"
    arguments = (
        "new",
        name,
        "--template",
        "market_maker_spot",
        "--set",
        "quantity=0.1",
        "--set",
        "interval=1",
    )
    dry = manage(*arguments, "--dry-run", "--yes", "--json")
    assert dry.code == DONE, dry.err
    sized = dry.json["sizing"]
    assert sized["tick_size"] == "0.01"
    assert {each["asset"] for each in sized["needs"]} == {"SOL", "USDC"}
    assert not dry.json["written"]
    path = world.config_dir / f"{name}.json"
    assert not path.exists()
    made = manage(*arguments, "--yes")
    assert made.code == DONE, made.err
    assert "worst case" in made.out
    assert "breaks even at" in made.out
    assert json.loads(path.read_text())["strategy_config"]["quantity"] == 0.1
    world.started.append(name)
    assert manage("start", name).code == DONE
    world.wait_for_orders(name, 2)
    # It is not written over
    assert manage(*arguments, "--yes").code == BAD_USAGE


def test_at_a_terminal_it_asks_and_shows_what_the_answers_come_to(world: World, manage: Command) -> None:
    ours, theirs = os.openpty()
    # The template, then Enter for what stands in brackets, and once for "Good so?"
    os.write(ours, b"market_maker_spot\n" + b"\n" * 30)
    ran = subprocess.run(
        [sys.executable, "manage.py", "new", "asked_01"],
        cwd=ROOT,
        env=dict(manage.environ),
        stdin=theirs,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    for end in (ours, theirs):
        os.close(end)
    assert ran.returncode == DONE, ran.stderr
    assert "spread [" in ran.stderr
    layout = json.loads((world.config_dir / "asked_01.json").read_text())
    assert layout["metadata"]["instance_id"] == "asked_01"
    assert layout["strategy_config"] == json.loads(TEMPLATE.read_text())["strategy_config"]


def test_a_file_that_is_wrong_is_not_written(world: World, manage: Command) -> None:
    for value in ("spread=-1", "quantity=0.0001", "no_such_key=1"):
        ran = manage("new", "wrong_01", "--template", "market_maker_spot", "--set", value, "--yes")
        assert ran.code == BAD_USAGE, ran.out
        assert value.partition("=")[0] in ran.out + ran.err
        assert not (world.config_dir / "wrong_01.json").exists()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_is_for_its_shell(manage: Command, shell: str) -> None:
    ran = manage("completion", shell)
    assert ran.code == DONE, ran.err
    assert "_MANAGE_PY_COMPLETE" in ran.out


def test_instance_names_are_completed_without_a_server(tmp_path: Path) -> None:
    for name in ("bp_eth_01", "bp_sol_01", "other"):
        (tmp_path / f"{name}.json").write_text("{}")
    environ = {
        "PATH": os.environ["PATH"],
        "CLEANBOOK_CONFIG_DIR": str(tmp_path),
        "BROKER_URL": "redis://127.0.0.1:1/0",
        "_MANAGE_PY_COMPLETE": "bash_complete",
        "COMP_WORDS": "manage.py stop bp_",
        "COMP_CWORD": "2",
    }
    ran = subprocess.run(
        [ROOT / "manage.py"],
        env=environ,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.stdout.split() == ["plain,bp_eth_01", "plain,bp_sol_01"], ran.stderr
