"""`python -m simulator` as others start it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from tests.unit.simulator.loopback import Client, eventually

ROOT = Path(__file__).parents[3]
TINY = ROOT / "tests" / "data" / "tiny_tape.jsonl"


@contextmanager
def started(directory: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], Client]]:
    port_file = directory / "port"
    process = subprocess.Popen(
        [sys.executable, "-m", "simulator", "--port", "0", "--port-file", str(port_file), *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    client = None
    try:
        eventually(lambda: port_file.exists() or process.poll() is not None, "no port file")
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        client = Client(f"http://127.0.0.1:{port_file.read_text()}")
        yield process, client
    finally:
        if client is not None:
            client.session.close()
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_where_it_listens_and_ends_at_once_with_its_journal_written(
    tmp_path: Path, number: signal.Signals
) -> None:
    journal = tmp_path / "journal.jsonl"
    with started(tmp_path, "--journal", str(journal)) as (process, client):
        assert process.stdout is not None
        assert client.url in process.stdout.readline()
        client.place(clientId=1)
        # Read while it runs: every line is there at once and whole.
        assert "order_accepted" in [json.loads(line)["event"] for line in journal.read_text().splitlines()]
        client.fault("*", "hang")
        with pytest.raises(requests.ReadTimeout):
            client.place(timeout_s=0.1)
        process.send_signal(number)
        # The request that hangs would be waited for much longer.
        assert process.wait(15) == 0
    entries = [json.loads(line) for line in journal.read_text().splitlines()]
    assert [entry["n"] for entry in entries] == list(range(1, len(entries) + 1))
    assert [entry["kind"] for entry in entries if entry["event"] == "fault"] == ["hang"]


def test_the_third_party_has_orders_on_every_market_and_the_market_moves(tmp_path: Path) -> None:
    with started(tmp_path, "--seed", "5") as (_, client):
        others = client.get("/sim/orders", account="other").json()
        assert len({order["symbol"] for order in others}) == 6
        assert {order["side"] for order in others} == {"Bid", "Ask"}
        eventually(
            lambda: len(client.get("/api/v1/trades", symbol="SOL_USDC").json()) >= 3,
            "the market stands still",
        )


def test_a_tape_sets_the_market_it_is_mapped_to_and_fills_from_it(tmp_path: Path) -> None:
    arguments = ("--tape", str(TINY), "--tape-symbol", "SOL_USDC", "--speed", "1000")
    with started(tmp_path, *arguments) as (_, client):
        eventually(
            lambda: len(client.get("/api/v1/trades", symbol="SOL_USDC").json()) == 3, "the tape did not play"
        )
        depth = client.get("/api/v1/depth", symbol="SOL_USDC").json()
        assert ["99.95", "1.5"] in depth["bids"]
        assert depth["asks"][:2] == [["100.02", "2"], ["100.05", "6"]]
        # Far from where SOL begins: the third party's orders stand around the tape's price.
        prices = [o["price"] for o in client.get("/sim/orders").json() if o["symbol"] == "SOL_USDC"]
        assert prices == ["90", "110.01"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--tape", "nowhere.jsonl"), "nowhere.jsonl"),
        (("--tape", str(ROOT / "pyproject.toml")), "line 1"),
        (("--accounts", str(TINY)), "expected a list of accounts"),
        (("--port", "1", "--host", "256.0.0.1"), "simulator:"),
    ],
)
def test_what_it_cannot_use_is_one_message_before_it_listens(
    tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    port_file = tmp_path / "port"
    ended = subprocess.run(
        [sys.executable, "-m", "simulator", "--port", "0", "--port-file", str(port_file), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 1
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    assert not port_file.exists()


def test_cancels_can_be_asynchronous_from_the_start(tmp_path: Path) -> None:
    with started(tmp_path, "--cancel-202", "--flow", "still") as (_, client):
        order_id = client.place().json()["id"]
        assert client.cancel(orderId=order_id).status_code == 202
        eventually(lambda: client.open_ids() == [], "the cancel never happened")
