"""State that is missing or damaged: the instance is failed and cleaned up, never started on top of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import redis

from cli.stack.valkey import ValkeyServer
from ledger.bookings import EventBooking
from ledger.database import open_ledger
from market.orders import OpenOrder
from runner import loaded
from runner.cleanup import run_cleanup
from runner.context import Context, open_context
from runner.lifecycle import StateLost, fail_unknown, start_instance
from runner.publisher import Iteration
from runner.receipt import Receipt
from runner.schedule import sweep
from settings import load
from state import keys
from state.client_ids import allocate_slot
from state.instances import Phase, Record, RecordUnreadable, StopPolicy
from tests import factories
from tests.factories import ACCOUNT, INSTANCE_ID
from tests.fake_venue import FakeVenue, OneVenue

OTHER = "mm_02"
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


class Publisher:
    """Keeps what a sweep publishes."""

    def __init__(self) -> None:
        self.cleanups: list[tuple[str, int]] = []
        self.iterations: list[Iteration] = []

    def publish_iteration(self, iteration: Iteration) -> None:
        self.iterations.append(iteration)

    def publish_cleanup(self, instance_id: str, epoch: int) -> None:
        self.cleanups.append((instance_id, epoch))

    def revoke(self, task_id: str) -> None:
        """Take back nothing."""

    def interrupt(self, task_id: str) -> None:
        """Cut short nothing."""


class Bench:
    """Instances with files, an exchange in memory, and what workers do."""

    def __init__(self, url: str, folder: Path) -> None:
        self.venue = FakeVenue()
        settings = load({"CLEANBOOK_RUN_DIR": str(folder)})
        self.settings = replace(settings, state_url=url, config_dir=folder, fence_margin_ms=0)
        context = open_context(self.settings)
        self.context: Context = replace(context, venues=OneVenue(self.venue))
        self.client = context.client
        self.publisher = Publisher()
        for name in (INSTANCE_ID, OTHER):
            content = json.loads(factories.instance_config().to_json())
            content["metadata"]["instance_id"] = name
            content["exchange_config"]["default_window"] = 1000
            (folder / f"{name}.json").write_text(json.dumps(content))

    @property
    def slot(self) -> int:
        """Return the instance's slot."""
        return allocate_slot(self.context.scripts, ACCOUNT, INSTANCE_ID)

    def start(self, name: str = INSTANCE_ID) -> int:
        """Start an instance; return the epoch."""
        result = start_instance(self.context, name, by="test").result
        assert result.started, result
        return result.epoch

    def rest(self, *order_ids: str) -> None:
        """Put orders of the instance on the book."""
        for level, order_id in enumerate(order_ids):
            number = factories.client_order_id(slot=self.slot, level=level)
            self.venue.rest(order(order_id, number))

    def damage(self, field: str, text: str | None) -> None:
        """Break a field of the record."""
        if text is None:
            self.client.hdel(keys.record(INSTANCE_ID), field)
        else:
            self.client.hset(keys.record(INSTANCE_ID), field, text)

    def sweep(self) -> None:
        """Do what workers do with everything that is due, as if all of it were."""
        self.context.due.look_again(now_ms=0, at_once=True)
        for _ in range(2):
            sweep(self.context, self.publisher)

    def record(self, name: str = INSTANCE_ID) -> Record:
        """Return how an instance stands."""
        record = self.context.instances.read(name)
        assert record is not None
        return record

    def clean_up(self) -> Receipt:
        """Run an attempt behind the fence."""
        self.client.hset(keys.record(INSTANCE_ID), "fence", 0)
        receipt = run_cleanup(self.context, INSTANCE_ID, epoch=self.record().epoch, by="test")
        assert receipt is not None
        return receipt


def order(order_id: str, client_order_id: int) -> OpenOrder:
    return replace(factories.open_order(order_id), client_order_id=client_order_id)


@pytest.fixture
def bench(
    redis_client: redis.Redis, valkey_server: ValkeyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Bench]:
    monkeypatch.setattr(loaded, "_known", {})
    bench = Bench(valkey_server.url, tmp_path)
    yield bench
    bench.client.close()


