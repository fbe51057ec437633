"""The dashboard's own `/metrics`, for a Prometheus that has a token."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
import requests
from prometheus_client.parser import text_string_to_metric_families

from cli.stack.valkey import ValkeyServer
from tests.integration.web_bench import TIMEOUT_S, WebBench

pytestmark = pytest.mark.services


@pytest.fixture
def web(redis_client: redis.Redis, valkey_server: ValkeyServer, tmp_path: Path) -> Iterator[WebBench]:
    """A dashboard whose host has counted nothing yet."""
    bench = WebBench(valkey_server.url, tmp_path, metrics_dir=tmp_path / "metrics")
    yield bench
    bench.end()


def test_the_numbers_are_told_to_a_token_and_to_nobody_else(web: WebBench) -> None:
    web.start("bp_sol_01")
    token = web.services.tokens.make("prometheus")
    url = f"{web.origin}/metrics"
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        assert requests.get(url, headers=headers, timeout=TIMEOUT_S).status_code == 401
    told = requests.get(url, headers={"Authorization": f"Bearer {token}"}, timeout=TIMEOUT_S)
    assert (told.status_code, told.headers["Content-Type"].split(";")[0]) == (200, "text/plain")
    phases = {
        sample.labels["phase"]: sample.value
        for family in text_string_to_metric_families(told.text)
        for sample in family.samples
        if sample.name == "cleanbook_instances"
    }
    assert phases == {"stopped": 0, "running": 1, "stopping": 0, "failed": 0, "damaged": 0}
    assert token not in told.text
