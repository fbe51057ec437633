"""State that is missing or damaged: the instance is failed and cleaned up, never started on top of it."""

from __future__ import annotations

import json

import pytest

from ledger.bookings import EventBooking
from ledger.database import open_ledger
from runner.lifecycle import StartRefused, StateLost, fail_unknown, start_instance
from state import keys
from state.record import Phase, RecordUnreadable
from state.stop_policy import StopPolicy
from tests import factories
from tests.factories import ACCOUNT, INSTANCE_ID
from tests.integration.damage_bench import OTHER, DamageBench, order

#: Ways in which a record of a run can be damaged: field and what it holds (None: it is gone).
DAMAGES: dict[str, tuple[str, str | None]] = {
    "no phase": ("phase", None),
    "unknown phase": ("phase", "runing"),
    "no epoch": ("epoch", None),
    "epoch is no number": ("epoch", "one"),
    "no due": ("due", None),
    "due is no number": ("due", "soon"),
    "no tick": ("tick", None),
    "no slot": ("slot", None),
    "slot is no number": ("slot", "7x"),
    "no account": ("account", None),
    "fence is no number": ("fence", "never"),
    "lease is no number": ("lease_until", "x"),
    "resends is no number": ("resends", "-"),
}


class TestDamagedRecord:
    @pytest.mark.parametrize("name", DAMAGES)
    def test_a_sweep_fails_it_and_a_cleanup_ends_clean(self, damaged: DamageBench, name: str) -> None:
        damaged.start(OTHER)
        damaged.start()
        damaged.rest("left behind")
        damaged.damage(*DAMAGES[name])
        damaged.sweep()
        record = damaged.record()
        assert record.phase is Phase.FAILED
        assert record.stop_by == "state check"
        assert DAMAGES[name][0] in record.stop_reason
        assert (INSTANCE_ID, record.epoch) in damaged.publisher.cleanups
        # The other one is as it was.
        assert [each.instance_id for each in damaged.publisher.iterations] == [OTHER]
        assert damaged.record(OTHER).phase is Phase.RUNNING
        assert damaged.clean_up().is_clean
        assert damaged.venue.resting == {}
        assert damaged.record().phase is Phase.STOPPED
        assert damaged.start() > record.epoch

    def test_what_may_still_arrive_is_waited_for(self, damaged: DamageBench) -> None:
        damaged.start()
        damaged.damage("phase", "?")
        damaged.sweep()
        now_ms = damaged.context.instances.now_ms()
        assert now_ms + 500 < damaged.record().fence_ms <= now_ms + 1000

    def test_a_record_that_is_no_hash_is_failed_too(self, damaged: DamageBench) -> None:
        damaged.start()
        damaged.rest("left behind")
        damaged.client.set(keys.record(INSTANCE_ID), "what is this")
        damaged.sweep()
        assert damaged.record().phase is Phase.FAILED
        assert damaged.clean_up().is_clean
        assert damaged.venue.resting == {}

    def test_a_stopping_record_without_its_policy_cancels(self, damaged: DamageBench) -> None:
        damaged.start()
        damaged.rest("left behind")
        damaged.context.instances.request_stop(
            INSTANCE_ID, by="t", reason="", policy=StopPolicy(cancel_orders=False)
        )
        damaged.damage("stop_policy", "{")
        damaged.sweep()
        assert damaged.clean_up().is_clean
        assert damaged.venue.resting == {}

    @pytest.mark.parametrize("policy", ["{", "5"])
    def test_a_stop_joins_one_whose_policy_is_damaged(self, damaged: DamageBench, policy: str) -> None:
        damaged.start()
        for _ in range(2):
            result = damaged.context.instances.request_stop(
                INSTANCE_ID, by="t", reason="", policy=StopPolicy()
            )
            damaged.damage("stop_policy", policy)
        assert result.result == "failed"
        assert damaged.clean_up().is_clean

    def test_a_stop_of_it_repairs_it_without_a_worker(self, damaged: DamageBench) -> None:
        damaged.start()
        damaged.damage("epoch", "x")
        with pytest.raises(RecordUnreadable, match="cleanup mm_01"):
            damaged.context.instances.read(INSTANCE_ID)
        result = damaged.context.instances.request_stop(INSTANCE_ID, by="t", reason="", policy=StopPolicy())
        assert result.result == "failed"
        assert damaged.clean_up().is_clean

    def test_a_start_of_it_fails_it(self, damaged: DamageBench) -> None:
        damaged.start()
        damaged.damage("slot", "x")
        assert start_instance(damaged.context, INSTANCE_ID, by="t").result.result == "failed"

    def test_a_sound_record_is_left_alone(self, damaged: DamageBench) -> None:
        damaged.start()
        assert damaged.context.instances.fail(INSTANCE_ID) is None
        assert damaged.context.instances.fail(INSTANCE_ID, why="not this run", epoch=7) is None
        assert damaged.record().phase is Phase.RUNNING


