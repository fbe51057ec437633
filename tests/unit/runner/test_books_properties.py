"""However late, doubled or out of order the evidence is, the sums come to what the exchange executed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from market.orders import OpenOrder, OrderStatus, Role
from market.position import Fill
from runner.books import Books
from tests import factories

ORDERS = 4


@dataclass
class Exchange:
    """What really happened."""

    orders: dict[str, OpenOrder] = field(default_factory=dict)
    fills: list[Fill] = field(default_factory=list)

    def fill(self, order_id: str, tenths: int) -> None:
        order = self.orders[order_id]
        part = min(order.remaining_quantity, Decimal(tenths) / 10)
        if not order.status.is_open or part == 0:
            return
        executed = order.executed_quantity + part
        status = OrderStatus.FILLED if executed == order.quantity else OrderStatus.PARTIALLY_FILLED
        self.orders[order_id] = replace(order, executed_quantity=executed, status=status)
        self.fills.append(
            Fill(
                trade_id=str(len(self.fills)),
                order_id=order_id,
                client_order_id=order.client_order_id,
                symbol=order.symbol,
                side=order.side,
                price=order.price or Decimal(0),
                quantity=part,
                fee=Decimal(0),
                fee_asset="USDC",
                is_maker=True,
                filled_at_ms=len(self.fills),
            )
        )

    def cancel(self, order_id: str) -> None:
        order = self.orders[order_id]
        if order.status.is_open:
            self.orders[order_id] = replace(order, status=OrderStatus.CANCELLED)


#: (what happens, to which order, how much or how far a list or history lags)
STEPS = st.tuples(
    st.sampled_from(["fill", "cancel", "cancel unseen", "list", "history", "look up", "save"]),
    st.integers(0, ORDERS - 1),
    st.integers(0, 10),
)


def happen(
    what: str, order_id: str, amount: int, books: Books, exchange: Exchange, past: list[dict[str, OpenOrder]]
) -> Books:
    """Let one thing happen, on the exchange or in what the books are shown of it."""
    match what:
        case "fill":
            exchange.fill(order_id, amount)
        case "cancel":
            exchange.cancel(order_id)
            books.end(order_id, exchange.orders[order_id].executed_quantity)
        case "cancel unseen":
            exchange.cancel(order_id)
        case "list":
            shown = past[max(0, len(past) - 1 - amount)]
            books.observe_list([order for order in shown.values() if order.status.is_open], {})
        case "history":
            books.count(exchange.fills[: max(0, len(exchange.fills) - amount)], factories.instrument())
        case "look up" if not exchange.orders[order_id].status.is_open:
            books.add(exchange.orders[order_id])
        case "save":
            books.close_what_is_over(len(past))
            return Books.model_validate_json(books.model_dump_json())
    return books


@settings(max_examples=150, deadline=None)
@given(steps=st.lists(STEPS, max_size=60))
def test_the_totals_come_to_what_was_executed(steps: list[tuple[str, int, int]]) -> None:
    # Given
    books, exchange = Books(), Exchange()
    books.begin(1)
    for number in range(ORDERS):
        placed = replace(
            factories.open_order(str(number)), client_order_id=factories.client_order_id(level=number)
        )
        exchange.orders[str(number)] = placed
        books.add(placed)
    past = [dict(exchange.orders)]
    # When
    for what, number, amount in steps:
        books = happen(what, str(number), amount, books, exchange, past)
        past.append(dict(exchange.orders))
    # Then: once everything is told, nothing is missing and nothing counted twice
    for order in exchange.orders.values():
        books.add(order)
    books.count(exchange.fills, factories.instrument())
    totals = books.totals_by_level()
    for number in range(ORDERS):
        executed = exchange.orders[str(number)].executed_quantity
        counted = totals.get((number, int(Role.QUOTE)))
        assert (counted.bought if counted else Decimal(0)) == executed
    assert books.unsettled((), ()) == frozenset()
    open_ids = {own.order.order_id for own in books.open_orders(factories.SYMBOL)}
    assert open_ids == {o.order_id for o in exchange.orders.values() if o.status.is_open}
