"""The simulated exchange as a process of its own, and orders for it."""

from __future__ import annotations

import base64
import itertools
import subprocess
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import requests
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from exchanges.backpack.config import Credentials
from exchanges.backpack.exchange import BackpackExchange
from exchanges.base import Authorization, PlaceResult
from market.instrument import Instrument
from market.orders import NewOrder, OpenOrder, OrderType, Side

ROOT = Path(__file__).parents[2]
SYMBOL = "SOL_USDC"
PERP = "SOL_USDC_PERP"
#: Of the adapter, so that a request that hangs does not take long.
READ_TIMEOUT_S = 0.5

client_order_ids = itertools.count(1000)


def credentials(seed: bytes) -> Credentials:
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    return Credentials(api_key=base64.b64encode(public).decode(), secret_key=base64.b64encode(seed).decode())


DEMO = credentials(b"\x01" * 32)


def direct_session() -> requests.Session:
    """Return a session that ignores the proxies of the environment."""
    session = requests.Session()
    session.trust_env = False
    return session


def start_simulator(port_file: Path, *options: str) -> tuple[subprocess.Popen[bytes], str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "simulator", "--port", "0", "--port-file", str(port_file), *options], cwd=ROOT
    )
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if port_file.exists() and (text := port_file.read_text().strip()):
            return process, f"http://127.0.0.1:{int(text)}"
        if process.poll() is not None:
            pytest.fail(f"the simulator ended with {process.returncode} before it listened")
        time.sleep(0.02)
    process.kill()
    process.wait()
    pytest.fail("the simulator did not listen within 30 s")


def stop_simulator(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def authorize(exchange: BackpackExchange, *, window_ms: int = 5_000, ago_ms: int = 0) -> Authorization:
    return Authorization(signed_at_ms=exchange.clock.now_ms() - ago_ms, window_ms=window_ms)


def make_order(exchange: BackpackExchange, instrument: Instrument, **fields: Any) -> NewOrder:
    """Return a buy that rests: a tenth below the best bid, inside the exchange's price bands."""
    best_bid = exchange.order_book(instrument.symbol).best_bid
    assert best_bid is not None
    values: dict[str, Any] = {
        "client_order_id": next(client_order_ids),
        "symbol": instrument.symbol,
        "side": Side.BUY,
        "order_type": OrderType.LIMIT,
        "quantity": instrument.min_quantity * 10,
        "price": instrument.round_price(best_bid * Decimal("0.9"), Side.BUY),
        "post_only": True,
    }
    return NewOrder(**(values | fields))


def placed(result: PlaceResult) -> OpenOrder:
    assert result.error is None
    assert result.order is not None
    return result.order


def eventually(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)
