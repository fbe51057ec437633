"""Another configuration for a run: what it can take, what takes a restart, and that nobody's edit is lost."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import redis

from cli.stack.valkey import ValkeyServer
from exchanges.errors import Unavailable
from runner import config_edit, loaded
from runner.config import InstanceConfig, version_of
from runner.config_change import (
    ChangeRefused,
    ConfigChange,
    ConfigConflict,
    TakesRestart,
    change_config,
    differences,
)
from runner.config_edit import edit_config, read_config
from runner.config_errors import ConfigError
from runner.context import Context, open_context
from runner.iteration import run_iteration
from runner.loaded import load_running
from settings import load
from state import keys
from state.stop_policy import StopPolicy
from tests import factories
from tests.factories import ACCOUNT, INSTANCE_ID, SLOT
from tests.fake_venue import FakeVenue, OneVenue


@dataclass
class Editing:
    """A run of a market maker with a file, on a venue in memory."""

    context: Context
    venue: FakeVenue
    path: Path

    @property
    def layout(self) -> dict[str, Any]:
        return dict(json.loads(self.path.read_text()))

    def config(self, **sections: dict[str, Any]) -> InstanceConfig:
        """Return the file's configuration with some keys replaced."""
        layout = self.layout
        for name, keys_ in sections.items():
            layout[name] = {**layout.get(name, {}), **keys_}
        return InstanceConfig.from_json(json.dumps(layout))

    def change(self, config: InstanceConfig, **options: Any) -> ConfigChange:
        return change_config(self.context, config, by="somebody", **options)

    @property
    def running_version(self) -> str:
        record = self.context.instances.read(INSTANCE_ID)
        assert record is not None
        return record.config_version

    def iterate(self) -> None:
        """Run the iteration that was asked for."""
        run_iteration(self.context, INSTANCE_ID, epoch=1, tick=None, own_task_id="t")


@pytest.fixture
def editing(
    valkey_server: ValkeyServer,
    redis_client: redis.Redis,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Editing]:
    monkeypatch.setattr(loaded, "_known", {})
    config = factories.instance_config(
        strategy_config={
            "spread": 0.2,
            "quantity": 1,
            "max_orders": 1,
            "interval": 60,
            "enable_rebalance": False,
        }
    )
    path = tmp_path / f"{INSTANCE_ID}.json"
    path.write_text(config.to_json())
    venue = FakeVenue()
    settings = replace(load({}), state_url=valkey_server.url, config_dir=tmp_path)
    context: Context = replace(open_context(settings), venues=OneVenue(venue))
    context.instances.start(
        INSTANCE_ID,
        config_version=version_of(config),
        config_json=config.to_json(),
        slot=SLOT,
        account=ACCOUNT,
        by="test",
    )
    yield Editing(context, venue, path)
    context.client.close()


def test_the_next_iteration_decides_with_the_new_parameters_and_follows_at_once(editing: Editing) -> None:
    run_iteration(editing.context, INSTANCE_ID, epoch=1, tick=0, own_task_id="t")
    assert len(editing.venue.resting) == 2
    before = editing.running_version
    change = editing.change(editing.config(strategy_config={"max_orders": 3}))
    assert (change.base_version, change.version, change.takes_effect) == (
        before,
        editing.running_version,
        "next_iteration",
    )
    assert [(each.field, each.old, each.new) for each in change.changed] == [
        ("strategy_config.max_orders", 1, 3)
    ]
    editing.iterate()
    assert len(editing.venue.resting) == 6
    record = editing.context.instances.read(INSTANCE_ID)
    assert record is not None
    assert record.epoch == 1, "it was no restart"


def test_who_changed_what_is_an_event(editing: Editing) -> None:
    change = editing.change(editing.config(strategy_config={"spread": "0.4"}))
    event = editing.context.events.of_instance(INSTANCE_ID)[-1]
    assert (event.event, event.fields["by"]) == ("config_changed", "somebody")
    assert (event.fields["from"], event.fields["to"]) == (change.base_version, change.version)
    assert json.loads(event.fields["changed"]) == [
        {"field": "strategy_config.spread", "old": "0.2", "new": "0.4", "needs_restart": False}
    ]


