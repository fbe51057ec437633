"""`manage.py demo` and `manage.py up` as a newcomer runs them: real processes, until nothing is left."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from cli.stack.stack import ROOT
from cli.stack.valkey import ValkeyServer
from tests.support import is_running, wait_until

pytestmark = [pytest.mark.services, pytest.mark.acceptance]

#: Of the six some may have been filled in that second.
HAS_ORDERS = re.compile("orders [1-6]")


class Command:
    """A running `manage.py`, with its output in files."""

    def __init__(self, run_dir: Path, *arguments: str) -> None:
        self.run_dir = run_dir
        run_dir.mkdir()
        self._out = run_dir / "out"
        self._err = run_dir / "err"
        self._environ = {
            "PATH": os.environ.get("PATH", ""),
            "CLEANBOOK_RUN_DIR": str(run_dir),
            "CLEANBOOK_CONFIG_DIR": str(ROOT / "config" / "demo"),
        }
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", *arguments],
                cwd=ROOT,
                env=self._environ,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    @property
    def out(self) -> str:
        """Return what it printed so far."""
        return self._out.read_text()

    @property
    def err(self) -> str:
        """Return what it said on standard error so far."""
        return self._err.read_text()

    def wait(self, timeout_s: float = 120.0) -> int:
        """Return its exit code."""
        return self.process.wait(timeout_s)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run another command in the same checkout, as from a second terminal."""
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self._environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def family(self) -> list[int]:
        """Return its child processes and theirs."""
        listed = subprocess.run(
            ["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True
        ).stdout
        parents = {int(pid): int(parent) for pid, parent in map(str.split, listed.splitlines())}
        found = {self.process.pid}
        while new := {pid for pid, parent in parents.items() if parent in found} - found:
            found |= new
        return sorted(found - {self.process.pid})

    def __str__(self) -> str:
        return f"stdout:\n{self.out}\nstderr:\n{self.err}"


@pytest.fixture
def started(valkey_server: ValkeyServer) -> Iterator[list[Command]]:
    """Commands that end with the test; skipped where there is no server."""
    commands: list[Command] = []
    yield commands
    for command in commands:
        if command.process.poll() is None:
            command.process.kill()
            command.process.wait()


def running_demo(started: list[Command], tmp_path: Path, *arguments: str) -> Command:
    """Return a demo whose instance has orders."""
    command = Command(tmp_path / "stack", "demo", "--seconds", "200", *arguments)
    started.append(command)
    wait_until(lambda: HAS_ORDERS.search(command.out) is not None or command.process.poll() is not None, 100)
    assert command.process.poll() is None, str(command)
    return command


def assert_clean_end(command: Command, instance_id: str = "bp_sol_01") -> None:
    family = command.family()
    assert command.wait() == 0, str(command)
    assert f"{instance_id}: stopped clean" in command.out
    assert "no process is left" in command.out
    assert not [pid for pid in family if is_running(pid)]
    assert not (command.run_dir / "stack.json").exists()
    journal = command.run_dir / "demo" / "journal.jsonl"
    assert '"order_accepted"' in journal.read_text()
    assert orders_on_book(journal) == set()


def orders_on_book(journal: Path) -> set[str]:
    """Return the open orders of the demo's account, by the exchange's own journal."""
    book: dict[str, bool] = {}
    for text in journal.read_text().splitlines(keepends=True):
        if not text.endswith("\n"):  # being written just now
            break
        entry = json.loads(text)
        if entry.get("account") != "demo":
            continue
        if entry["event"] == "order_accepted":
            book[entry["order_id"]] = True
        elif entry["event"] == "order_cancelled" or (
            entry["event"] == "fill" and entry["executed"] == entry["quantity"]
        ):
            book[entry["order_id"]] = False
    return {order_id for order_id, is_open in book.items() if is_open}


def test_the_demo_trades_stops_clean_and_leaves_nothing(started: list[Command], tmp_path: Path) -> None:
    command = Command(tmp_path / "stack", "demo", "--seconds", "4")
    started.append(command)
    wait_until(lambda: HAS_ORDERS.search(command.out) is not None or command.process.poll() is not None, 100)
    assert_clean_end(command)
    assert re.search(r"own orders left +0, by the exchange's own word", command.out)
    assert "does not pay for the fees" not in command.out


# Ctrl-C is pressed more than once below.
@pytest.mark.parametrize(
    "number", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGTERM, signal.SIGHUP]
)
def test_the_demo_ends_clean_however_it_is_asked_to_end(
    started: list[Command], tmp_path: Path, number: signal.Signals
) -> None:
    command = running_demo(started, tmp_path)
    command.process.send_signal(number)
    assert_clean_end(command)


def test_a_second_ctrl_c_does_not_cut_the_stop_short(started: list[Command], tmp_path: Path) -> None:
    command = running_demo(started, tmp_path)
    command.process.send_signal(signal.SIGINT)
    wait_until(lambda: "stop requested" in command.err)
    command.process.send_signal(signal.SIGINT)
    assert_clean_end(command)