class TestLongestWindow:
    """Where nothing says how long requests may arrive."""

    @pytest.mark.parametrize(("longest_ms", "margin_ms"), [(60_000, 3_000), (2_000, 0)])
    def test_the_longest_that_any_instance_may_have_is_waited_for(
        self, damaged: DamageBench, longest_ms: int, margin_ms: int
    ) -> None:
        damaged.start()
        damaged.settle_on(longest_window_ms=longest_ms, fence_margin_ms=margin_ms)
        damaged.client.delete(keys.record(INSTANCE_ID), keys.config(INSTANCE_ID))
        damaged.client.hset(keys.record(INSTANCE_ID), "phase", "?")
        damaged.sweep()
        left_ms = damaged.record().fence_ms - damaged.context.instances.now_ms()
        assert longest_ms + margin_ms - 500 < left_ms <= longest_ms + margin_ms

    def test_a_longer_one_is_not_started(self, damaged: DamageBench) -> None:
        damaged.settle_on(longest_window_ms=999)
        with pytest.raises(StartRefused, match="default_window is 1000 ms, above the 999 ms"):
            damaged.start()
        assert damaged.context.instances.read(INSTANCE_ID) is None
        damaged.settle_on(longest_window_ms=1000)
        assert damaged.start()


class TestConfiguration:
    def test_one_that_is_gone_is_read_from_its_file(self, damaged: DamageBench) -> None:
        epoch = damaged.start()
        damaged.rest("left behind")
        damaged.client.delete(keys.config(INSTANCE_ID))
        damaged.context.instances.request_stop(INSTANCE_ID, by="t", reason="", policy=StopPolicy())
        receipt = damaged.clean_up()
        assert (receipt.is_clean, receipt.epoch) == (True, epoch)
        assert damaged.venue.resting == {}

    @pytest.mark.parametrize("change", ["strategy", "params", "limits"])
    def test_one_that_this_version_does_not_understand_is_enough_to_cancel(
        self, damaged: DamageBench, change: str
    ) -> None:
        damaged.start()
        damaged.rest("left behind")
        text = json.loads(damaged.context.instances.config_json(INSTANCE_ID))
        if change == "strategy":
            text["metadata"]["strategy"] = "of_the_future"
        else:
            text[{"params": "strategy_config", "limits": "limits"}[change]] = {"unheard_of": 1}
        damaged.client.set(keys.config(INSTANCE_ID), json.dumps(text))
        damaged.context.instances.request_stop(INSTANCE_ID, by="t", reason="", policy=StopPolicy())
        assert damaged.clean_up().is_clean
        assert damaged.venue.resting == {}

    def test_one_that_cannot_be_read_is_not_called_clean_where_it_has_to_unwind(
        self, damaged: DamageBench
    ) -> None:
        damaged.start()
        damaged.rest("left behind")
        damaged.client.set(keys.config(INSTANCE_ID), "{")
        policy = StopPolicy(unwind=True)
        damaged.context.instances.request_stop(INSTANCE_ID, by="t", reason="", policy=policy)
        receipt = damaged.clean_up()
        assert not receipt.is_clean
        assert "cannot be brought back" in receipt.attempts[-1].problem
        assert damaged.venue.resting == {}

    def test_without_any_the_attempt_says_what_to_do(self, damaged: DamageBench) -> None:
        damaged.start()
        damaged.client.delete(keys.config(INSTANCE_ID))
        file = damaged.settings.config_dir / f"{INSTANCE_ID}.json"
        text = file.read_text()
        file.unlink()
        damaged.context.instances.request_stop(INSTANCE_ID, by="t", reason="", policy=StopPolicy())
        receipt = damaged.clean_up()
        assert not receipt.is_clean
        assert "put its file back" in receipt.attempts[-1].problem
        file.write_text(text)
        assert damaged.clean_up().is_clean


