"""The alerts process against a real server and a real receiver: killed, doubled, with targets that fail."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import redis

from cli.stack.stack import ROOT
from cli.stack.valkey import ValkeyServer
from state.alerts import Alerts
from state.cleanup_leases import CleanupLease, CleanupLeases
from state.events import Events
from state.instances import Instances
from state.scripts import Scripts
from state.stop_policy import StopPolicy
from tests.acceptance.command import plain_environ
from tests.acceptance.world import eventually, holds_for
from tests.webhook import Receiver, webhook_receiver

pytestmark = pytest.mark.services

#: In every URL: nothing that a process writes may hold it.
TOKEN = "s3cret-t0ken"
#: Generous: a deadline only decides how long a broken program is waited for.
LONGEST_S = 60.0
EVERYTHING = (
    '"stop_not_clean", "instance_failed", "risk_limit", "no_heartbeat", "run_ended", "state_server_down"'
)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with webhook_receiver() as found:
        yield found


class Fleet:
    """Instances whose lifecycle a test drives through the real scripts."""

    def __init__(self, client: redis.Redis) -> None:
        scripts = Scripts(client)
        self.client = client
        self.instances = Instances(client, scripts)
        self.events = Events(client)
        self.alerts = Alerts(client, scripts)
        self._cleanups = CleanupLeases(client, scripts, lease_ms=5000, grace_ms=100, fence_margin_ms=0)

    def start(self, name: str) -> None:
        """Begin a run on which nobody works."""
        started = self.instances.start(
            name,
            config_version="v",
            config_json="{}",
            slot=1,
            account="backpack-simulated:test",
            by="test",
        )
        assert started.started

    def fail_to_stop(self, name: str) -> None:
        """Stop, and leave an order."""
        self.start(name)
        self.instances.request_stop(name, by="test", reason="test", policy=StopPolicy())
        assert self._clean_up(name, clean=False) == "failed"

    def clean_at_last(self, name: str) -> None:
        """Clean up what failed."""
        assert self._clean_up(name, clean=True) == "stopped"

    def cut(self, name: str, *cuts: str) -> None:
        """Have limits of an instance cut something."""
        self.events.limits_changed(name, epoch=1, at_ms=self.instances.now_ms(), cuts=cuts)

    def _clean_up(self, name: str, *, clean: bool) -> str:
        lease = self._cleanups.claim(name, epoch=1, by="test")
        assert isinstance(lease, CleanupLease)
        return self._cleanups.finish(
            lease,
            clean=clean,
            outcome_json="{}",
            retry_after_ms=10,
            attempts_until_failed=1,
            alert=f"{name}: the orders o1, o2 are left" if not clean else f"{name}: clean after 2 attempts",
        )


@pytest.fixture
def fleet(redis_client: redis.Redis) -> Fleet:
    return Fleet(redis_client)


class Process:
    """`manage.py alerts`."""

    def __init__(self, environ: dict[str, str], log: Path) -> None:
        self.log = log
        with log.open("ab") as output:
            self.popen = subprocess.Popen(
                [sys.executable, "manage.py", "alerts"], cwd=ROOT, env=environ, stdout=output, stderr=output
            )

    def kill(self) -> None:
        """End it without a word."""
        self.popen.kill()
        self.popen.wait(60)

    def end(self) -> int:
        """End it in good order."""
        self.popen.send_signal(signal.SIGTERM)
        return self.popen.wait(LONGEST_S)

    def lines(self) -> list[dict[str, Any]]:
        """Return what it logged."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]


class Bench:
    """Rules, and the processes that go by them."""

    def __init__(self, server: ValkeyServer, receiver: Receiver, fleet: Fleet, folder: Path) -> None:
        self.receiver = receiver
        self.fleet = fleet
        self._folder = folder
        self._environ = plain_environ() | {
            "BROKER_URL": server.url,
            "CLEANBOOK_RUN_DIR": str(folder / "run"),
            "CLEANBOOK_ALERTS_FILE": str(folder / "alerts.toml"),
            "CLEANBOOK_LOG_LEVEL": "DEBUG",
            "TOKEN": TOKEN,
        }
        self.processes: list[Process] = []

    def rules(self, *targets: str, more: str = "", top: str = "") -> None:
        """Write the file: one rule about everything, for targets at paths of their names."""
        query = "?:key=${TOKEN}&k=${TOKEN}"
        sections = "".join(
            f'[targets.{name}]\nurl = "{self.receiver.url("/" + name)}{query}"\n'
            f"timeout_s = {2 if name == 'hangs' else 20}\n"
            for name in targets
        )
        text = f"{top}\n{sections}[rules.all]\non = [{EVERYTHING}]\ntargets = {json.dumps(targets)}\n{more}\n"
        (self._folder / "alerts.toml").write_text(text)

    def start(self) -> Process:
        """Start a process, and wait until it or another one sends."""
        process = self.launch()
        eventually(
            lambda: self.fleet.alerts.holder() and self.fleet.alerts.memory(), LONGEST_S, what="a sender"
        )
        return process

    def launch(self) -> Process:
        """Start a process."""
        process = Process(self._environ, self._folder / f"alerts-{len(self.processes)}.log")
        self.processes.append(process)
        return process

    def sender(self) -> Process:
        """Return the process that holds the lease."""
        pid = int(self.fleet.alerts.holder().split()[0].rpartition(":")[2])
        return next(process for process in self.processes if process.popen.pid == pid)

    def wait_for(self, titles: Sequence[str], path: str = "/hook") -> None:
        """Wait until exactly these have arrived, in any order."""
        eventually(
            lambda: sorted(self.receiver.titles(path)) == sorted(titles) or None,
            LONGEST_S,
            what=lambda: f"{titles} at {path}, where {self.receiver.titles(path)} came,",
        )
        # What has arrived but is not taken out would be sent again by the next process.
        eventually(lambda: self.fleet.alerts.waiting(path[1:]) == 0, LONGEST_S, what="an empty outbox")


