"""An answer of the exchange that is spoiled leads to nothing, or to what would have been done anyway.

A whole run on the real state server, with the real adapter: it trades, one answer is spoiled, it trades on,
and it is stopped. Whatever the answer was: nothing is sent that is no order of the strategy's, no side
doubles up, and the stop ends clean with nothing left on the book.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import redis
import structlog
from hypothesis import given
from hypothesis import strategies as st

from cli.stack.valkey import ValkeyServer
from exchanges.backpack import client as backpack_client
from exchanges.backpack import parse, parse_market
from exchanges.backpack.rows import Row, UnreadableAnswer, load_json
from exchanges.errors import Refused
from runner import loaded
from runner.cleanup import run_cleanup
from runner.config import InstanceConfig
from runner.context import Context, open_context
from runner.iteration import run_iteration
from runner.loaded import LoadedInstance, from_config, parse_books
from runner.receipt import Receipt
from settings import Settings
from state import keys
from state.client_ids import decode
from state.record import Phase, Record
from state.stop_policy import StopPolicy
from strategies.limits import Limits
from tests.factories import ACCOUNT, SLOT, VERSION
from tests.fuzz.fuzzing import SLOW, fuzz, spoiled
from tests.fuzz.spoiling_exchange import (
    ORDER_TEMPLATE,
    READS,
    STEP,
    TICK,
    WRITES,
    SmallExchange,
    Spoil,
    now_ms,
    sessions,
    with_times,
)

FOLDER = Path(__file__).parents[1] / "data" / "configs"
MIDS = {"bp_btc_hedge_01": "100", "bp_eth_grid_01": "2700", "bp_sol_01": "128"}
SETTINGS = Settings(
    lease_ms=20_000,
    cleanup_lease_ms=20_000,
    fence_margin_ms=0,
    cleanup_soft_limit_s=60.0,
    requests_per_minute=1_000_000,
    simulator_url="http://fuzz.test",
)
MOST_NOTIONAL = Decimal(5_000)
STATUSES = (200, 200, 200, 200, 202, 204, 302, 400, 401, 404, 408, 429, 500, 503)
NUMBER = re.compile(r"\d+(\.\d+)?")


def instance_of(name: str) -> LoadedInstance:
    """Return an instance of a file, with limits and without real keys."""
    content = json.loads((FOLDER / f"{name}.json").read_text())
    content["live"] = False
    content["exchange_config"] = {}
    content.pop("daemon_config", None)
    config = InstanceConfig.from_json(json.dumps(content))
    limits = Limits(max_order_notional=MOST_NOTIONAL, max_open_orders=60, price_band_bps=Decimal(2_000))
    config = config.model_copy(update={"limits": limits})
    # A window that is over at once, so that a stop need not wait for it.
    return replace(from_config(config), limits=limits, interval_ms=1, window_ms=1)


@dataclass
class Run:
    """One run of one instance on one exchange."""

    context: Context
    name: str
    exchange: SmallExchange

    @property
    def record(self) -> Record:
        record = self.context.instances.read(self.name)
        assert record is not None
        return record

    def iterate(self) -> None:
        """Run one iteration, whenever it is due."""
        now_ms = self.context.instances.now_ms()
        self.context.client.hset(keys.record(self.name), mapping={"due": now_ms, "woken": now_ms})
        run_iteration(self.context, self.name, epoch=1, tick=None, own_task_id="task")

    def stop(self) -> Receipt:
        """Stop it and clean up, as often as it takes."""
        self.context.instances.request_stop(self.name, by="test", reason="tested", policy=StopPolicy())
        for _ in range(4):
            outcome = run_cleanup(self.context, self.name, epoch=1, by="test")
            assert outcome is not None
            if outcome.is_clean:
                return outcome
        pytest.fail(f"not clean: {outcome}")

    def net_by_the_books(self) -> Decimal:
        """Return what the run holds by its own books."""
        text = self.context.client.hget(keys.record(self.name), "books")
        return parse_books(str(text or "")).profit.net


Begin = Callable[[str], Run]


@pytest.fixture(autouse=True)
def _quiet() -> None:
    # A line for each of thousands of iterations takes longer than they do.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


@pytest.fixture
def begin(
    redis_client: redis.Redis, valkey_server: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Begin]:
    """Begin a run in an empty state server."""
    contexts: list[Context] = []
    instances = {path.stem: instance_of(path.stem) for path in FOLDER.glob("*.json")}

    def start(name: str) -> Run:
        redis_client.flushall()
        instance = instances[name]
        exchange = SmallExchange(instance.config.metadata.symbol, Decimal(MIDS.get(name, "100")))
        monkeypatch.setattr(backpack_client, "_new_session", sessions(exchange))
        monkeypatch.setitem(loaded._known, name, (VERSION, instance))
        while contexts:
            contexts.pop().client.close()
        contexts.append(open_context(replace(SETTINGS, state_url=valkey_server.url)))
        contexts[0].instances.start(
            name, config_version=VERSION, config_json="", slot=SLOT, account=ACCOUNT, by="test"
        )
        return Run(contexts[0], name, exchange)

    yield start
    for context in contexts:
        context.client.close()


def meaning(endpoint: str, symbol: str, body: bytes) -> Any:
    """Return what the adapter reads in an answer; raises `UnreadableAnswer` or `Refused`."""
    readers: dict[str, Callable[[bytes], Any]] = {
        "time": parse_market.server_time_ms,
        "market": parse_market.instrument,
        "depth": lambda body: replace(parse_market.order_book(symbol, body), updated_at_ms=0),
        "open orders": parse.orders,
        "order history": parse.orders,
        "find": lambda body: parse.order(Row(load_json(body))),
        "fills": parse.fills,
        "position": lambda body: parse.position(symbol, body),
        "balances": parse.balances,
    }
    return readers[endpoint](body)


def says_something_else(spoil: Spoil, symbol: str, right: Any) -> bool:
    """Tell whether a spoiled answer can be read, and says what is not so: nobody could see that."""
    if spoil.endpoint in WRITES:
        # "Refused", of what was carried out.
        return 400 <= spoil.status < 500 and spoil.status != 408
    if spoil.status != 200:
        return spoil.status == 404
    at_ms = now_ms()
    try:
        found = meaning(spoil.endpoint, symbol, with_times(spoil.body, at_ms))
    except (UnreadableAnswer, Refused):
        return False
    return bool(found != meaning(spoil.endpoint, symbol, with_times(json.dumps(right).encode(), at_ms)))


@dataclass(frozen=True)
class Usual:
    """What a run does with answers that are in order, or with one that never comes."""

    wanted: set[tuple[str, str, str]]
    most_resting: dict[str, Decimal]
    #: What each read would have got in the iteration of which one answer is spoiled.
    documents: dict[str, Any]


def trade(run: Run, moves: tuple[int, ...], spoil: Spoil | None) -> dict[str, Any]:
    """Let a run trade in a market that moves; one answer of the second iteration is spoiled."""
    exchange, documents = run.exchange, {}
    for number, ticks in enumerate(moves):
        exchange.mid += TICK * ticks
        if number == 1:
            documents, exchange.spoil = exchange.documents(), spoil
        run.iterate()
        if ticks % 2 and exchange.resting:
            exchange.hit(exchange.resting[0], Decimal("0.5"))
    return documents


def assert_is_an_order_of_the_run(body: dict[str, Any], exchange: SmallExchange) -> None:
    """Require of a placement what is true whatever was decided."""
    assert body["symbol"] == exchange.symbol
    assert body["side"] in {"Bid", "Ask"}
    assert body["timeInForce"] in {"GTC", "IOC"}
    assert decode(body["clientId"]).slot == SLOT
    assert NUMBER.fullmatch(body["price"]), body
    assert NUMBER.fullmatch(body["quantity"]), body
    assert Decimal(body["price"]) % TICK == 0
    assert Decimal(body["quantity"]) % STEP == 0
    assert Decimal(body["quantity"]) > 0


def wanted(exchange: SmallExchange) -> set[tuple[str, str, str]]:
    return {(body["side"], body["price"], body["quantity"]) for body in exchange.placed}


#: Ticks that the market moves before each iteration; after an odd number somebody trades with us.
MOVES = ((0, 0, 0), (1, 4, 0), (3, -5, 2))
USUAL: dict[tuple[str, tuple[int, ...], str], Usual] = {}


def usual_of(name: str, moves: tuple[int, ...], endpoint: str, begin: Begin) -> Usual:
    """Return what a run does in this market with answers that are in order, all but perhaps one.

    Where one does not come, the next iteration decides anew in a market that has moved.
    """
    key = (name, moves, endpoint)
    if key not in USUAL:
        run = begin(name)
        documents = trade(run, moves, Spoil(endpoint, 503, b"") if endpoint else None)
        exchange = run.exchange
        USUAL[key] = Usual(wanted(exchange), exchange.most_resting, documents)
    return USUAL[key]


@pytest.mark.services
@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.json")))
@fuzz(8, divisor=SLOW)
@given(data=st.data(), moves=st.sampled_from(MOVES))
def test_a_spoiled_answer_leads_to_no_order_that_was_not_wanted(
    name: str, data: st.DataObject, moves: tuple[int, ...], begin: Begin
) -> None:
    endpoint = data.draw(st.sampled_from((*READS, *WRITES)))
    usual, without = usual_of(name, moves, "", begin), usual_of(name, moves, endpoint, begin)
    right = ORDER_TEMPLATE if endpoint in WRITES else usual.documents[endpoint]
    spoil = Spoil(endpoint, data.draw(st.sampled_from(STATUSES)), data.draw(spoiled(right)))
    run = begin(name)
    exchange = run.exchange
    is_lie = says_something_else(spoil, exchange.symbol, right)
    # When
    trade(run, moves, spoil)
    # Then
    for body in exchange.placed:
        assert_is_an_order_of_the_run(body, exchange)
    if not is_lie:
        assert wanted(exchange) <= usual.wanted | without.wanted
        for side, most in exchange.most_resting.items():
            assert most <= max(usual.most_resting[side], without.most_resting[side])
    assert run.record.phase in {Phase.RUNNING, Phase.STOPPING}
    run.stop()
    assert exchange.resting == []
    if not is_lie:
        assert run.net_by_the_books() == exchange.net


@pytest.mark.services
def test_a_fill_of_the_future_hides_none_of_the_present(begin: Begin) -> None:
    run = begin("bp_sol_mm_01")
    exchange = run.exchange
    run.iterate()
    exchange.hit(exchange.resting[0], Decimal("0.5"))
    future = exchange.fills({})[0] | {"orderId": "9", "tradeId": 9, "timestamp": "2200-01-01T00:00:00"}
    exchange.spoil = Spoil("fills", 200, json.dumps([*exchange.fills({}), future]).encode())
    run.iterate()
    exchange.hit(exchange.resting[0], Decimal("0.5"))
    run.iterate()
    assert run.net_by_the_books() == exchange.net != 0
