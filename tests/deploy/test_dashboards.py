"""Dashboards and alerts ask for numbers that there are: their queries are run on a real stack's."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from cli.metrics import PASSWORD_FILE
from cli.stack.stack import ROOT, Stack, StackOptions
from runner.context import open_context
from tests.acceptance.command import plain_environ
from tests.acceptance.simulated_exchange import CANCEL_ONE, LIST_OPEN, SimulatedExchange, fault
from tests.acceptance.world import World, eventually
from tests.deploy.prometheus import FILES, Prometheus, scraping

pytestmark = pytest.mark.deploy

DASHBOARDS = ROOT / "deploy" / "grafana"
NAMES = ("fleet", "instance", "infrastructure")
RUNNING, STUCK = "dash_runs", "dash_stuck"
#: Long enough for two samples of everything, and for a rule to see them.
TRADES_S = 8.0
#: A metric with its matchers, as it stands in an expression.
SELECTOR = re.compile(r"\b((?:cleanbook[_:]|up\b)[a-z0-9_:]*)(\{[^}]*\})?")


@dataclass(frozen=True, kw_only=True)
class Scraped:
    """A Prometheus that has scraped a stack with trades, a stop that cannot be finished, and a feed."""

    prometheus: Prometheus
    log: str


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scraped]:
    """A stack of its own: the exchange has to be in trouble for a while."""
    run_dir, config_dir = tmp_path_factory.mktemp("stack"), tmp_path_factory.mktemp("instances")
    options = StackOptions(
        run_dir=run_dir, config_dir=config_dir, guard=True, metrics=True, environ=plain_environ()
    )
    with Stack(options) as stack:
        context = open_context(stack.settings())
        exchange = SimulatedExchange(stack.simulator_url)
        world = World(stack=stack, context=context, exchange=exchange, config_dir=config_dir)
        password = run_dir / PASSWORD_FILE
        eventually(password.exists, what="the password of the numbers")
        target = stack.metrics_url.removeprefix("http://").removesuffix("/metrics")
        with scraping(target, password, run_dir) as prometheus:
            for name in (RUNNING, STUCK):
                world.configure(name)
                world.start(name)
            eventually(lambda: prometheus.query("cleanbook_instance_position"), 60, what="a scrape")
            # Rates need time to pass.
            time.sleep(TRADES_S)
            exchange.set_faults(
                *(fault(each, "error", status=503) for each in (CANCEL_ONE, LIST_OPEN)),
            )
            world.request_stop(STUCK)
            eventually(lambda: prometheus.query("cleanbook_instance_stopping_seconds > 1"), 60, what="a stop")
            yield Scraped(prometheus=prometheus, log=(run_dir / "prometheus.log").read_text())
            world.close()
        exchange.close()
        context.client.close()


def queries(name: str) -> list[tuple[str, str]]:
    """Return the panels of a dashboard with each of their expressions, as Grafana would send them."""
    dashboard = json.loads((DASHBOARDS / f"{name}.json").read_text(encoding="utf-8"))
    return [
        (panel["title"], target["expr"].replace("$__rate_interval", "30s").replace("$instance_id", RUNNING))
        for panel in dashboard["panels"]
        for target in panel.get("targets", ())
    ]


@pytest.mark.parametrize("name", NAMES)
def test_every_query_of_a_dashboard_finds_series(scraped: Scraped, name: str) -> None:
    found = queries(name)
    assert len(found) > 8

    def empty() -> list[tuple[str, str]]:
        return [(title, query) for title, query in found if not scraped.prometheus.query(query)]

    eventually(lambda: not empty(), what=lambda: f"series for {empty()}")


@pytest.mark.parametrize("name", ["rules.yml", "alerts.yml"])
def test_every_number_that_rules_and_alerts_ask_for_is_there(scraped: Scraped, name: str) -> None:
    text = re.sub(r"#.*", "", (FILES / name).read_text(encoding="utf-8"))
    expressions = re.findall(r"expr: (?:\|\n((?: {10,}.*\n)+)|(.*)\n)", text)
    asked = {"".join(pair) for each in expressions for pair in SELECTOR.findall("".join(each))}
    assert len(asked) > 8

    def missing() -> set[str]:
        return {each for each in asked if not scraped.prometheus.query(each)}

    eventually(lambda: not missing(), what=lambda: f"series for {missing()}")


def test_a_question_for_a_number_that_is_not_there_would_be_noticed(scraped: Scraped) -> None:
    assert scraped.prometheus.query("sum(rate(cleanbook_iterations[30s]))") == []


def test_rules_are_evaluated_and_the_exchanges_trouble_is_alarmed(scraped: Scraped) -> None:
    rate, placed = 'cleanbook:iterations:rate5m{outcome="done"} > 0', "sum(cleanbook_orders_placed_total) > 0"
    eventually(lambda: scraped.prometheus.query(rate), what=rate)
    eventually(lambda: scraped.prometheus.query(placed), what=placed)
    eventually(lambda: "CleanbookStopNotClean" in scraped.prometheus.alerts(), 60, what="the alert")


def test_prometheus_needs_no_more_series_than_are_planned(scraped: Scraped) -> None:
    (found,) = scraped.prometheus.query('count({job="cleanbook"})')
    assert int(found["value"][1]) < 700


@pytest.mark.parametrize("name", NAMES)
def test_a_dashboard_is_whole(name: str) -> None:
    dashboard = json.loads((DASHBOARDS / f"{name}.json").read_text(encoding="utf-8"))
    panels = dashboard["panels"]
    assert dashboard["uid"] == f"cleanbook-{name}"
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        own = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & own, f"{panel['title']} lies over another panel"
        assert place["x"] + place["w"] <= 24
        cells |= own
        if panel["type"] != "row":
            assert panel["description"], panel["title"]
            assert {each["uid"] for each in _datasources(panel)} == {"${datasource}"}, panel["title"]


def _datasources(panel: dict[str, Any]) -> list[dict[str, str]]:
    return [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