def test_a_ctrl_c_while_everything_goes_down_does_not_cut_that_short(
    started: list[Command], tmp_path: Path
) -> None:
    command = running_demo(started, tmp_path)
    command.process.send_signal(signal.SIGINT)
    wait_until(lambda: "stop requested" in command.err)

    def impatient() -> bool:
        command.process.send_signal(signal.SIGINT)
        return "own orders left" in command.out

    # At every moment from the stop to the beginning of the end, and some more in it.
    wait_until(impatient)
    wait_until(impatient)
    assert_clean_end(command)


def test_a_stop_from_another_terminal_ends_the_demo(started: list[Command], tmp_path: Path) -> None:
    command = running_demo(started, tmp_path)
    done = command.run("stop", "bp_sol_01")
    assert done.returncode == 0, done.stderr
    assert "bp_sol_01: stopped clean" in done.stdout
    assert command.wait() == 0, str(command)
    assert "was stopped already" in command.out
    assert orders_on_book(command.run_dir / "demo" / "journal.jsonl") == set()


def test_nothing_survives_a_killed_demo_and_the_next_one_runs(started: list[Command], tmp_path: Path) -> None:
    if sys.platform != "linux":
        pytest.skip("only Linux ends children with their parent")
    command = running_demo(started, tmp_path)
    family = command.family()
    assert len(family) >= 8
    command.process.kill()
    command.process.wait()
    wait_until(lambda: not any(is_running(pid) for pid in family))
    again = command.run("demo", "--seconds", "2", "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["instances"][0]["clean"] is True


def write_tape(path: Path) -> None:
    """Write two minutes of a market that swings by 0.1 % every second, through every near quote."""
    lines = []
    for step in range(1200):
        price = 2600 + (1.3 if step // 10 % 2 else -1.3)
        at_ns = 1_700_000_000_000_000_000 + step * 100_000_000
        touch = {"s": "ETHUSDT", "b": f"{price - 0.01:.2f}", "B": "5", "a": f"{price:.2f}", "A": "5"}
        trade = {"s": "ETHUSDT", "p": f"{price:.2f}", "q": "3", "m": step % 2 == 0}
        for stream, data in (("bookTicker", touch), ("trade", trade)):
            lines.append(f"{at_ns} {json.dumps({'stream': f'ethusdt@{stream}', 'data': data})}")
    path.write_text("\n".join(lines) + "\n")


def test_the_demo_fills_from_a_tape_at_its_prices(started: list[Command], tmp_path: Path) -> None:
    tape = tmp_path / "ethusdt.jsonl"
    write_tape(tape)
    command = Command(tmp_path / "stack", "demo", "--seconds", "100", "--tape", str(tape))
    started.append(command)

    def filled_or_over() -> bool:
        return bool(re.search(r"fills [1-9]", command.out)) or command.process.poll() is not None

    wait_until(filled_or_over, 100)
    command.process.send_signal(signal.SIGINT)
    assert_clean_end(command, "bp_eth_tape")
    assert re.search(r"market 2(598|601)\.\d+", command.out), command.out


@pytest.mark.parametrize(
    ("content", "told"),
    [
        pytest.param(None, "there is no tape", id="missing"),
        pytest.param("time,price\n1,2\n", "is no tape", id="another format"),
        pytest.param('1 {"stream": "solusdt@trade", "data": {}}\n', "holds solusdt", id="another market"),
    ],
)
def test_a_tape_that_cannot_be_used_is_refused_before_anything_starts(
    started: list[Command], tmp_path: Path, content: str | None, told: str
) -> None:
    tape = tmp_path / "tape.jsonl"
    if content is not None:
        tape.write_text(content)
    command = Command(tmp_path / "stack", "demo", "--tape", str(tape))
    started.append(command)
    assert command.wait() == 2
    assert told in command.err
    assert "Traceback" not in command.err
    assert not (command.run_dir / "demo").exists()


def test_up_serves_other_terminals_and_stops_its_instances_at_the_end(
    started: list[Command], tmp_path: Path
) -> None:
    command = Command(tmp_path / "stack", "up", "--no-flower")
    started.append(command)
    wait_until(lambda: "In another terminal" in command.out or command.process.poll() is not None, 100)
    done = command.run("start", "bp_sol_01")
    assert done.returncode == 0, done.stderr
    told = re.search(r"dashboard and API +(http://\S+) +password (\S+)", command.out)
    assert told, command.out
    body = {"password": told.group(2)}
    signed_in = requests.post(f"{told.group(1)}/api/v1/session", json=body, timeout=60).status_code
    journal = command.run_dir / "journal.jsonl"
    wait_until(lambda: len(orders_on_book(journal)) == 6)
    family = command.family()
    command.process.send_signal(signal.SIGTERM)
    assert command.wait() == 0, str(command)
    assert "stopping bp_sol_01" in command.out
    assert not [pid for pid in family if is_running(pid)]
    assert orders_on_book(journal) == set()
    assert signed_in == 204
    password = re.search(r"redis://:([^@]*)@", command.out)
    assert password
    assert set(password.group(1)) == {"*"}
