"""What the streams say: the engine's values as the `data` of a message. Times are µs unless ISO."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from simulator.accounts import Account, Position
from simulator.book import OutsideBook, Trade
from simulator.markets import MARKETS, Market
from simulator.orders import Fill, Order, rounded, text
from simulator.published import Figures

Data = dict[str, Any]

#: The outside market's orders have no ids of their own: made up from the trade, far from accounts' ids.
OUTSIDE_ORDER = 10**12


def padded(value: Decimal, unit: Decimal) -> str:
    """Return a decimal with at least as many decimals as a tick or step has, as the streams write it."""
    written = text(value)
    decimals = -int(unit.as_tuple().exponent)
    whole, _, fraction = written.partition(".")
    return f"{whole}.{fraction.ljust(decimals, '0')}" if decimals > 0 else written


def order_update(event: str, order: Order, at_us: int, fill: Fill | None = None) -> Data:
    """Return what `account.orderUpdate` says of an order, with its last fill if there is one."""
    wanted, market = order.wanted, order.wanted.market
    data: Data = {
        "e": event,
        "E": at_us,
        "T": at_us,
        "O": "USER" if wanted.system_order_type is None else "LIQUIDATION_AUTOCLOSE",
        "s": market.symbol,
        "S": wanted.side,
        "o": wanted.order_type.upper(),
        "f": wanted.time_in_force,
        "q": padded(order.quantity, market.step),
        "X": order.status,
        "i": str(order.order_id),
        "V": wanted.self_trade_prevention,
        "r": wanted.reduce_only,
        "t": None,
        "z": padded(order.executed, market.step) if order.executed else "0",
        "Z": text(order.executed_quote),
    }
    if wanted.client_id is not None:
        data["c"] = wanted.client_id
    if wanted.quote_quantity is not None:
        data["Q"] = text(wanted.quote_quantity)
    if wanted.price is not None:
        data["p"] = padded(wanted.price, market.tick)
    if wanted.order_type == "Limit" or fill is not None:
        data["y"] = wanted.post_only
    if event == "orderExpired":
        data["R"] = order.expiry_reason
    if fill is not None:
        data |= {
            "t": fill.trade_id,
            "l": padded(fill.quantity, market.step),
            "L": padded(fill.price, market.tick),
            "m": fill.maker,
            "n": text(fill.fee),
            "N": fill.fee_asset,
        }
    return data


def position(symbol: str, held: Position, mark: Decimal) -> Data:
    """Return what `account.positionUpdate` says of a position, without event and times."""
    market = MARKETS[symbol]
    margins = market.wire()
    return {
        "s": symbol,
        "i": int(held.position_id or 0),
        "q": padded(held.net, market.step),
        "Q": padded(abs(held.net), market.step),
        "b": text(rounded(held.entry)),
        "B": text(rounded(held.entry)),
        "M": text(mark),
        "n": text(rounded(abs(held.net) * mark)),
        "p": text(rounded(held.realized)),
        "P": text(rounded((mark - held.entry) * held.net)),
        "f": margins["imfFunction"]["base"],
        "m": margins["mmfFunction"]["base"],
        "l": "0",
    }


def balance(account: Account, asset: str, at_us: int) -> Data:
    """Return what `account.balanceUpdate` says: absolute figures."""
    return {
        "e": "balanceUpdate",
        "E": at_us,
        "T": at_us,
        "a": asset,
        "A": text(account.available(asset)),
        "L": text(account.locked.get(asset, Decimal(0))),
        "S": "0",
    }


def trade(market: Market, made: Trade, at_us: int) -> Data:
    """Return a public trade."""
    buyer, seller = made.maker_order_id, made.taker_order_id
    if not made.buyer_is_maker:
        buyer, seller = seller, buyer
    made_up = OUTSIDE_ORDER + 2 * made.trade_id
    return {
        "e": "trade",
        "E": at_us,
        "T": at_us,
        "s": market.symbol,
        "p": padded(made.price, market.tick),
        "q": padded(made.quantity, market.step),
        "b": str(made_up if buyer is None else buyer),
        "a": str(made_up + 1 if seller is None else seller),
        "t": made.trade_id,
        "m": made.buyer_is_maker,
    }


def ticker(symbol: str, day: Figures, at_us: int) -> Data:
    """Return the day's figures."""
    return {
        "e": "ticker",
        "E": at_us,
        "s": symbol,
        "o": text(day.first),
        "c": text(day.last),
        "h": text(day.high),
        "l": text(day.low),
        "v": text(day.volume),
        "V": text(day.quote_volume),
        "n": day.trades,
    }


def mark_price(book: OutsideBook, funding_rate: Decimal, next_funding_ms: int, at_us: int) -> Data:
    """Return mark and index price, which are one here."""
    return {
        "e": "markPrice",
        "E": at_us,
        "T": at_us,
        "s": book.market.symbol,
        "p": text(book.mid),
        "i": text(book.mid),
        "f": text(funding_rate),
        "n": next_funding_ms,
    }


def open_interest(symbol: str, at_us: int) -> Data:
    """Return the open interest, which is nothing here, as over REST."""
    return {"e": "openInterest", "E": at_us, "s": symbol, "o": "0"}


def candle(symbol: str, start_s: int, interval_s: int, shown: Figures, *, closed: bool) -> Data:
    """Return a candle without its event time."""
    return {
        "s": symbol,
        "t": _naive(start_s),
        "T": _naive(start_s + interval_s),
        "o": text(shown.first),
        "c": text(shown.last),
        "h": text(shown.high),
        "l": text(shown.low),
        "v": text(shown.volume),
        "n": shown.trades,
        "X": closed,
    }


def _naive(at_s: int) -> str:
    return datetime.fromtimestamp(at_s, tz=UTC).strftime("%Y-%m-%dT%H:%M:%S")
