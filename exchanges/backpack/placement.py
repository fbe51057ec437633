"""One placement request, single or batch, and what its answer says about each order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from exchanges.backpack import parse, refusals
from exchanges.backpack.build import order_body
from exchanges.backpack.client import Request, Response
from exchanges.backpack.rows import Row, UnreadableAnswer, load_json, load_rows
from exchanges.base import Authorization, PlaceResult
from exchanges.budget import RequestKind
from exchanges.errors import ExchangeError, OutcomeUnknown, PostOnlyWouldCross
from market.orders import NewOrder, OpenOrder


def placement_request(orders: Sequence[NewOrder], authorization: Authorization) -> Request:
    """Return the request that places `orders`, signed with exactly the authorised time.

    Raises:
        ValueError: an order is malformed, which is our own mistake.
    """
    bodies = [order_body(order) for order in orders]
    single = len(bodies) == 1
    return Request(
        method="POST",
        path="/api/v1/order" if single else "/api/v1/orders",
        kind=RequestKind.PLACE,
        payload=bodies[0] if single else bodies,
        instruction="orderExecute",
        timestamp_ms=authorization.signed_at_ms,
        window_ms=authorization.window_ms,
    )


def send(
    ask: Callable[[Request], Response], request: Request, orders: Sequence[NewOrder]
) -> list[PlaceResult]:
    """Send `request` for `orders` and return one result for each.

    Raises:
        ExchangeError: whatever befell the request as a whole, and so all of its orders.
    """
    answer = ask(request)
    if answer.status != 200:
        raise _unknown(f"{request.name}: HTTP {answer.status} promises nothing")
    try:
        rows = [Row(load_json(answer.body))] if len(orders) == 1 else load_rows(answer.body)
        if len(rows) != len(orders):
            raise UnreadableAnswer(f"{len(rows)} results for {len(orders)} orders")
    except UnreadableAnswer as error:
        raise _unknown(f"{request.name}: unreadable answer ({error})") from error
    return [_result(order, row, in_batch=len(orders) > 1) for order, row in zip(orders, rows, strict=True)]


def _result(order: NewOrder, row: Row, *, in_batch: bool) -> PlaceResult:
    try:
        error = refusals.batch_item_error(row) if in_batch else None
        if error is not None:
            return PlaceResult(error=error)
        if order.post_only and parse.expired_by_post_only(row):
            return PlaceResult(error=_would_cross())
        placed = parse.order(row)
    except UnreadableAnswer as unreadable:
        return PlaceResult(error=_unknown(f"order {order.client_order_id}: unreadable answer ({unreadable})"))
    if placed.client_order_id is None:
        placed = replace(placed, client_order_id=order.client_order_id)
    if not _is_about(placed, order):
        return PlaceResult(error=_unknown(f"order {order.client_order_id}: answered for another order"))
    return PlaceResult(order=placed)


def _is_about(placed: OpenOrder, order: NewOrder) -> bool:
    """Tell whether an answer shows the order that was sent; the exchange may only have shrunk it."""
    return (
        (placed.client_order_id, placed.symbol, placed.side)
        == (order.client_order_id, order.symbol, order.side)
        and (order.price is None or placed.price == order.price)
        and placed.quantity <= order.quantity
    )


def _would_cross() -> ExchangeError:
    return PostOnlyWouldCross("the exchange accepted a post-only order and expired it at once", status=200)


def _unknown(what: str) -> OutcomeUnknown:
    return OutcomeUnknown(f"{what}: ask for the client order id before sending it again")