class TestDamagedRecord:
    @pytest.mark.parametrize("name", DAMAGES)
    def test_a_sweep_fails_it_and_a_cleanup_ends_clean(self, bench: Bench, name: str) -> None:
        bench.start(OTHER)
        bench.start()
        bench.rest("left behind")
        bench.damage(*DAMAGES[name])
        bench.sweep()
        record = bench.record()
        assert record.phase is Phase.FAILED
        assert record.stop_by == "state check"
        assert DAMAGES[name][0] in record.stop_reason
        assert (INSTANCE_ID, record.epoch) in bench.publisher.cleanups
        # The other one is as it was.
        assert [each.instance_id for each in bench.publisher.iterations] == [OTHER]
        assert bench.record(OTHER).phase is Phase.RUNNING
        assert bench.clean_up().is_clean
        assert bench.venue.resting == {}
        assert bench.record().phase is Phase.STOPPED
        assert bench.start() > record.epoch

    def test_what_may_still_arrive_is_waited_for(self, bench: Bench) -> None:
        bench.start()
        bench.damage("phase", "?")
        bench.sweep()
        now_ms = bench.context.instances.now_ms()
        assert now_ms + 500 < bench.record().fence_ms <= now_ms + 1000

    def test_a_record_that_is_no_hash_is_failed_too(self, bench: Bench) -> None:
        bench.start()
        bench.rest("left behind")
        bench.client.set(keys.record(INSTANCE_ID), "what is this")
        bench.sweep()
        assert bench.record().phase is Phase.FAILED
        assert bench.clean_up().is_clean
        assert bench.venue.resting == {}

    def test_a_stopping_record_without_its_policy_cancels(self, bench: Bench) -> None:
        bench.start()
        bench.rest("left behind")
        bench.context.instances.request_stop(
            INSTANCE_ID, by="t", reason="", policy=StopPolicy(cancel_orders=False)
        )
        bench.damage("stop_policy", "{")
        bench.sweep()
        assert bench.clean_up().is_clean
        assert bench.venue.resting == {}

    def test_a_stop_of_it_repairs_it_without_a_worker(self, bench: Bench) -> None:
        bench.start()
        bench.damage("epoch", "x")
        with pytest.raises(RecordUnreadable, match="cleanup mm_01"):
            bench.context.instances.read(INSTANCE_ID)
        result = bench.context.instances.request_stop(INSTANCE_ID, by="t", reason="", policy=StopPolicy())
        assert result.result == "failed"
        assert bench.clean_up().is_clean

    def test_a_start_of_it_fails_it(self, bench: Bench) -> None:
        bench.start()
        bench.damage("slot", "x")
        assert start_instance(bench.context, INSTANCE_ID, by="t").result.result == "failed"

    def test_a_sound_record_is_left_alone(self, bench: Bench) -> None:
        bench.start()
        assert bench.context.instances.fail(INSTANCE_ID) is None
        assert bench.context.instances.fail(INSTANCE_ID, why="not this run", epoch=7) is None
        assert bench.record().phase is Phase.RUNNING


class TestConfiguration:
    def test_one_that_is_gone_is_read_from_its_file(self, bench: Bench) -> None:
        epoch = bench.start()
        bench.rest("left behind")
        bench.client.delete(keys.config(INSTANCE_ID))
        bench.context.instances.request_stop(INSTANCE_ID, by="t", reason="", policy=StopPolicy())
        receipt = bench.clean_up()
        assert (receipt.is_clean, receipt.epoch) == (True, epoch)
        assert bench.venue.resting == {}

    @pytest.mark.parametrize("change", ["strategy", "params", "limits"])
    def test_one_that_this_version_does_not_understand_is_enough_to_cancel(
        self, bench: Bench, change: str
    ) -> None:
        bench.start()
        bench.rest("left behind")
        text = json.loads(bench.context.instances.config_json(INSTANCE_ID))
        if change == "strategy":
            text["metadata"]["strategy"] = "of_the_future"
        else:
            text[{"params": "strategy_config", "limits": "limits"}[change]] = {"unheard_of": 1}
        bench.client.set(keys.config(INSTANCE_ID), json.dumps(text))
        bench.context.instances.request_stop(INSTANCE_ID, by="t", reason="", policy=StopPolicy())
        assert bench.clean_up().is_clean
        assert bench.venue.resting == {}

    def test_one_that_cannot_be_read_is_not_called_clean_where_it_has_to_unwind(self, bench: Bench) -> None:
        bench.start()
        bench.rest("left behind")
        bench.client.set(keys.config(INSTANCE_ID), "{")
        policy = StopPolicy(unwind=True)
        bench.context.instances.request_stop(INSTANCE_ID, by="t", reason="", policy=policy)
        receipt = bench.clean_up()
        assert not receipt.is_clean
        assert "cannot be brought back" in receipt.attempts[-1].problem
        assert bench.venue.resting == {}

    def test_without_any_the_attempt_says_what_to_do(self, bench: Bench) -> None:
        bench.start()
        bench.client.delete(keys.config(INSTANCE_ID))
        file = bench.settings.config_dir / f"{INSTANCE_ID}.json"
        text = file.read_text()
        file.unlink()
        bench.context.instances.request_stop(INSTANCE_ID, by="t", reason="", policy=StopPolicy())
        receipt = bench.clean_up()
        assert not receipt.is_clean
        assert "put its file back" in receipt.attempts[-1].problem
        file.write_text(text)
        assert bench.clean_up().is_clean


