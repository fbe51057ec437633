"""Pause, resume, reload and apply from the command line, against real workers and the simulated exchange."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from state.record import Phase
from tests.acceptance.command import Command
from tests.acceptance.simulated_exchange import CANCEL_ONE, PLACE_BATCH, fault
from tests.acceptance.world import World, eventually, tell

pytestmark = pytest.mark.acceptance

DONE, FAILED, BAD_USAGE = 0, 1, 2


def rewrite(world: World, instance_id: str, **strategy: object) -> None:
    """Edit an instance's file as its owner would."""
    path = world.config_dir / f"{instance_id}.json"
    layout = json.loads(path.read_text())
    layout["strategy_config"].update(strategy)
    path.write_text(json.dumps(layout))


def test_a_pause_withdraws_and_a_resume_quotes_again_in_the_same_run(world: World, manage: Command) -> None:
    instance_id = world.run("paused_01")
    slot = world.slot(instance_id)
    paused = manage("pause", instance_id, "--reason", "news", "--json")
    assert paused.code == DONE, paused.err
    assert world.exchange.open_order_ids(slot=slot) == set()
    report = paused.json["instances"][0]
    assert report["result"] == "withdrawn"
    record = world.record(instance_id)
    assert record.paused_at_ms is not None
    assert record.withdrawn_at_ms is not None
    tell(f"withdrawn {record.withdrawn_at_ms - record.paused_at_ms} ms after the pause")
    since = world.exchange.last_entry()
    # It goes on iterating, and places nothing
    world.wait_for_commit_after(instance_id, world.context.instances.now_ms(), 60)
    assert world.exchange.accepted(slot, since=since) == []
    assert "paused" in manage("list").out
    assert "news" in manage("status", instance_id).out
    resumed = manage("resume", instance_id)
    assert resumed.code == DONE, resumed.err
    world.wait_for_orders(instance_id)
    assert world.record(instance_id).epoch == record.epoch


def test_a_pause_waits_for_a_placement_that_nobody_answered(world: World, manage: Command) -> None:
    instance_id = world.configure("paused_unanswered_01")
    # The first ladder reaches the exchange, and no answer comes back
    world.exchange.set_faults(fault(PLACE_BATCH, "reset_after"))
    world.start(instance_id)
    world.wait_for_request(PLACE_BATCH)
    slot = world.slot(instance_id)
    paused = manage("pause", instance_id, "--json")
    assert paused.code == DONE, paused.err
    assert world.exchange.open_order_ids(slot=slot) == set()
    assert world.record(instance_id).fence_ms <= world.context.instances.now_ms()


def test_a_worker_that_dies_while_it_withdraws_is_followed_by_another(world: World, manage: Command) -> None:
    instance_id = world.run("paused_killed_01", interval=60)
    slot = world.slot(instance_id)
    world.exchange.set_faults(fault(CANCEL_ONE, "latency", latency_ms=1_500))
    assert manage("pause", instance_id, "--no-wait").code == DONE
    world.wait_for_request(CANCEL_ONE)
    world.stack.processes["iterate"].kill()
    eventually(
        lambda: world.record(instance_id).withdrawn_at_ms,
        what="orders withdrawn though the interval is a minute",
    )
    assert world.exchange.open_order_ids(slot=slot) == set()


def test_a_stop_from_paused_ends_clean_and_its_receipt_tells_of_the_pause(
    world: World, manage: Command
) -> None:
    instance_id = world.run("paused_stopped_01")
    assert manage("pause", instance_id, "--no-wait").code == DONE
    stopped = manage("stop", instance_id, "--json")
    assert stopped.code == DONE, stopped.err
    assert manage("receipt", instance_id, "--json").json["receipt"]["paused_at_ms"] is not None
    refused = manage("pause", instance_id)
    assert refused.code == FAILED
    assert "this one is stopped" in refused.out + refused.err


def test_reload_takes_an_edited_file_and_names_what_takes_a_restart(world: World, manage: Command) -> None:
    instance_id = world.configure("reloaded_01", max_orders=1, interval=60)
    world.start(instance_id)
    world.wait_for_orders(instance_id, 2)
    epoch = world.record(instance_id).epoch
    rewrite(world, instance_id, max_orders=3, interval=0.5)
    dry = manage("reload", instance_id, "--dry-run")
    assert dry.code == DONE, dry.err
    assert "strategy_config.max_orders" in dry.out
    assert len(world.exchange.open_order_ids(slot=world.slot(instance_id))) == 2
    assert manage("reload", instance_id).code == DONE
    world.wait_for_orders(instance_id, 6)
    # The schedule has the new pace at once, too
    world.wait_for_commit_after(instance_id, world.context.instances.now_ms() + 600, 60)
    path = world.config_dir / f"{instance_id}.json"
    layout = json.loads(path.read_text())
    layout["metadata"]["symbol"] = "ETH_USDC"
    path.write_text(json.dumps(layout))
    refused = manage("reload", instance_id)
    assert refused.code == FAILED
    assert 'metadata.symbol ("SOL_USDC" -> "ETH_USDC")' in refused.out
    # And a stop is made where the run trades, whatever the file says by now
    receipt = world.stop(instance_id)
    assert (receipt.symbol, receipt.epoch, receipt.is_clean) == ("SOL_USDC", epoch, True)
    assert world.exchange.open_order_ids(slot=world.slot(instance_id)) == set()


def test_apply_has_just_the_files_of_a_folder_run(world: World, manage: Command, tmp_path: Path) -> None:
    kept, gone = world.run("applied_kept_01"), world.run("applied_gone_01")
    new = world.configure("applied_new_01")
    for name in (kept, new):
        (world.config_dir / f"{name}.json").rename(tmp_path / f"{name}.json")
    world.started.append(new)
    layout = json.loads((tmp_path / f"{kept}.json").read_text())
    layout["strategy_config"]["max_orders"] = 1
    (tmp_path / f"{kept}.json").write_text(json.dumps(layout))
    others = {
        record.instance_id
        for record in world.context.instances.read_all()
        if record.phase is not Phase.STOPPED
    } - {kept, gone}
    assert not others, "prune would stop what other tests left"

    dry = manage("apply", str(tmp_path), "--prune", "--dry-run", "--json")
    assert dry.code == DONE, dry.err
    plan = {step["instance_id"]: step["action"] for step in dry.json["plan"]}
    assert plan == {kept: "update", new: "start", gone: "stop"}
    assert world.record(gone).phase is Phase.RUNNING
    assert manage("apply", str(tmp_path), "--prune").code == BAD_USAGE, "nobody can be asked"

    done = manage("apply", str(tmp_path), "--prune", "--yes", "--json")
    assert done.code == DONE, done.err
    assert world.record(gone).phase is Phase.STOPPED
    world.wait_for_orders(new)
    eventually(
        lambda: len(world.exchange.open_order_ids(slot=world.slot(kept))) == 2, what="the smaller ladder"
    )
    again = manage("apply", str(tmp_path), "--prune", "--yes", "--json")
    assert (again.code, again.json["applied"]) == (DONE, False)
    assert {step["action"] for step in again.json["plan"]} == {"unchanged"}
