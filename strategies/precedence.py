"""Which of a decision's quotes come first where there is not room for all."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from market.orders import Quote, Role, Side


def innermost_first(quotes: Sequence[Quote], price: Decimal | None) -> list[int]:
    """Return the indices of `quotes`: exits first, then the nearest to `price`, those beyond it foremost.

    Levels decide between equal distances only: a grid's level is an index from below. Without a price the
    middle between the highest bid and the lowest ask of `quotes` stands in for it.
    """
    middle = _middle(quotes) if price is None else price

    def precedence(index: int) -> tuple[bool, Decimal, int, Side, int]:
        quote = quotes[index]
        outwards = middle - quote.price if quote.side is Side.BUY else quote.price - middle
        return quote.role is not Role.CLOSE, outwards, quote.level, quote.side, index

    return sorted(range(len(quotes)), key=precedence)


def _middle(quotes: Sequence[Quote]) -> Decimal:
    bids = [quote.price for quote in quotes if quote.side is Side.BUY]
    asks = [quote.price for quote in quotes if quote.side is Side.SELL]
    touch = [*([max(bids)] if bids else []), *([min(asks)] if asks else [])]
    return sum(touch, Decimal(0)) / max(len(touch), 1)