@pytest.mark.parametrize(
    ("section", "values", "field"),
    [
        ("metadata", {"symbol": "ETH_USDC"}, "metadata.symbol"),
        ("metadata", {"market_type": "perp", "symbol": "SOL_USDC_PERP"}, "metadata.market_type"),
        ("metadata", {"strategy": "grid"}, "metadata.strategy"),
        ("exchange_config", {"api_key": "${OTHER}"}, "exchange_config.api_key"),
        ("exchange_config", {"base_url": "https://else.example"}, "exchange_config.base_url"),
        ("exchange_config", {"default_window": 9000}, "exchange_config.default_window"),
    ],
)
def test_what_a_cleanup_needs_takes_a_restart(
    editing: Editing, section: str, values: dict[str, Any], field: str
) -> None:
    layout = editing.layout
    layout[section] = {**layout[section], **values}
    if values.get("strategy") == "grid":
        layout["strategy_config"] = {"grid_upper_price": 2, "grid_lower_price": 1}
    if values.get("market_type") == "perp":
        layout["strategy_config"] = {"spread": 1}
    config = InstanceConfig.from_json(json.dumps(layout))
    before = editing.context.changes.config_of_run(INSTANCE_ID)
    with pytest.raises(TakesRestart, match=field):
        editing.change(config)
    assert editing.context.changes.config_of_run(INSTANCE_ID) == before
    assert editing.change(config, dry_run=True).takes_effect == "restart"


@pytest.mark.parametrize("key", ["live", "exclusive_symbol"])
def test_keys_beside_the_sections_take_a_restart(editing: Editing, key: str) -> None:
    config = InstanceConfig.from_json(json.dumps({**editing.layout, key: True}))
    with pytest.raises(TakesRestart, match=key):
        editing.change(config)


def test_one_field_that_takes_a_restart_holds_back_all(editing: Editing) -> None:
    config = editing.config(strategy_config={"spread": "0.4"}, metadata={"symbol": "ETH_USDC"})
    with pytest.raises(TakesRestart) as refused:
        editing.change(config)
    assert "spread" not in str(refused.value)
    assert editing.running_version == version_of(editing.config())


def test_a_dry_run_changes_nothing(editing: Editing) -> None:
    change = editing.change(editing.config(strategy_config={"spread": "0.4"}), dry_run=True)
    assert change.takes_effect == "next_iteration"
    assert change.at_ms is None
    assert editing.running_version == change.base_version


def test_of_two_changes_from_one_version_the_second_is_refused(editing: Editing) -> None:
    base = editing.running_version
    editing.change(editing.config(strategy_config={"spread": "0.4"}), base_version=base)
    with pytest.raises(ConfigConflict, match=base):
        editing.change(editing.config(strategy_config={"spread": "0.5"}), base_version=base)


def test_the_script_compares_the_version_once_more(editing: Editing) -> None:
    changes, epoch = editing.context.changes, 1

    def change(base: str) -> str:
        return changes.change_config(
            INSTANCE_ID,
            epoch=epoch,
            base_version=base,
            version="other",
            config_json="{}",
            by="test",
            changed_json="[]",
        ).result

    assert change("not this one") == "conflict"
    assert editing.context.changes.config_of_run(INSTANCE_ID).config_json == editing.path.read_text()
    epoch = 2
    assert change(editing.running_version) == "stale"


@pytest.mark.parametrize("phase", ["stopping", "failed", "stopped"])
def test_what_is_cleaned_up_keeps_its_configuration(editing: Editing, phase: str) -> None:
    editing.context.instances.request_stop(INSTANCE_ID, by="test", reason="", policy=StopPolicy())
    editing.context.client.hset(keys.record(INSTANCE_ID), "phase", phase)
    with pytest.raises(ChangeRefused, match=phase):
        editing.change(editing.config(strategy_config={"spread": "0.4"}))
    result = editing.context.changes.change_config(
        INSTANCE_ID,
        epoch=1,
        base_version=editing.running_version,
        version="other",
        config_json="{}",
        by="test",
        changed_json="[]",
    )
    assert result.result == phase
    assert editing.context.changes.config_of_run(INSTANCE_ID).config_json == editing.path.read_text()


def test_what_the_strategy_would_not_start_with_is_refused(editing: Editing) -> None:
    config = editing.config(strategy_config={"quantity": "0.001"})
    with pytest.raises(ChangeRefused, match="below the smallest order"):
        editing.change(config)
    assert "below the smallest order" in editing.change(config, dry_run=True).warnings[0]


def test_an_exchange_that_is_away_does_not_hold_a_change_up(editing: Editing) -> None:
    editing.venue.always["order_book"] = Unavailable("away")
    change = editing.change(editing.config(limits={"max_position": "2"}, strategy_config={"spread": "0.4"}))
    assert change.at_ms is not None
    assert "away" in change.warnings[0]


def test_a_shorter_interval_does_not_wait_for_the_longer_one(editing: Editing) -> None:
    run_iteration(editing.context, INSTANCE_ID, epoch=1, tick=0, own_task_id="t")
    editing.change(editing.config(strategy_config={"interval": 1}))
    editing.iterate()
    record = editing.context.instances.read(INSTANCE_ID)
    assert record is not None
    assert record.due_at_ms is not None
    assert record.due_at_ms - editing.context.instances.now_ms() <= 1_000
    assert record.tick == 2


def test_an_iteration_that_claimed_before_the_change_goes_on_with_what_its_run_has(editing: Editing) -> None:
    old = editing.running_version
    editing.change(editing.config(strategy_config={"spread": "0.4"}))
    found = load_running(editing.context, INSTANCE_ID, old, epoch=1)
    assert found.config.strategy_config.params.model_dump()["spread"] == Decimal("0.4")


