"""The command line against running workers: quick rounds, missing workers, unreachable surroundings."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cli.stack.processes import ManagedProcess, ProcessSpec
from cli.stack.stack import ROOT
from state import keys
from state.record import Phase
from tests.acceptance.command import LONGEST_S, Command, Ended, plain_environ
from tests.acceptance.simulated_exchange import EVERYTHING, LIST_OPEN, fault
from tests.acceptance.world import World, eventually, tell
from tests.support import closed_port

pytestmark = pytest.mark.acceptance

#: Exit codes, written out: scripts rely on the numbers.
DONE, BAD_USAGE, NOT_CLEAN, UNREACHABLE = 0, 2, 3, 4
#: A few seconds of it are the command's; the rest is for a machine whose cores are taken.
LONGEST_COMMAND_S = 30.0


@contextmanager
def without(world: World, *names: str) -> Iterator[None]:
    """Take workers of the stack down for a while, in good order."""
    for name in names:
        assert world.stack.processes[name].stop()
    try:
        yield
    finally:
        for name in names:
            world.stack.processes[name].start()


def test_starting_and_stopping_twice_from_the_command_line_ends_clean(world: World, manage: Command) -> None:
    instance_id = world.configure("by_hand_01")
    world.started.append(instance_id)
    for epoch in (1, 2):
        started = manage("start", instance_id, "--json")
        assert started.code == DONE, started.err
        assert started.json["instances"][0]["epoch"] == epoch
        world.wait_for_orders(instance_id)
        stopped = manage("stop", instance_id, "--json")
        assert stopped.code == DONE, stopped.err
        proof = stopped.json["instances"][0]
        assert (proof["clean"], proof["epoch"]) == (True, epoch)
        assert world.exchange.open_order_ids(slot=world.slot(instance_id)) == set()
        tell(f"start {started.took_s:.2f} s, stop {stopped.took_s:.2f} s")


def test_two_stops_at_the_same_time_both_end_with_the_same_proof(world: World, manage: Command) -> None:
    instance_id = world.run("joined_01")
    # No cleanup gets to its end before the second command is there.
    world.exchange.set_faults(fault(LIST_OPEN, "error"))
    world.request_stop(instance_id)
    with manage.begin("stop", instance_id, "--json") as second:
        assert second.stderr is not None
        said = second.stderr.readline()
        world.exchange.clear_faults()
        out, err = second.communicate(timeout=LONGEST_S)
    assert second.returncode == DONE, said + err
    proof = json.loads(out)["instances"][0]
    assert (proof["joined"], proof["clean"], proof["epoch"]) == (True, True, 1)


def test_with_no_cleanup_worker_the_stop_cleans_up_itself_unless_that_is_forbidden(
    world: World, manage: Command
) -> None:
    instance_id = world.run("direct_01")
    slot = world.slot(instance_id)
    with without(world, "cleanup"):
        forbidden = manage("stop", instance_id, "--no-direct", "--timeout", "3.5")
        assert forbidden.code == NOT_CLEAN, forbidden.err
        assert "--no-direct forbids it" in forbidden.err
        assert world.record(instance_id).phase is Phase.STOPPING
        assert len(world.exchange.open_order_ids(slot=slot)) == 6, "nobody has cancelled anything"

        direct = manage("stop", instance_id, "--json")
        assert direct.code == DONE, direct.err
        assert 2.0 <= direct.took_s < LONGEST_COMMAND_S
        proof = direct.json["instances"][0]
        assert proof["clean"]
        assert "manage.py" in proof["receipt"]["by"]
        assert world.exchange.open_order_ids(slot=slot) == set()


def test_one_plain_worker_serves_both_queues(world: World, tmp_path: Path) -> None:
    environ = plain_environ() | {
        "BROKER_URL": world.stack.broker_url,
        "CLEANBOOK_SIMULATOR_URL": world.stack.simulator_url,
    }
    spec = ProcessSpec(
        name="single",
        command=(sys.executable, "-m", "celery", "-A", "tasks", "worker", "-c", "2", "-n", "single@%h"),
        environ=environ,
        cwd=ROOT,
    )
    single = ManagedProcess(spec, tmp_path)
    with without(world, "iterate", "cleanup"):
        assert world.serving_queues() == set()
        single.start()
        try:
            eventually(lambda: world.serving_queues() == {"iterate", "cleanup"}, what="the single worker")
            instance_id = world.run("single_01")
            outcome = world.stop(instance_id)
            assert outcome.is_clean
            assert outcome.by.startswith("worker single@")
        finally:
            assert single.stop()


def assert_one_clear_message(ended: Ended, code: int, *words: str) -> None:
    """Check that a failure is one message, its details indented, and no traceback."""
    assert ended.code == code, ended.err
    assert "Traceback" not in ended.err + ended.out
    said = [line for line in (ended.err + ended.out).splitlines() if not line.startswith((" ", "warning:"))]
    assert len(said) == 1, ended
    for word in words:
        assert word in ended.err + ended.out


@pytest.mark.parametrize("verb", ["start", "stop", "status"])
def test_a_state_server_that_cannot_be_reached_is_one_clear_message(
    world: World, manage: Command, verb: str
) -> None:
    world.configure("unreachable_01")
    with closed_port() as port:
        ended = manage(verb, "unreachable_01", BROKER_URL=f"redis://127.0.0.1:{port}/0")
    assert_one_clear_message(ended, UNREACHABLE, "cannot be reached", "BROKER_URL")


def test_a_wrong_password_is_one_clear_message_without_the_password(world: World, manage: Command) -> None:
    world.configure("password_01")
    wrong = f"redis://:not-the-password@{world.stack.broker_url.split('@')[1]}"
    for verb in ("start", "stop"):
        ended = manage(verb, "password_01", BROKER_URL=wrong)
        assert_one_clear_message(ended, UNREACHABLE, "password")
        assert "not-the-password" not in ended.err + ended.out


def assert_nothing_started(world: World, instance_id: str) -> None:
    """Check that a refused start has left no trace that anything would act on."""
    assert world.context.instances.read(instance_id) is None
    assert world.context.client.zscore(keys.DUE, instance_id) is None
    assert not world.context.client.sismember(keys.INSTANCES, instance_id)


def test_a_start_while_the_exchange_is_down_starts_nothing(world: World, manage: Command) -> None:
    world.configure("down_01")
    with closed_port() as port:
        ended = manage("start", "down_01", CLEANBOOK_SIMULATOR_URL=f"http://127.0.0.1:{port}")
    assert_one_clear_message(ended, UNREACHABLE, "exchange")
    assert_nothing_started(world, "down_01")


@pytest.mark.parametrize("kind", ["error", "hang", "reset_before"])
def test_a_start_while_the_exchange_misbehaves_starts_nothing(
    world: World, manage: Command, kind: str
) -> None:
    instance_id = world.configure(f"sick_{kind}_01")
    world.exchange.set_faults(fault(EVERYTHING, kind))
    ended = manage("start", instance_id)
    assert_one_clear_message(ended, UNREACHABLE, "exchange")
    assert ended.took_s < LONGEST_COMMAND_S
    assert_nothing_started(world, instance_id)


def test_a_name_with_path_characters_is_refused(world: World, manage: Command) -> None:
    for verb in ("start", "stop"):
        ended = manage(verb, "../conf")
        assert_one_clear_message(ended, BAD_USAGE, "../conf")
    assert_nothing_started(world, "../conf")
