"""What is taken for damaged, what is not, and what a cleanup of it may rely on."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from market.orders import OpenOrder
from runner import loaded
from runner.lifecycle import StateLost, start_instance
from runner.schedule import sweep
from state import keys
from state.client_ids import SLOTS
from state.leases import Lease
from state.record import UNKNOWN_LEFT, Phase
from state.stop_policy import StopPolicy
from tests import factories
from tests.factories import ACCOUNT, INSTANCE_ID
from tests.integration.damage_bench import OTHER, DamageBench, order

#: What a request of the runs below may take, ms, and a little less than the longest that any may.
WINDOW_MS, LONG_MS = 1_000, 50_000


def claim(damaged: DamageBench) -> Lease:
    lease = damaged.context.leases.claim(INSTANCE_ID, epoch=damaged.record().epoch, tick=0, task_id="t")
    assert isinstance(lease, Lease)
    return lease


class TestAMomentLater:
    def test_a_start_beside_another_one_does_not_fail_what_that_began(self, damaged: DamageBench) -> None:
        def the_other_one_first(_: str) -> Sequence[OpenOrder]:
            del damaged.venue.always["open_orders"]
            damaged.start()
            damaged.rest("of the new run")
            return tuple(damaged.venue.resting.values())

        damaged.venue.always["open_orders"] = the_other_one_first
        result = start_instance(damaged.context, INSTANCE_ID, by="t").result
        assert (result.result, result.epoch) == ("running", 1)
        assert damaged.record().phase is Phase.RUNNING
        assert list(damaged.venue.resting) == ["of the new run"]

    def test_nobody_accepts_what_an_earlier_run_left(self, damaged: DamageBench) -> None:
        damaged.start()
        damaged.stop()
        assert damaged.clean_up().is_clean
        damaged.rest("of nowhere")
        with pytest.raises(StateLost):
            damaged.start()
        # The last run left nothing; of this one nobody knows yet.
        assert (damaged.record().left, damaged.record().outcome) == (UNKNOWN_LEFT, "")


class TestStoppedBefore:
    def test_a_stop_under_way_is_not_asked_for_less(self, damaged: DamageBench) -> None:
        damaged.start()
        damaged.stop(StopPolicy(unwind=True), by="somebody")
        damaged.damage("resends", "x")
        damaged.sweep()
        receipt = damaged.clean_up()
        assert receipt.policy == StopPolicy(unwind=True)
        assert [asked.by for asked in receipt.asked] == ["somebody", "state check"]

    def test_the_policy_of_a_stop_that_is_over_is(self, damaged: DamageBench) -> None:
        damaged.start()
        damaged.stop(StopPolicy(unwind=True))
        assert damaged.clean_up().is_clean
        damaged.damage("stopped_at", "x")
        damaged.context.instances.fail(INSTANCE_ID)
        assert damaged.clean_up().policy == StopPolicy()

    def test_a_story_that_an_older_version_left_there_is_not_told_again(self, damaged: DamageBench) -> None:
        damaged.start()
        damaged.stop(by="of the run before")
        before = damaged.client.hgetall(keys.record(INSTANCE_ID))
        assert damaged.clean_up().is_clean
        damaged.start()
        damaged.stop(by="of this run")
        # What a start and a stop of an older version leave as it was.
        damaged.client.hset(
            keys.record(INSTANCE_ID),
            mapping={
                "asked": before["asked"],
                "flight": json.dumps({"seq": 9, "kind": "tick", "tick": 8, "task_id": "t", "lease_until": 7}),
                "flight_end": "committed 7",
            },
        )
        receipt = damaged.clean_up()
        assert [asked.by for asked in receipt.asked] == ["of this run"]
        assert receipt.in_flight is None

    def test_numbers_of_runs_are_not_given_again(self, damaged: DamageBench) -> None:
        for _ in range(2):
            damaged.start()
            damaged.stop()
            assert damaged.clean_up().is_clean
        epoch = damaged.start()
        claim(damaged)
        damaged.damage("epoch", "x")
        damaged.sweep()
        assert damaged.record().epoch == epoch
        assert damaged.clean_up().is_clean
        assert damaged.start() == epoch + 1

    def test_an_iteration_in_flight_may_commit(self, damaged: DamageBench) -> None:
        damaged.start()
        lease = claim(damaged)
        damaged.damage("resends", "x")
        damaged.context.instances.fail(INSTANCE_ID)
        committed = damaged.context.leases.commit(
            lease, resolved=True, state_json="", interval_ms=1000, next_task_id="n", order_ids=["told late"]
        )
        assert not committed.running
        assert damaged.client.llen(keys.released(INSTANCE_ID)) == 1
        assert damaged.client.hget(keys.record(INSTANCE_ID), "order_ids") == "told late"

    def test_orders_of_a_run_that_was_started_over_are_still_asked_for(self, damaged: DamageBench) -> None:
        damaged.start()
        damaged.client.hset(keys.record(INSTANCE_ID), "strays", "3:0:5")
        damaged.damage("resends", "x")
        damaged.context.instances.fail(INSTANCE_ID)
        assert damaged.clean_up().is_clean
        number = factories.client_order_id(slot=damaged.slot, level=3, generation=5)
        assert number in damaged.venue.about("find_order")


class TestOneThatNobodyCanRead:
    """Nothing about one instance keeps the sweep from the others."""

    @pytest.fixture(autouse=True)
    def _lost(self, damaged: DamageBench) -> None:
        damaged.start()
        damaged.start(OTHER)
        damaged.client.delete(keys.record(INSTANCE_ID), keys.config(INSTANCE_ID))

    def test_a_configuration_of_another_type(self, damaged: DamageBench) -> None:
        damaged.client.rpush(keys.config(INSTANCE_ID), "x")
        damaged.sweep()
        assert [each.instance_id for each in damaged.publisher.iterations] == [OTHER]
        assert damaged.record().phase is Phase.FAILED
        assert damaged.clean_up().is_clean

    def test_generations_of_another_type(self, damaged: DamageBench) -> None:
        damaged.client.set(keys.generations(INSTANCE_ID), "x")
        damaged.sweep()
        assert [each.instance_id for each in damaged.publisher.iterations] == [OTHER]
        assert damaged.record().phase is Phase.FAILED

    def test_a_file_that_must_not_be_read(
        self, damaged: DamageBench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = Path.read_text

        def refuse(path: Path, *args: Any, **options: Any) -> str:
            if path.stem == INSTANCE_ID:
                raise PermissionError(13, "Permission denied")
            return real(path, *args, **options)

        monkeypatch.setattr(Path, "read_text", refuse)
        damaged.sweep()
        assert [each.instance_id for each in damaged.publisher.iterations] == [OTHER]
        assert "nobody knows where its orders are" in damaged.clean_up().problem


class TestAFileThatWasChanged:
    def test_orders_in_the_market_of_before_are_found(self, damaged: DamageBench) -> None:
        damaged.start()
        damaged.rest("where it was")
        damaged.venue.always["open_orders"] = lambda symbol: tuple(
            each for each in damaged.venue.resting.values() if each.symbol == symbol
        )
        damaged.client.delete(keys.config(INSTANCE_ID))
        file = damaged.settings.config_dir / f"{INSTANCE_ID}.json"
        content = json.loads(file.read_text())
        content["metadata"]["symbol"] = "BTC_USDC"
        file.write_text(json.dumps(content))
        loaded._known.clear()
        theirs = order("theirs", factories.client_order_id(slot=damaged.slot % SLOTS + 1))
        damaged.venue.rest(theirs)
        damaged.stop()
        receipt = damaged.clean_up()
        assert receipt.is_clean
        assert receipt.cancelled_order_ids == ("where it was",)
        assert list(damaged.venue.resting) == ["theirs"]

    def test_its_window_is_not_that_of_the_run(self, damaged: DamageBench) -> None:
        damaged.start()
        damaged.client.delete(keys.record(INSTANCE_ID))
        now_ms = damaged.context.instances.now_ms()
        damaged.client.zadd(keys.DUE, {INSTANCE_ID: 1})
        sweep(damaged.context, damaged.publisher)
        assert damaged.record().fence_ms < now_ms + 10 * WINDOW_MS
        damaged.client.delete(keys.record(INSTANCE_ID), keys.config(INSTANCE_ID))
        damaged.client.zadd(keys.DUE, {INSTANCE_ID: 1})
        sweep(damaged.context, damaged.publisher)
        assert damaged.record().fence_ms > now_ms + LONG_MS


def test_a_slot_in_use_is_not_given_away_where_the_list_of_slots_is_lost(damaged: DamageBench) -> None:
    wanted = zlib.crc32(INSTANCE_ID.encode()) % SLOTS + 1
    damaged.client.hset(keys.slots(ACCOUNT), mapping={f"#{wanted}": OTHER, OTHER: wanted})
    damaged.start(OTHER)
    damaged.venue.rest(order("theirs", factories.client_order_id(slot=wanted)))
    damaged.client.delete(keys.slots(ACCOUNT))
    damaged.start()
    assert damaged.record(OTHER).slot == wanted
    assert damaged.record().slot == wanted + 1
    assert list(damaged.venue.resting) == ["theirs"]
