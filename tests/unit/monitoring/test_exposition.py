"""What Prometheus reads of a host and of the fleet."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import fakeredis
import pytest
import redis
from structlog.testing import capture_logs

from metrics.directory import write
from metrics.families import FAMILIES
from metrics.numbers import OTHER
from monitoring.exposition import FLEET_TTL_S, Exposition
from monitoring.gauges import REFUSED_REASONS
from state import keys
from tests.unit.monitoring.fleet_bench import FleetBench, series_of, value

ROOT = Path(__file__).parents[3]


@pytest.fixture
def bench(tmp_path: Path) -> FleetBench:
    """A state server in memory without an instance."""
    return FleetBench(fakeredis.FakeRedis(decode_responses=True), tmp_path / "metrics")


def test_what_never_happened_is_told_as_zero_so_that_its_first_time_is_an_increase(bench: FleetBench) -> None:
    series = bench.series()
    assert value(series, "cleanbook_orders_rejected_total", reason="auth") == 0
    assert value(series, "cleanbook_receipts_total", result="unverified") == 0
    assert value(series, "cleanbook_stop_seconds_count") == 0
    assert {name for name, _ in series} >= {
        f"{family.name}{'_count' if family.name.endswith('_seconds') else '_total'}" for family in FAMILIES
    }


def test_the_sums_of_all_files_are_told(bench: FleetBench) -> None:
    bench.directory.mkdir()
    reasons = "cleanbook_claims_refused"
    stops = ("cleanbook_stop_seconds",)
    buckets = [0.0] * 17
    for number in range(2):
        filled = list(buckets)
        filled[number], filled[-1] = 1.0, 0.02 * (number + 1)
        write(
            bench.directory / f"{4_194_990 + number}-0000000a.json",
            {(reasons, "iterate", "busy"): [2.0], (reasons, "iterate", OTHER): [1.0], stops: filled},
        )
    series = bench.series()
    assert value(series, f"{reasons}_total", task="iterate", reason="busy") == 4
    assert value(series, f"{reasons}_total", task="iterate", reason=OTHER) == 2
    assert value(series, "cleanbook_stop_seconds_bucket", le="0.005") == 1
    assert value(series, "cleanbook_stop_seconds_bucket", le="0.025") == 2
    assert value(series, "cleanbook_stop_seconds_bucket", le="+Inf") == 2
    assert value(series, "cleanbook_stop_seconds_sum") == pytest.approx(0.06)


def test_values_of_another_version_are_left_out(bench: FleetBench) -> None:
    bench.directory.mkdir()
    strange = {
        ("cleanbook_stop_seconds",): [1.0, 2.0],
        ("cleanbook_receipts",): [1.0],
        ("cleanbook_receipts", "clean", "more"): [1.0],
        ("unknown_family", "x"): [1.0],
    }
    write(bench.directory / "4194990-0000000a.json", strange)
    series = bench.series()
    assert value(series, "cleanbook_stop_seconds_count") == 0
    assert value(series, "cleanbook_receipts_total", result="clean") == 0
    assert not [name for name, _ in series if name.startswith("unknown")]


def test_an_instance_is_told_with_its_lateness_profit_and_position(bench: FleetBench) -> None:
    now_ms = bench.now_ms()
    today = {"day": "2999-01-01", "carried": "5", "base": "0", "total": "1", "epoch": 3}
    bench.instance(
        "bp_sol_01",
        due=now_ms - 400_000,
        committed_at=now_ms - 700_000,
        errors=2,
        order_ids="11,12",
        account="backpack:abc",
        books=json.dumps({"profit": {"net": "-1.5", "realized": "3.25", "fees": "0.5"}, "orders": {}}),
        daily=json.dumps(today),
    )
    series = bench.series()
    name = {"instance_id": "bp_sol_01"}
    assert value(series, "cleanbook_instance_lateness_seconds", **name) == pytest.approx(400, abs=60)
    assert value(series, "cleanbook_instance_heartbeat_age_seconds", **name) == pytest.approx(700, abs=60)
    assert value(series, "cleanbook_instance_open_orders", **name) == 2
    assert value(series, "cleanbook_instance_errors", **name) == 2
    assert value(series, "cleanbook_instance_position", **name) == -1.5
    assert value(series, "cleanbook_instance_realized", **name) == 2.75
    # Another day's result is no result of today.
    assert value(series, "cleanbook_instance_profit_today", **name) == 0
    assert value(series, "cleanbook_instance_phase", **name, phase="running") == 1
    info = {"strategy": "standard", "symbol": "SOL_USDC", "exchange": "backpack", "account": "backpack:abc"}
    assert value(series, "cleanbook_instance_info", **name, **info, live="true") == 1
    assert value(series, "cleanbook_instances", phase="running") == 1
    assert value(series, "cleanbook_budget_requests", account="backpack:abc") == 300


def test_an_iteration_that_runs_is_not_late(bench: FleetBench) -> None:
    now_ms = bench.now_ms()
    bench.instance("a", due=now_ms - 4_000, lease_until=now_ms + 60_000)
    bench.instance("b", "stopping", due=now_ms - 4_000, stop_requested_at=now_ms - 900_000)
    series = bench.series()
    assert value(series, "cleanbook_instance_lateness_seconds", instance_id="a") == 0
    assert value(series, "cleanbook_instance_lateness_seconds", instance_id="b") == 0
    assert value(series, "cleanbook_instance_heartbeat_age_seconds", instance_id="b") is None
    assert value(series, "cleanbook_instance_stopping_seconds", instance_id="b") == pytest.approx(900, abs=60)


@pytest.mark.parametrize("most", [0, 1, 3])
def test_trouble_has_series_first_and_no_more_have_any_than_the_setting_allows(
    bench: FleetBench, most: int
) -> None:
    for name, phase in (
        ("a", "stopped"),
        ("b", "running"),
        ("c", "failed"),
        ("d", "stopping"),
        ("e", "what"),
    ):
        bench.instance(name, phase)
    series = bench.series(most)
    shown = {dict(labels)["instance_id"] for name, labels in series if name == "cleanbook_instance_phase"}
    assert shown == set(["c", "e", "d"][:most])
    assert value(series, "cleanbook_instances_hidden") == 5 - most
    assert value(series, "cleanbook_instances", phase="damaged") == 1
    assert value(series, "cleanbook_instances", phase="failed") == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"books": "{"},
        {"books": json.dumps({"profit": {"net": "NaN", "realized": "1", "fees": "1"}})},
        {"books": json.dumps({"profit": {"net": "1", "realized": "Infinity", "fees": "1"}})},
        {"daily": json.dumps({"day": 5})},
        {"daily": "[" * 100_000},
        {"due": "soon"},
        {"epoch": "9" * 5000},
        {"phase": ""},
    ],
)
def test_a_damaged_record_hides_nothing_of_the_others(bench: FleetBench, fields: dict[str, Any]) -> None:
    bench.instance("bad", **fields)
    bench.instance("good")
    bench.client.lpush(keys.record("wrong_type"), "x")
    bench.client.sadd(keys.INSTANCES, "wrong_type")
    series = bench.series()
    assert value(series, "cleanbook_instance_epoch", instance_id="good") == 3
    assert value(series, "cleanbook_instance_phase", instance_id="wrong_type", phase="damaged") == 1
    assert all(math.isfinite(each) for each in series.values())


def test_a_name_that_is_no_label_can_be_written_and_read(bench: FleetBench) -> None:
    bench.instance('a"b\\c\n')
    assert value(bench.series(), "cleanbook_instance_epoch", instance_id='a"b\\c\n') == 3


def test_reasons_that_nobody_planned_are_one(bench: FleetBench) -> None:
    for reason, count in (("unsigned", 2), ("x" * 5000, 3), ("y", 4)):
        bench.client.hset(keys.REFUSED, reason, count)
    series = bench.series()
    assert value(series, "cleanbook_messages_refused_total", reason="unsigned") == 2
    assert value(series, "cleanbook_messages_refused_total", reason=OTHER) == 7
    assert value(series, "cleanbook_messages_refused_total", reason="eta") == 0


def test_every_reason_for_which_a_message_is_refused_has_a_series() -> None:
    returned = re.compile(r'(?:note\(|return |else )"([a-z ]+)"')
    modules = ("gate", "envelope", "control", "strict")
    said = {
        word for module in modules for word in returned.findall((ROOT / "tasks" / f"{module}.py").read_text())
    }
    assert len(said) > 8
    assert said - set(REFUSED_REASONS) == set()


def test_workers_feeds_queues_and_books_are_told(bench: FleetBench) -> None:
    now_ms = bench.now_ms()
    beat = json.dumps({"queues": ["iterate"], "at_ms": now_ms})
    bench.client.hset(
        keys.WORKERS, mapping={"a": beat, "b": beat, "c": json.dumps({"queues": [], "at_ms": 1})}
    )
    feed = {"accounts": {"x": "streaming", "y": "<script>"}, "cannot_open": [], "at_ms": now_ms}
    bench.client.hset(keys.FEEDS, "f", json.dumps(feed))
    bench.client.lpush("cleanup", "one", "two")
    bench.instance("bp_sol_01")
    bench.client.hset(keys.market("backpack", "SOL_USDC"), "received_at", now_ms - 300_000)
    series = bench.series()
    assert value(series, "cleanbook_workers", queue="iterate") == 2
    assert value(series, "cleanbook_workers", queue="cleanup") == 0
    assert value(series, "cleanbook_queue_messages", queue="cleanup") == 2
    assert value(series, "cleanbook_feed_accounts", standing="streaming") == 1
    assert value(series, "cleanbook_feed_accounts", standing="other") == 1
    age = value(series, "cleanbook_book_age_seconds", venue="backpack", symbol="SOL_USDC")
    assert age == pytest.approx(300, abs=60)


def test_a_state_server_that_is_away_leaves_the_counts_of_the_host(bench: FleetBench) -> None:
    server = fakeredis.FakeServer()
    server.connected = False
    client = fakeredis.FakeRedis(server=server, decode_responses=True)
    bench = FleetBench(client, bench.directory)
    exposition = bench.exposition()
    with capture_logs() as logs:
        series = series_of(exposition.text()[0].decode())
        exposition._read_at_s = -math.inf
        exposition.text()
    assert value(series, "cleanbook_state_up") == 0
    assert value(series, "cleanbook_receipts_total", result="clean") == 0
    assert value(series, "cleanbook_feeds") is None
    assert len(logs) == 1


def test_without_the_fleet_only_this_host_is_told(bench: FleetBench) -> None:
    series = series_of(Exposition(bench.directory, None, most_instances=5).text()[0].decode())
    assert value(series, "cleanbook_metrics_up") == 1
    assert value(series, "cleanbook_state_up") is None


def test_the_fleet_is_read_once_however_many_scrape(
    bench: FleetBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s, reads = 100.0, []
    read = bench.fleet.read

    def counted() -> Any:
        reads.append(1)
        return read()

    monkeypatch.setattr(bench.fleet, "read", counted)
    exposition = bench.exposition(clock_s=lambda: now_s)
    for _ in range(5):
        exposition.text()
    assert len(reads) == 1
    now_s += FLEET_TTL_S
    exposition.text()
    assert len(reads) == 2


def test_no_right_to_ask_for_the_memory_hides_the_memory_alone(
    bench: FleetBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(section: str) -> Any:
        raise redis.ResponseError("NOPERM this user has no permissions")

    monkeypatch.setattr(bench.client, "info", refuse)
    series = bench.series()
    assert value(series, "cleanbook_state_used_bytes") is None
    assert value(series, "cleanbook_state_up") == 1


def test_openmetrics_is_spoken_to_whoever_asks_for_it(bench: FleetBench) -> None:
    text, content_type = bench.exposition().text("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert text.rstrip().endswith(b"# EOF")
