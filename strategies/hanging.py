"""Hanging orders: the other half of a filled pair stays where it is, to catch the way back.

A pair is the bid and the ask of one level. When one of them has filled completely, the other no longer
follows the mid: it stays until it fills, or until the mid is too far away. It takes its level's place on
its side, so hanging orders never make more orders rest than the ladder has layers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from pydantic import BaseModel, ConfigDict

from market.orders import OrderStatus, Quote, Role, Side
from market.position import Fill
from market.snapshot import OwnOrder, Snapshot


class Watched(BaseModel):
    """A quote that was seen resting, and what is known of its fills."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    order_id: str
    side: Side
    level: int
    quantity: Decimal
    #: By the fills seen since it was first watched.
    filled: Decimal = Decimal(0)


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """What is remembered of pairs between two decisions."""

    watched: tuple[Watched, ...] = ()
    #: Order ids.
    hanging: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Completed:
    side: Side
    #: None: it was placed and filled between two snapshots, so no list has shown its level.
    level: int | None


def observe(snapshot: Snapshot, pairs: Pairs, *, cancel_percent: Decimal) -> Pairs:
    """Return `pairs` with this snapshot's fills counted, and with the orders that hang now.

    A hanging order is forgotten when it no longer rests, when the mid is farther from it than
    `cancel_percent`, when less of it is left than the exchange takes as an order, or when the book shows
    that it must have been filled.
    """
    resting = _resting_quotes(snapshot)
    watched: list[Watched] = []
    completed: list[_Completed] = []
    done: set[str] = set()
    for entry in _counted(pairs.watched, resting, snapshot.fills):
        if entry.filled >= entry.quantity:
            done.add(entry.order_id)
            if entry.order_id not in pairs.hanging:
                completed.append(_Completed(side=entry.side, level=entry.level))
        elif entry.order_id in resting or (entry.level, int(Role.QUOTE)) in snapshot.unsettled:
            watched.append(entry)
    completed += _never_listed(snapshot.fills, {entry.order_id for entry in pairs.watched} | set(resting))

    open_quotes = [own for order_id, own in resting.items() if order_id not in done]
    still = [order_id for order_id in pairs.hanging if order_id in resting and order_id not in done]
    for each in completed:
        partner = _partner(each, open_quotes, still)
        if partner is not None:
            still.append(partner.order.order_id)
    return Pairs(
        watched=tuple(watched),
        hanging=tuple(each for each in still if _may_stay(resting[each], snapshot, cancel_percent)),
    )


def quotes(snapshot: Snapshot, order_ids: Sequence[str], side: Side) -> tuple[Quote, ...]:
    """Return the quotes that keep the hanging orders of `side` where they are, lowest level first."""
    resting = _resting_quotes(snapshot)
    hanging = [resting[order_id] for order_id in order_ids if order_id in resting]
    return tuple(
        Quote(side=side, price=own.order.price, quantity=own.order.remaining_quantity, level=own.level)
        for own in sorted(hanging, key=lambda own: own.level)
        if own.order.side is side and own.order.price is not None
    )


def around(hanging: Sequence[Quote], wanted: Iterable[Quote]) -> tuple[Quote, ...]:
    """Return the hanging quotes, then those of `wanted` that have neither their level nor their price."""
    levels = {quote.level for quote in hanging}
    prices = {quote.price for quote in hanging}
    return (
        *hanging,
        *(quote for quote in wanted if quote.level not in levels and quote.price not in prices),
    )


def _resting_quotes(snapshot: Snapshot) -> dict[str, OwnOrder]:
    return {
        own.order.order_id: own
        for own in snapshot.open_orders
        if own.role == Role.QUOTE
        and own.order.price is not None
        and own.order.status.is_open
        and own.order.status is not OrderStatus.TRIGGER_PENDING
    }


def _counted(
    watched: Sequence[Watched], resting: Mapping[str, OwnOrder], fills: Sequence[Fill]
) -> Iterator[Watched]:
    """Yield what is watched, and what rests and is not yet, with `fills` counted."""
    known = {entry.order_id for entry in watched}
    new = (
        Watched(order_id=order_id, side=own.order.side, level=own.level, quantity=own.order.quantity)
        for order_id, own in resting.items()
        if order_id not in known
    )
    filled: dict[str, Decimal] = {}
    for fill in fills:
        filled[fill.order_id] = filled.get(fill.order_id, Decimal(0)) + fill.quantity
    for entry in (*watched, *new):
        more = filled.get(entry.order_id)
        yield entry if more is None else entry.model_copy(update={"filled": entry.filled + more})


def _never_listed(fills: Sequence[Fill], known: set[str]) -> list[_Completed]:
    # Only orders that a list has shown are ever cancelled, so one that came and went was filled. A quote
    # is always the maker; a taker's fills belong to no pair.
    sides = {fill.order_id: fill.side for fill in fills if fill.is_maker}
    return [_Completed(side=side, level=None) for order_id, side in sides.items() if order_id not in known]


def _partner(filled: _Completed, open_quotes: Sequence[OwnOrder], hanging: Sequence[str]) -> OwnOrder | None:
    """Return the order that hangs because its pair was filled, None when there is none."""
    other = filled.side.opposite
    taken = {own.level for own in open_quotes if own.order.side is other and own.order.order_id in hanging}
    candidates = [own for own in open_quotes if own.order.side is other and own.level not in taken]
    if filled.level is not None:
        return next((own for own in candidates if own.level == filled.level), None)
    # Inner levels fill first, and the level of the order that is gone has nothing left on its side.
    paired = {own.level for own in open_quotes if own.order.side is filled.side}
    unpaired = (own for own in candidates if own.level not in paired)
    return min(unpaired, key=lambda own: (own.level, own.order.order_id), default=None)


def _may_stay(own: OwnOrder, snapshot: Snapshot, cancel_percent: Decimal) -> bool:
    order, book = own.order, snapshot.book
    if order.price is None or order.remaining_quantity < snapshot.instrument.min_quantity:
        return False
    if book.mid is None or book.best_bid is None or book.best_ask is None:
        return True
    if abs(order.price - book.mid) * 100 > cancel_percent * book.mid:
        return False
    # Others would trade with it where it rests: it is gone, or this book is older than it.
    return order.price < book.best_ask if order.side is Side.BUY else order.price > book.best_bid