@pytest.fixture
def bench(valkey_server: ValkeyServer, receiver: Receiver, fleet: Fleet, tmp_path: Path) -> Iterator[Bench]:
    found = Bench(valkey_server, receiver, fleet, tmp_path)
    yield found
    for process in found.processes:
        process.kill()
    for process in found.processes:
        assert TOKEN not in process.log.read_text()


def test_a_stop_that_is_not_clean_is_told_and_its_end_too(bench: Bench) -> None:
    bench.rules("hook")
    process = bench.start()
    bench.fleet.fail_to_stop("bp_sol_01")
    bench.wait_for(["bp_sol_01: stop not clean"])
    (body,) = bench.receiver.got()
    assert body["message"].startswith("the orders o1, o2 are left\nrun 1, ")
    assert body["type"] == "failure"
    bench.fleet.clean_at_last("bp_sol_01")
    bench.wait_for(["bp_sol_01: stop not clean", "bp_sol_01: stop not clean, over"])
    assert bench.receiver.got()[1]["message"].startswith("clean after 2 attempts")
    assert process.end() == 0
    assert bench.fleet.alerts.holder() == ""


def test_what_happens_while_it_is_dead_is_told_once_after_its_return(bench: Bench) -> None:
    bench.rules("hook")
    bench.start().kill()
    for number in range(3):
        bench.fleet.fail_to_stop(f"mm_{number}")
    bench.fleet.client.delete("cleanbook:alerts:lease")
    expected = [f"mm_{number}: stop not clean" for number in range(3)]
    bench.start()
    bench.wait_for(expected)
    bench.processes[-1].kill()
    bench.fleet.client.delete("cleanbook:alerts:lease")
    bench.start()
    bench.fleet.clean_at_last("mm_0")
    bench.wait_for([*expected, "mm_0: stop not clean, over"])


def test_what_failed_before_its_first_start_is_told_too(bench: Bench) -> None:
    bench.rules("hook")
    bench.fleet.fail_to_stop("old_01")
    bench.start()
    bench.wait_for(["old_01: stop not clean"])
    assert "manage.py receipt old_01" in bench.receiver.got()[0]["message"]


def test_targets_that_hang_or_fail_hold_up_nobody(bench: Bench) -> None:
    bench.rules("hangs", "fails", "hook")
    bench.receiver.hanging.add("/hangs")
    bench.receiver.answers["/fails"] = 503
    bench.start()
    bench.fleet.fail_to_stop("bp_sol_01")
    bench.wait_for(["bp_sol_01: stop not clean"])
    assert bench.fleet.alerts.waiting("hangs") == 1
    eventually(lambda: len(bench.receiver.got("/fails")) >= 2, LONGEST_S, what="a second try")
    eventually(lambda: len(bench.receiver.got("/hangs")) >= 2, LONGEST_S, what="a second try")
    del bench.receiver.answers["/fails"]
    bench.receiver.release()
    eventually(
        lambda: bench.fleet.alerts.waiting("fails") == 0, LONGEST_S, what="delivery where it had failed"
    )
    eventually(lambda: bench.fleet.alerts.waiting("hangs") == 0, LONGEST_S, what="delivery where it had hung")
    assert len(bench.receiver.got()) == 1
    why = {
        line["why"] for line in bench.processes[0].lines() if line.get("event") == "alert not sent, trying on"
    }
    assert why == {"it answered 503", "no answer in time"}


def test_of_two_processes_one_sends_and_the_other_takes_over(bench: Bench) -> None:
    bench.rules("hook")
    bench.start()
    bench.launch()
    first = bench.sender()
    bench.fleet.fail_to_stop("mm_0")
    bench.wait_for(["mm_0: stop not clean"])
    first.kill()
    bench.fleet.fail_to_stop("mm_1")
    expected = ["mm_0: stop not clean", "mm_1: stop not clean"]
    bench.wait_for(expected)
    assert bench.sender() is not first
    holds_for(lambda: sorted(bench.receiver.titles()) == expected, 1.5, what="each told once")