class TestLostState:
    def test_orders_without_a_record_are_cleaned_up_before_a_start(self, damaged: DamageBench) -> None:
        damaged.rest("of before")
        with pytest.raises(StateLost, match="of before"):
            damaged.start()
        record = damaged.record()
        assert (record.phase, record.epoch) == (Phase.FAILED, 1)
        assert record.fence_ms > damaged.context.instances.now_ms()
        assert damaged.clean_up().is_clean
        assert damaged.venue.resting == {}
        assert damaged.start() == 2

    def test_orders_behind_a_clean_stop_are_cleaned_up_too(self, damaged: DamageBench) -> None:
        damaged.start()
        damaged.context.instances.request_stop(INSTANCE_ID, by="t", reason="", policy=StopPolicy())
        assert damaged.clean_up().is_clean
        damaged.rest("of nowhere")
        with pytest.raises(StateLost):
            damaged.start()
        assert (damaged.record().phase, damaged.record().epoch) == (Phase.FAILED, 2)
        assert damaged.clean_up().is_clean
        assert damaged.start() == 3

    def test_orders_that_a_stop_kept_are_known(self, damaged: DamageBench) -> None:
        damaged.start()
        damaged.rest("kept")
        damaged.context.instances.request_stop(
            INSTANCE_ID, by="t", reason="", policy=StopPolicy(cancel_orders=False)
        )
        assert damaged.clean_up().is_clean
        assert damaged.start() == 2

    def test_a_list_that_lags_is_no_loss(self, damaged: DamageBench) -> None:
        damaged.rest("cancelled long ago")
        lagging = list(damaged.venue.resting.values())
        damaged.venue.resting.clear()
        damaged.venue.always["open_orders"] = lambda *_: lagging
        assert damaged.start() == 1

    def test_orders_of_others_are_none_of_its_business(self, damaged: DamageBench) -> None:
        damaged.venue.rest(order("theirs", factories.client_order_id(slot=damaged.slot % 4095 + 1)))
        assert damaged.start() == 1

    @pytest.mark.parametrize(("result", "first"), [("clean", 8), ("", 0)])
    def test_the_ledger_knows_which_run_was_the_last(
        self, damaged: DamageBench, result: str, first: int
    ) -> None:
        events = [("started", {"account": ACCOUNT})]
        if result:
            events.append(("finished", {"result": "stopped", "outcome": json.dumps({"result": result})}))
        with open_ledger(damaged.settings.ledger_url) as ledger:
            ledger.book([event(name, number, said) for number, (name, said) in enumerate(events)])
        if first:
            assert damaged.start() == first
            return
        with pytest.raises(StateLost, match="run 7"):
            damaged.start()
        assert damaged.record().epoch == 8
        assert damaged.clean_up().is_clean
        assert damaged.start() == 9

    def test_a_cleanup_by_hand_needs_the_file_alone(self, damaged: DamageBench) -> None:
        damaged.rest("of before")
        assert fail_unknown(damaged.context, INSTANCE_ID) is not None
        assert damaged.clean_up().is_clean
        assert damaged.venue.resting == {}

    def test_a_missing_record_that_is_due_is_failed(self, damaged: DamageBench) -> None:
        damaged.start()
        damaged.rest("left behind")
        damaged.client.delete(keys.record(INSTANCE_ID))
        damaged.sweep()
        assert damaged.record().phase is Phase.FAILED
        assert damaged.clean_up().is_clean
        assert damaged.venue.resting == {}


class TestLostLists:
    def test_whoever_is_on_no_list_of_the_sweep_is_put_back(self, damaged: DamageBench) -> None:
        damaged.start()
        damaged.client.delete(keys.DUE)
        assert damaged.context.due.look_again(now_ms=5) == 1
        assert damaged.context.due.look_again(now_ms=5) == 0
        assert damaged.client.zscore(keys.DUE, INSTANCE_ID) == 5

    def test_the_list_of_instances_is_made_anew_from_the_records(self, damaged: DamageBench) -> None:
        damaged.start()
        damaged.client.delete(keys.INSTANCES)
        damaged.context.due.look_again(now_ms=0)
        assert damaged.client.smembers(keys.INSTANCES) == {INSTANCE_ID}

    def test_stopped_instances_stay_off_the_list(self, damaged: DamageBench) -> None:
        damaged.start()
        damaged.context.instances.request_stop(INSTANCE_ID, by="t", reason="", policy=StopPolicy())
        assert damaged.clean_up().is_clean
        assert damaged.context.due.look_again(now_ms=0, at_once=True) == 0
        assert damaged.client.zscore(keys.DUE, INSTANCE_ID) is None

    def test_at_once_means_before_what_was_waited_for(self, damaged: DamageBench) -> None:
        damaged.start()
        damaged.client.zadd(keys.DUE, {INSTANCE_ID: 10**15})
        damaged.context.due.look_again(now_ms=5)
        assert damaged.client.zscore(keys.DUE, INSTANCE_ID) == 10**15
        damaged.context.due.look_again(now_ms=5, at_once=True)
        assert damaged.client.zscore(keys.DUE, INSTANCE_ID) == 5


def event(name: str, number: int, said: dict[str, str]) -> EventBooking:
    at_ms = 1_790_000_000_000 + number
    return EventBooking(
        account=said.get("account", ""),
        instance_id=INSTANCE_ID,
        epoch=7,
        stream_id=f"{at_ms}-0",
        event=name,
        at_ms=at_ms,
        fields=said,
    )
