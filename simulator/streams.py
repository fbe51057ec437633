"""Who subscribed to what, and what is told to them: the engine's announcements, messages, connections."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable
from decimal import Decimal

from simulator import stream_messages
from simulator.accounts import Account
from simulator.book import Trade
from simulator.engine import Engine
from simulator.markets import MARKETS
from simulator.observer import Observer
from simulator.orders import Fill, Order
from simulator.stream_books import BookStreams
from simulator.stream_connection import Connection, StreamOptions, Topic
from simulator.stream_faults import StreamFaults
from simulator.stream_figures import FigureStreams
from simulator.stream_messages import Data
from simulator.stream_names import Stream

BALANCES = "account.balanceUpdate"


class Streams(Observer):
    """The fan-out. What nobody subscribed to costs a look into a dictionary."""

    def __init__(
        self, engine: Engine, now_us: Callable[[], int], faults: StreamFaults, options: StreamOptions
    ) -> None:
        self._engine = engine
        self._now_us = now_us
        self.faults = faults
        self.options = options
        self.connections: dict[int, Connection] = {}
        self._opened = 0
        self._receivers: dict[Topic, dict[Connection, None]] = {}
        #: Names of the accounts that somebody hears of: most announcements end at a look into it.
        self._heard: set[str | None] = set()
        #: Assets whose balances will be told, and when they changed, µs.
        self._balances: dict[tuple[str, str], int] = {}
        self.books = BookStreams(engine, now_us, self._send_to_all)
        self.figures = FigureStreams(engine, now_us)
        engine.announce_to(self)

    def open(self, reset: Callable[[], None]) -> Connection:
        """Return a new connection; `reset` ends its socket."""
        self._opened += 1
        connection = Connection(self._opened, self.options.queue_messages, reset)
        self.connections[connection.number] = connection
        self.faults.opened(connection)
        return connection

    def close(self, connection: Connection) -> None:
        """Forget a connection that is gone."""
        connection.end()
        self.connections.pop(connection.number, None)
        self.faults.closed(connection)
        for topic in list(connection.topics):
            self._leave(connection, topic)

    def of_account(self, account: str | None) -> list[Connection]:
        """Return the connections that an account signed on; None: all."""
        return [c for c in self.connections.values() if account is None or account in c.accounts]

    def subscribe(self, connection: Connection, stream: Stream, account: Account | None) -> None:
        """Deliver a stream from now on, once however often it is subscribed to.

        `account` is whose private stream it is.
        """
        topic = (stream.name, account.name if account else None)
        if account is not None:
            connection.accounts[account.name] = None
        if topic in connection.topics or stream.silent:
            return
        connection.topics[topic] = None
        self._receivers.setdefault(topic, {})[connection] = None
        self._heard.add(topic[1])
        self.books.add(stream)
        self.figures.add(stream)
        if account is not None and stream.kind == "account.positionUpdate":
            self._show_positions(connection, stream, account)

    def unsubscribe(self, connection: Connection, stream: Stream) -> None:
        """Deliver a stream no longer, whose ever it is."""
        for topic in list(connection.topics):
            if topic[0] == stream.name:
                self._leave(connection, topic)

    def _leave(self, connection: Connection, topic: Topic) -> None:
        del connection.topics[topic]
        receivers = self._receivers[topic]
        del receivers[connection]
        if not receivers:
            del self._receivers[topic]
            self._heard = {account for _, account in self._receivers}
            self.books.remove(topic[0])
            self.figures.remove(topic[0])

    def _show_positions(self, connection: Connection, stream: Stream, account: Account) -> None:
        for symbol, held in account.positions.items():
            if held.net != 0 and stream.symbol in {None, symbol}:
                at_us, mark = self._now_us(), self._engine.mark(symbol)
                data = {"E": at_us, "T": at_us} | stream_messages.position(symbol, held, mark)
                self._send([connection], stream.name, account.name, data)

    def order_changed(self, event: str, order: Order) -> None:
        """Tell the owner."""
        if order.account.name in self._heard:
            self._tell_of_order(event, order, None)

    def filled(self, fill: Fill) -> None:
        """Tell the owner at once: hedges wait for it."""
        if fill.order.account.name in self._heard:
            self._tell_of_order("orderFill", fill.order, fill)

    def _tell_of_order(self, event: str, order: Order, fill: Fill | None) -> None:
        self._tell_account(
            "account.orderUpdate",
            order.account,
            order.symbol,
            lambda: stream_messages.order_update(event, order, self._now_us(), fill),
        )

    def position_changed(self, account: Account, symbol: str, before: Decimal) -> None:
        """Tell the owner."""
        if account.name not in self._heard:
            return
        held = account.positions[symbol]
        event = "positionClosed" if held.net == 0 else "positionAdjusted" if before else "positionOpened"

        def message() -> Data:
            at_us = self._now_us()
            shown = stream_messages.position(symbol, held, self._engine.mark(symbol))
            return {"e": event, "E": at_us, "T": at_us} | shown

        self._tell_account("account.positionUpdate", account, symbol, message)

    def _tell_account(self, kind: str, account: Account, symbol: str, message: Callable[[], Data]) -> None:
        data = None
        for name in (kind, f"{kind}.{symbol}"):
            receivers = self._receivers.get((name, account.name))
            if receivers:
                data = message() if data is None else data
                self._send(receivers, name, account.name, data)

    def traded(self, symbol: str, trade: Trade) -> None:
        """Tell everybody."""
        name = f"trade.{symbol}"
        if (name, None) in self._receivers:
            self._send_to_all(name, stream_messages.trade(MARKETS[symbol], trade, self._now_us()))

    def balance_changed(self, account: Account, asset: str) -> None:
        """Tell the owner once the command is done: one order changes a balance several times."""
        if account.name not in self._heard or (BALANCES, account.name) not in self._receivers:
            return
        if not self._balances:
            asyncio.get_running_loop().call_soon(self._tell_balances)
        self._balances.setdefault((account.name, asset), self._now_us())

    def _tell_balances(self) -> None:
        changed, self._balances = self._balances, {}
        for (name, asset), at_us in changed.items():
            receivers = self._receivers.get((BALANCES, name), {})
            data = stream_messages.balance(self._engine.accounts[name], asset, at_us)
            self._send(receivers, BALANCES, name, data | {"E": self._now_us()})

    def book_touched(self, symbol: str) -> None:
        """Tell everybody once the command is done."""
        self.books.touched(symbol)

    def tell_figures(self) -> None:
        """Tell tickers, mark prices and candles; to be called once in `figures_s`."""
        for name, data in self.figures.due():
            self._send_to_all(name, data)

    def _send_to_all(self, name: str, data: Data) -> None:
        self._send(self._receivers.get((name, None), ()), name, None, data)

    def _send(self, receivers: Iterable[Connection], name: str, account: str | None, data: Data) -> None:
        text = json.dumps({"stream": name, "data": data}, separators=(",", ":"))
        for connection in list(receivers):
            self.faults.deliver(connection, name, account, text)
