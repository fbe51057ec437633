"""The server of the numbers: for nobody without the password."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from monitoring.exposition import Exposition
from monitoring.server import MetricsServer

CREDENTIALS = ("cleanbook", "pass:word")


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """A server with a password, on loopback."""
    exposition = Exposition(tmp_path, None, most_instances=5)
    server = MetricsServer(exposition, address="127.0.0.1", port=0, credentials=CREDENTIALS)
    thread = threading.Thread(target=server.serve)
    thread.start()
    yield f"http://127.0.0.1:{server.port}"
    server.end()
    thread.join(10)
    assert not thread.is_alive()


def test_numbers_are_for_who_has_the_password(url: str) -> None:
    answer = requests.get(f"{url}/metrics", auth=CREDENTIALS, timeout=10)
    assert (answer.status_code, answer.headers["Content-Type"].split(";")[0]) == (200, "text/plain")
    assert "cleanbook_receipts_total" in answer.text


@pytest.mark.parametrize(
    "header", [None, "Basic", "Basic !!!", "Bearer x", "Basic Y2xlYW5ib29rOnBhc3M=", "Basic é"]
)
def test_nobody_else_gets_them(url: str, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header.encode("latin-1")}
    answer = requests.get(f"{url}/metrics", headers=headers, timeout=10)
    assert answer.status_code == 401
    assert "cleanbook_receipts" not in answer.text
    assert requests.get(f"{url}/health", timeout=10).text == "ok\n"


def test_there_is_nothing_else_and_nothing_to_change(url: str) -> None:
    assert requests.get(f"{url}/", auth=CREDENTIALS, timeout=10).status_code == 404
    assert requests.get(f"{url}/metrics?x=1", auth=CREDENTIALS, timeout=10).status_code == 200
    for method in ("POST", "PUT", "DELETE"):
        assert requests.request(method, f"{url}/metrics", auth=CREDENTIALS, timeout=10).status_code == 501
