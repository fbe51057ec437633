"""The book over its streams: joined with REST as documented, it is the book that REST shows."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from simulator.markets import MARKETS
from simulator.stream_books import Shown, TickerChannel
from simulator.stream_connection import StreamOptions
from simulator.stream_faults import StreamFaults
from simulator.stream_names import parse
from simulator.streams import Streams
from tests.unit.simulator.loopback import BID, Client, eventually, running
from tests.unit.simulator.small_exchange import SmallExchange
from tests.unit.simulator.stream_client import StreamClient, listening
from tests.unit.simulator.test_simulator_process import TINY, started

SPOT = "SOL_USDC"
Sides = dict[str, dict[Decimal, Decimal]]


@pytest.fixture
def client() -> Iterator[Client]:
    with running() as client:
        yield client


class Book:
    """What a client makes of a snapshot and the events; an event that does not fit fails the test."""

    def __init__(self, snapshot: dict[str, Any]) -> None:
        self.sides = sides_of(snapshot)
        self.update_id = int(snapshot["lastUpdateId"])
        self._joined = False

    def apply(self, event: dict[str, Any]) -> None:
        """Take over one event."""
        if event["u"] <= self.update_id and not self._joined:
            return
        if self._joined:
            assert event["U"] == self.update_id + 1, (event, self.update_id)
        else:
            assert event["U"] <= self.update_id + 1 <= event["u"], (event, self.update_id)
        self._joined = True
        for name, key in (("asks", "a"), ("bids", "b")):
            for price, quantity in event[key]:
                self.sides[name][Decimal(price)] = Decimal(quantity)
                if not Decimal(quantity):
                    del self.sides[name][Decimal(price)]
        self.update_id = event["u"]


def sides_of(depth: dict[str, Any]) -> Sides:
    return {
        name: {Decimal(price): Decimal(quantity) for price, quantity in depth[name]}
        for name in ("asks", "bids")
    }


def depth_of(client: Client, symbol: str = SPOT) -> dict[str, Any]:
    depth: dict[str, Any] = client.get("/api/v1/depth", symbol=symbol).json()
    return depth


class Traffic:
    """Orders and outside moves, made up from a seed, each of which changes the book or may."""

    def __init__(self, client: Client, seed: int) -> None:
        self._client = client
        self._random = random.Random(seed)

    def act(self) -> None:
        """Do one thing."""
        away = self._random.randrange(1, 300) / 100
        price = 150 - away
        chance = self._random.randrange(10)
        if chance < 3:
            self._client.place(price=f"{price:.2f}", quantity="1")
        elif chance < 5:
            self._client.post(
                "/sim/orders", {**BID, "account": "other", "side": "Ask", "price": f"{150 + away:.2f}"}
            )
        elif chance < 6:
            ids = self._client.witnessed_ids()
            if ids:
                self._client.cancel(orderId=self._random.choice(ids))
        elif chance < 8:
            trade = {"symbol": SPOT, "side": "Ask", "price": f"{price:.2f}", "quantity": "0.5"}
            self._client.post("/sim/trade", trade)
        elif chance < 9:
            self._client.place(side="Ask", price=f"{price:.2f}", quantity="3", timeInForce="IOC")
        else:
            self._client.post("/sim/market", {"symbol": SPOT, "price": f"{149 + away:.2f}"})


def caught_up(stream: StreamClient, name: str, update_id: int) -> bool:
    told = stream.of(name)
    return bool(told) and told[-1]["u"] >= update_id


@pytest.mark.parametrize("name", [f"depth.{SPOT}", f"depth.200ms.{SPOT}"])
def test_snapshot_and_events_join_into_the_book_that_rest_shows(client: Client, name: str) -> None:
    with listening(client, name) as stream:
        traffic = Traffic(client, 1)
        for _ in range(60):
            traffic.act()
        book = Book(depth_of(client))
        for _ in range(260):
            traffic.act()
        # A change that shows in any case, so that the last event has the last number.
        client.place(price="120.01")
        last = depth_of(client)
        eventually(lambda: caught_up(stream, name, int(last["lastUpdateId"])), "the last event is missing")
        told = stream.of(name)
        if name.startswith("depth.S"):
            assert len(told) > 150
        for event in told:
            book.apply(event)
        assert book.update_id == int(last["lastUpdateId"])
        assert book.sides == sides_of(last)


@pytest.mark.parametrize(
    "flow",
    [("--speed", "20"), ("--tape", str(TINY), "--tape-symbol", SPOT, "--speed", "0.001")],
    ids=["synthetic", "tape"],
)
def test_whatever_moves_the_book_the_events_tell_of_it(tmp_path: Path, flow: tuple[str, ...]) -> None:
    with started(tmp_path, *flow) as (_, client), listening(client, f"depth.{SPOT}") as stream:
        snapshots = []
        for number in range(40):
            snapshots.append(depth_of(client))
            price = Decimal(snapshots[-1]["bids"][-1][0]) - 1
            client.place(price=f"{price:.2f}", quantity="0.01", clientId=number)
        snapshots.append(depth_of(client))
        eventually(
            lambda: caught_up(stream, f"depth.{SPOT}", int(snapshots[-1]["lastUpdateId"])),
            "events are missing",
        )
        book, told = Book(snapshots[0]), {}
        for event in stream.of(f"depth.{SPOT}"):
            book.apply(event)
            told[book.update_id] = {name: dict(side) for name, side in book.sides.items()}
        compared = [s for s in snapshots if int(s["lastUpdateId"]) in told]
        assert len(compared) > 10
        for snapshot in compared:
            assert sides_of(snapshot) == told[int(snapshot["lastUpdateId"])]


def test_the_touch_has_the_numbers_of_the_depth(client: Client) -> None:
    with listening(client, f"depth.{SPOT}", f"bookTicker.{SPOT}") as stream:
        book, traffic = Book(depth_of(client)), Traffic(client, 2)
        for _ in range(300):
            traffic.act()
        client.place(price="120.01")
        last = int(depth_of(client)["lastUpdateId"])
        eventually(lambda: caught_up(stream, f"depth.{SPOT}", last), "the last event is missing")
        touches = {touch["u"]: touch for touch in stream.of(f"bookTicker.{SPOT}")}
        assert len(touches) > 20
        for event in stream.of(f"depth.{SPOT}"):
            book.apply(event)
            touch = touches.pop(event["u"], None)
            if touch is not None:
                bids, asks = book.sides["bids"], book.sides["asks"]
                assert (Decimal(touch["b"]), Decimal(touch["B"])) == max(bids.items())
                assert (Decimal(touch["a"]), Decimal(touch["A"])) == min(asks.items())
        assert touches == {}


def test_a_slower_stream_tells_several_changes_in_one_event(client: Client) -> None:
    slow, fast = f"depth.600ms.{SPOT}", f"depth.{SPOT}"
    with listening(client, slow, fast) as stream:
        for number in range(10):
            client.place(price=f"140.0{number}")
        changes = stream.until(fast, 10)
        last = changes[-1]["u"]
        eventually(lambda: caught_up(stream, slow, last), "the last event is missing")
        events = stream.of(slow)
        # How many depends on how quickly the orders came.
        assert len(events) < len(changes)
        for event in events:
            told = [change for change in changes if event["U"] <= change["u"] <= event["u"]]
            assert event["b"] == [change["b"][0] for change in told]
            assert (event["U"], event["u"]) == (told[0]["U"], told[-1]["u"])
        assert sum(len(event["b"]) for event in events) == len(changes)


def test_a_level_that_is_gone_is_told_with_zero(client: Client) -> None:
    with listening(client, f"depth.{SPOT}") as stream:
        order_id = client.place(price="140", quantity="0.5").json()["id"]
        stream.until(f"depth.{SPOT}", 1)
        client.cancel(orderId=order_id)
        told = stream.until(f"depth.{SPOT}", 2)
        assert [event["b"] for event in told] == [[["140.00", "0.50"]], [["140.00", "0.00"]]]


def test_an_empty_side_has_no_touch() -> None:
    def shown(bids: dict[Decimal, Decimal], update_id: int) -> Shown:
        return Shown(bids=bids, asks={}, update_id=update_id)

    channel = TickerChannel(MARKETS[SPOT], shown({}, 1))
    assert channel.message() is None
    channel.note(shown({Decimal(140): Decimal("0.5")}, 3))
    there = {"e": "bookTicker", "s": SPOT, "a": None, "A": None, "b": "140.00", "B": "0.50", "u": 3}
    assert channel.message() == there
    channel.note(shown({}, 4))
    assert channel.message() == there | {"b": None, "B": None, "u": 4}


def test_a_snapshot_lies_between_two_events_even_within_one_turn_of_the_loop() -> None:
    exchange = SmallExchange()
    exchange.show("149", "151")
    options = StreamOptions()
    streams = Streams(exchange.engine, lambda: 0, StreamFaults(1, exchange.journal), options)

    async def told() -> list[int]:
        connection = streams.open(lambda: None)
        streams.subscribe(connection, parse(f"depth.{SPOT}"), None)
        order = exchange.place(exchange.demo, price="140")
        waiting = [connection.waiting]
        # As the handler of a snapshot does, with no chance for the loop in between.
        streams.books.settle(SPOT)
        waiting.append(connection.waiting)
        exchange.engine.cancel(order)
        await asyncio.sleep(0)
        return [*waiting, connection.waiting]

    assert asyncio.run(told()) == [0, 1, 2]


def test_a_change_is_told_within_milliseconds(client: Client) -> None:
    with listening(client, f"depth.{SPOT}") as stream:
        for number in range(50):
            client.place(price=f"140.{number:02d}")
        told = stream.until(f"depth.{SPOT}", 50)
        delays_us = sorted(event["E"] - event["T"] for event in told)
        # Of the quicker ones: others may have the processor meanwhile, and a timer would delay them all.
        assert delays_us[12] < 10_000