class TestLostState:
    def test_orders_without_a_record_are_cleaned_up_before_a_start(self, bench: Bench) -> None:
        bench.rest("of before")
        with pytest.raises(StateLost, match="of before"):
            bench.start()
        record = bench.record()
        assert (record.phase, record.epoch) == (Phase.FAILED, 1)
        assert record.fence_ms > bench.context.instances.now_ms()
        assert bench.clean_up().is_clean
        assert bench.venue.resting == {}
        assert bench.start() == 2

    def test_orders_behind_a_clean_stop_are_cleaned_up_too(self, bench: Bench) -> None:
        bench.start()
        bench.context.instances.request_stop(INSTANCE_ID, by="t", reason="", policy=StopPolicy())
        assert bench.clean_up().is_clean
        bench.rest("of nowhere")
        with pytest.raises(StateLost):
            bench.start()
        assert (bench.record().phase, bench.record().epoch) == (Phase.FAILED, 2)
        assert bench.clean_up().is_clean
        assert bench.start() == 3

    def test_orders_that_a_stop_kept_are_known(self, bench: Bench) -> None:
        bench.start()
        bench.rest("kept")
        bench.context.instances.request_stop(
            INSTANCE_ID, by="t", reason="", policy=StopPolicy(cancel_orders=False)
        )
        assert bench.clean_up().is_clean
        assert bench.start() == 2

    def test_a_list_that_lags_is_no_loss(self, bench: Bench) -> None:
        bench.rest("cancelled long ago")
        lagging = list(bench.venue.resting.values())
        bench.venue.resting.clear()
        bench.venue.always["open_orders"] = lambda *_: lagging
        assert bench.start() == 1

    def test_orders_of_others_are_none_of_its_business(self, bench: Bench) -> None:
        bench.venue.rest(order("theirs", factories.client_order_id(slot=bench.slot % 4095 + 1)))
        assert bench.start() == 1

    @pytest.mark.parametrize(("result", "first"), [("clean", 8), ("", 0)])
    def test_the_ledger_knows_which_run_was_the_last(self, bench: Bench, result: str, first: int) -> None:
        events = [("started", {"account": ACCOUNT})]
        if result:
            events.append(("finished", {"result": "stopped", "outcome": json.dumps({"result": result})}))
        with open_ledger(bench.settings.ledger_url) as ledger:
            ledger.book([event(name, number, said) for number, (name, said) in enumerate(events)])
        if first:
            assert bench.start() == first
            return
        with pytest.raises(StateLost, match="run 7"):
            bench.start()
        assert bench.record().epoch == 8
        assert bench.clean_up().is_clean
        assert bench.start() == 9

    def test_a_cleanup_by_hand_needs_the_file_alone(self, bench: Bench) -> None:
        bench.rest("of before")
        assert fail_unknown(bench.context, INSTANCE_ID) is not None
        assert bench.clean_up().is_clean
        assert bench.venue.resting == {}

    def test_a_missing_record_that_is_due_is_failed(self, bench: Bench) -> None:
        bench.start()
        bench.rest("left behind")
        bench.client.delete(keys.record(INSTANCE_ID))
        bench.sweep()
        assert bench.record().phase is Phase.FAILED
        assert bench.clean_up().is_clean
        assert bench.venue.resting == {}


class TestLostLists:
    def test_whoever_is_on_no_list_of_the_sweep_is_put_back(self, bench: Bench) -> None:
        bench.start()
        bench.client.delete(keys.DUE)
        assert bench.context.due.look_again(now_ms=5) == 1
        assert bench.context.due.look_again(now_ms=5) == 0
        assert bench.client.zscore(keys.DUE, INSTANCE_ID) == 5

    def test_the_list_of_instances_is_made_anew_from_the_records(self, bench: Bench) -> None:
        bench.start()
        bench.client.delete(keys.INSTANCES)
        bench.context.due.look_again(now_ms=0)
        assert bench.client.smembers(keys.INSTANCES) == {INSTANCE_ID}

    def test_stopped_instances_stay_off_the_list(self, bench: Bench) -> None:
        bench.start()
        bench.context.instances.request_stop(INSTANCE_ID, by="t", reason="", policy=StopPolicy())
        assert bench.clean_up().is_clean
        assert bench.context.due.look_again(now_ms=0, at_once=True) == 0
        assert bench.client.zscore(keys.DUE, INSTANCE_ID) is None

    def test_at_once_means_before_what_was_waited_for(self, bench: Bench) -> None:
        bench.start()
        bench.client.zadd(keys.DUE, {INSTANCE_ID: 10**15})
        bench.context.due.look_again(now_ms=5)
        assert bench.client.zscore(keys.DUE, INSTANCE_ID) == 10**15
        bench.context.due.look_again(now_ms=5, at_once=True)
        assert bench.client.zscore(keys.DUE, INSTANCE_ID) == 5


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