@pytest.mark.slow  # a lease has to run out
def test_a_frozen_sender_that_wakes_sends_nothing_again(bench: Bench) -> None:
    bench.rules("hook")
    bench.start()
    bench.launch()
    frozen = bench.sender()
    frozen.popen.send_signal(signal.SIGSTOP)
    bench.fleet.fail_to_stop("mm_0")
    bench.wait_for(["mm_0: stop not clean"])
    frozen.popen.send_signal(signal.SIGCONT)
    bench.fleet.fail_to_stop("mm_1")
    bench.wait_for(["mm_0: stop not clean", "mm_1: stop not clean"])
    holds_for(lambda: len(bench.receiver.got()) == 2, 1.5, what="each told once")
    assert bench.sender() is not frozen


def test_an_instance_that_nobody_works_on_is_told(bench: Bench) -> None:
    bench.rules("hook", more='after_s = 4\ninstances = ["mm_*"]')
    bench.fleet.start("mm_0")
    bench.fleet.start("other")
    bench.start()
    bench.wait_for(["mm_0: no heartbeat", "queue iterate: no heartbeat"])


@pytest.mark.slow  # a rate's window has to end
def test_a_flood_is_told_in_few_messages(bench: Bench) -> None:
    bench.rules("hook", more="at_most = 2\nper_s = 6")
    bench.start()
    cut = threading.Event()
    for number in range(6):
        bench.fleet.cut("mm_0", f"cut {number}")
        cut.wait(0.4)
        bench.fleet.cut("mm_0")
        cut.wait(0.4)
    eventually(
        lambda: any("more suppressed" in body["message"] for body in bench.receiver.got()),
        LONGEST_S,
        what="how much was suppressed",
    )
    bodies = bench.receiver.got()
    assert len(bodies) < 8
    assert bodies[-1]["title"] == "mm_0: risk limit, over"


def test_quiet_hours_hold_all_but_what_is_critical(bench: Bench) -> None:
    hour = datetime.now(UTC).hour
    hours = f'from = "{(hour - 2) % 24:02}:00"\nuntil = "{(hour + 3) % 24:02}:00"'
    bench.rules("hook", top=f"[quiet_hours]\n{hours}")
    bench.start()
    bench.fleet.cut("mm_0", "a cap")
    bench.fleet.fail_to_stop("mm_1")
    bench.wait_for(["mm_1: stop not clean"])
    held = json.loads(bench.fleet.alerts.memory())["held"]["hook"]["messages"]
    assert [message["title"] for message in held] == ["mm_0: risk limit"]


@contextmanager
def own_server(folder: Path) -> Iterator[ValkeyServer]:
    server = ValkeyServer(folder, environ=plain_environ())
    server.start()
    server.wait_ready()
    try:
        yield server
    finally:
        server.stop()


@pytest.mark.slow  # a server of its own, ended and started
def test_a_state_server_that_is_gone_is_told_by_the_process_itself(
    receiver: Receiver, tmp_path: Path
) -> None:
    with own_server(tmp_path / "server") as server:
        client = redis.Redis.from_url(server.url, decode_responses=True)
        found = Bench(server, receiver, Fleet(client), tmp_path)
        found.rules("hook", more="after_s = 2")
        process = found.start()
        try:
            server.process.kill()
            # Not `wait_for`, which asks the server.
            eventually(lambda: receiver.titles() == ["state server down"], LONGEST_S, what="an alert")
            server.start()
            server.wait_ready()
            expected = ["state server down", "state server down, over"]
            eventually(lambda: receiver.titles() == expected, LONGEST_S, what="its end")
        finally:
            process.kill()
            client.close()
        assert TOKEN not in process.log.read_text()


def test_rules_that_are_wrong_end_it_at_once(bench: Bench) -> None:
    bench.rules("hook", more="at_mos = 3")
    process = bench.launch()
    assert process.popen.wait(LONGEST_S) == 2
    assert "rules.all.at_mos: is no setting" in process.log.read_text()


def ran(bench: Bench, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "manage.py", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=bench._environ, capture_output=True, text=True, timeout=60, check=False
    )


def test_notify_test_says_which_target_works(bench: Bench) -> None:
    bench.rules("hook", "fails")
    bench.receiver.answers["/fails"] = 403
    ended = ran(bench, "notify-test", "--json")
    assert ended.returncode == 1
    assert json.loads(ended.stdout)["targets"] == [
        {"target": "hook", "sent": True, "problem": ""},
        {"target": "fails", "sent": False, "problem": "it answered 403"},
    ]
    assert bench.receiver.titles() == ["Cleanbook: test"]
    assert TOKEN not in ended.stdout + ended.stderr
    unknown = ran(bench, "notify-test", "al")
    assert unknown.returncode == 2
    assert "there is no rule 'al'; there is: all" in unknown.stderr