def test_every_field_says_when_it_takes_effect() -> None:
    config = factories.instance_config()
    other = InstanceConfig.from_json(
        json.dumps(
            {
                **json.loads(config.to_json()),
                "stop": {"orders": "keep"},
                "limits": {"max_open_orders": 4},
            }
        )
    )
    assert {each.field: each.needs_restart for each in differences(config, other)} == {
        "stop.orders": False,
        "limits.max_open_orders": False,
    }


def test_an_edit_changes_the_run_and_of_the_file_only_what_was_edited(editing: Editing) -> None:
    own = editing.layout | {"$schema": "s.json", "daemon_config": {"log_dir": "x"}}
    own["metadata"]["name"] = "${NAME_OF_IT:-mine}"
    own["limits"] = {"max_position": 2.5}
    editing.path.write_text(json.dumps(own))
    editing.change(editing.config(metadata={"name": "mine"}))
    found = read_config(editing.context, INSTANCE_ID)
    assert found.running_version == found.version
    layout = json.loads(json.dumps(found.layout))
    layout["strategy_config"]["spread"] = "0.4"
    change = edit_config(editing.context, INSTANCE_ID, layout, base_version=found.version, by="web")
    assert change.takes_effect == "next_iteration"
    assert editing.running_version == change.version
    own["strategy_config"]["spread"] = "0.4"
    assert editing.layout == own


def test_an_edit_that_takes_a_restart_changes_the_file_alone(editing: Editing) -> None:
    found = read_config(editing.context, INSTANCE_ID)
    layout = json.loads(json.dumps(found.layout))
    layout["metadata"]["symbol"] = "ETH_USDC"
    running = editing.running_version
    change = edit_config(editing.context, INSTANCE_ID, layout, base_version=found.version, by="web")
    assert change.takes_effect == "restart"
    assert editing.running_version == running
    assert editing.layout["metadata"]["symbol"] == "ETH_USDC"


def test_an_edit_from_an_old_version_and_one_that_is_wrong_change_nothing(editing: Editing) -> None:
    before = editing.path.read_text()
    layout = editing.layout
    with pytest.raises(ConfigConflict):
        edit_config(editing.context, INSTANCE_ID, layout, base_version="old", by="web")
    layout["strategy_config"]["spread"] = -1
    version = read_config(editing.context, INSTANCE_ID).version
    with pytest.raises(ConfigError, match="spread"):
        edit_config(editing.context, INSTANCE_ID, layout, base_version=version, by="web")
    assert editing.path.read_text() == before


def test_an_edit_of_what_does_not_run_is_for_the_next_start(editing: Editing) -> None:
    editing.context.client.flushdb()
    found = read_config(editing.context, INSTANCE_ID)
    assert found.running_version == ""
    layout = json.loads(json.dumps(found.layout))
    layout["strategy_config"]["spread"] = "0.4"
    args = (editing.context, INSTANCE_ID, layout)
    assert edit_config(*args, base_version=found.version, by="web", dry_run=True).takes_effect == "restart"
    assert editing.layout["strategy_config"]["spread"] == "0.2"
    edit_config(*args, base_version=found.version, by="web")
    assert editing.layout["strategy_config"]["spread"] == "0.4"


@pytest.mark.parametrize(("runs", "has_file"), [(True, True), (True, False), (False, True)])
def test_of_two_edits_at_the_same_moment_the_second_is_refused(
    editing: Editing, monkeypatch: pytest.MonkeyPatch, runs: bool, has_file: bool
) -> None:
    if not runs:
        editing.context.client.flushdb()
    found = read_config(editing.context, INSTANCE_ID)
    if not has_file:
        editing.path.unlink()
    write = config_edit.write_file
    others: list[Future[ConfigChange]] = []

    def edit(spread: str) -> ConfigChange:
        layout = json.loads(json.dumps(found.layout))
        layout["strategy_config"]["spread"] = spread
        return edit_config(editing.context, INSTANCE_ID, layout, base_version=found.version, by="web")

    with ThreadPoolExecutor() as threads:

        def write_while_another_edits(path: Path, layout: Mapping[str, Any]) -> None:
            monkeypatch.setattr(config_edit, "write_file", write)
            others.append(threads.submit(edit, "0.5"))
            # Nothing to wait for where it is kept waiting; else it has ended by then.
            wait(others, timeout=0.3)
            write(path, layout)

        monkeypatch.setattr(config_edit, "write_file", write_while_another_edits)
        first = edit("0.4")
        with pytest.raises(ConfigConflict):
            others[0].result()
    assert editing.layout["strategy_config"]["spread"] == "0.4"
    assert read_config(editing.context, INSTANCE_ID).version == first.version
    if runs:
        assert editing.running_version == first.version
