"""Backpack's messages in order, as the exchange writes them, for tests that spoil them."""

from __future__ import annotations

from typing import Any

SYMBOL = "SOL_USDC_PERP"

ORDER: dict[str, Any] = {
    "orderType": "Limit",
    "id": "4228978331",
    "clientId": 123456789,
    "symbol": SYMBOL,
    "side": "Bid",
    "price": "99.5",
    "quantity": "0.5",
    "executedQuantity": "0.1",
    "executedQuoteQuantity": "9.95",
    "status": "PartiallyFilled",
    "timeInForce": "GTC",
    "postOnly": True,
    "createdAt": 1753626206762,
}
OLD_ORDER = ORDER | {"createdAt": "2025-07-27T17:39:00.092", "status": "Filled", "executedQuantity": "0.5"}
MARKET: dict[str, Any] = {
    "symbol": SYMBOL,
    "baseSymbol": "SOL",
    "quoteSymbol": "USDC",
    "marketType": "PERP",
    "filters": {
        "price": {"minPrice": "0.01", "maxPrice": "1000", "tickSize": "0.01"},
        "quantity": {"minQuantity": "0.01", "maxQuantity": None, "stepSize": "0.01"},
    },
}
DEPTH: dict[str, Any] = {
    "asks": [["100.1", "5.54"], ["100.2", "1.22"], ["100.3", "7"]],
    "bids": [["99.7", "0.03"], ["99.8", "2"], ["99.9", "2.20"]],
    "lastUpdateId": "6904864764",
    "timestamp": 1790915412979224,
}
BALANCES: dict[str, Any] = {
    "USDC": {"available": "1200", "locked": "0", "staked": "0"},
    "SOL": {"available": "10", "locked": "0.5", "staked": "0"},
}
POSITION: dict[str, Any] = {
    "symbol": SYMBOL,
    "netQuantity": "0.5",
    "entryPrice": "100",
    "markPrice": "101",
    "pnlUnrealized": "0.5",
    "estLiquidationPrice": "0",
}
ACCOUNT: dict[str, Any] = {
    "futuresMakerFee": "2",
    "futuresTakerFee": "5",
    "leverageLimit": "10",
    "spotMakerFee": "8",
    "spotTakerFee": "10",
}
FILL: dict[str, Any] = {
    "clientId": "123456789",
    "fee": "0.004974",
    "feeSymbol": "USDC",
    "isMaker": False,
    "orderId": "4228978331",
    "price": "99.5",
    "quantity": "0.1",
    "side": "Bid",
    "symbol": SYMBOL,
    "timestamp": "2025-07-27T17:39:00.092",
    "tradeId": 9748827,
    "systemOrderType": None,
}
FUNDING: dict[str, Any] = {
    "userId": 1813870,
    "subaccountId": 0,
    "symbol": SYMBOL,
    "quantity": "-0.001301",
    "intervalEndTimestamp": "2025-08-01T16:00:00",
    "fundingRate": "0.0001",
}
REFUSAL: dict[str, Any] = {"code": "INVALID_ORDER", "message": "Order would immediately match and take"}

DEPTH_CHANGE: dict[str, Any] = {
    "e": "depth",
    "E": 1791043257142632,
    "T": 1791043257142284,
    "s": SYMBOL,
    "U": 6904864765,
    "u": 6904864766,
    "a": [["100.1", "0"], ["100.4", "2"]],
    "b": [["99.9", "1.32076"]],
}
TICKER: dict[str, Any] = {"e": "ticker", "E": 1791043257142632, "s": SYMBOL, "o": "99", "c": "100.5"}
MARK_PRICE: dict[str, Any] = {
    "e": "markPrice",
    "E": 1791043257142632,
    "T": 1791043257142284,
    "s": SYMBOL,
    "p": "100.02",
}
ORDER_FILL: dict[str, Any] = {
    "e": "orderFill",
    "E": 1754939110175900,
    "T": 1754939110174703,
    "O": "USER",
    "s": SYMBOL,
    "S": "Bid",
    "o": "LIMIT",
    "f": "GTC",
    "q": "0.5",
    "p": "99.5",
    "X": "Filled",
    "i": "4228978331",
    "c": 123456789,
    "t": 1245,
    "l": "0.1",
    "L": "99.5",
    "m": False,
    "n": "0.0000010",
    "N": "SOL",
    "z": "0.5",
    "Z": "49.75",
}
ORDER_EXPIRED = {
    key: value
    for key, value in (ORDER_FILL | {"e": "orderExpired", "X": "Expired", "R": "x"}).items()
    if key not in "tlLmnN"
}
STREAM_MESSAGES: dict[str, dict[str, Any]] = {
    "depth": {"stream": f"depth.{SYMBOL}", "data": DEPTH_CHANGE},
    "ticker": {"stream": f"ticker.{SYMBOL}", "data": TICKER},
    "mark price": {"stream": f"markPrice.{SYMBOL}", "data": MARK_PRICE},
    "order fill": {"stream": "account.orderUpdate", "data": ORDER_FILL},
    "order expired": {"stream": "account.orderUpdate", "data": ORDER_EXPIRED},
    "refusal": {"id": None, "error": {"code": 4006, "message": "Invalid stream"}},
}
