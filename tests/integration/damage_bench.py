"""Instances with files, an exchange in memory, and what workers do about state that is lost or damaged."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from market.orders import OpenOrder
from runner.cleanup import run_cleanup
from runner.context import Context, open_context
from runner.lifecycle import start_instance
from runner.publisher import Iteration
from runner.receipt import Receipt
from runner.schedule import sweep
from settings import load
from state import keys
from state.client_ids import allocate_slot
from state.record import Record
from state.stop_policy import StopPolicy
from tests import factories
from tests.factories import ACCOUNT, INSTANCE_ID
from tests.fake_venue import FakeVenue, OneVenue

OTHER = "mm_02"


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


class DamageBench:
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

    def settle_on(self, **settings: int) -> None:
        """Let every process of ours have other settings from now on."""
        self.settings = replace(self.settings, **settings)  # type: ignore[arg-type]
        self.context = replace(self.context, settings=self.settings)

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

    def stop(self, policy: StopPolicy | None = None, *, by: str = "test") -> None:
        """Close the gate."""
        self.context.instances.request_stop(
            INSTANCE_ID, by=by, reason="tested", policy=policy or StopPolicy()
        )

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
