"""What every signed endpoint begins with: who signed, is there budget, does the time fit."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, TypeVar

from aiohttp import web

from simulator.checks import check_time
from simulator.errors import BadRequest
from simulator.exchange import EXCHANGE
from simulator.faults import Fault
from simulator.markets import MARKETS
from simulator.signature import Signed

Row = TypeVar("Row")

#: The faults that the middleware drew for this request.
FAULTS: web.RequestKey[list[Fault]] = web.RequestKey("faults", list[Fault])
#: Exchange time (ms) when the request arrived, before any latency or fault.
ARRIVED_AT_MS: web.RequestKey[int] = web.RequestKey("arrived_at_ms", int)

LARGEST_PAGE = 1000
#: Digits of the largest unsigned 64-bit integer.
LONGEST_NUMBER = 20


def signed_query(request: web.Request, instruction: str) -> tuple[Signed, Mapping[str, str]]:
    """Return who signed a GET request, and its query. Raises `Refusal`."""
    query = dict(request.query)
    return _signed(request, instruction, query), query


async def signed_object(request: web.Request, instruction: str) -> tuple[Signed, Mapping[str, Any]]:
    """Return who signed, and the body, a JSON object. Raises `Refusal`, `BadRequest`."""
    body = await _json(request)
    if not isinstance(body, dict):
        raise BadRequest("parse request payload error: expected an object")
    return _signed(request, instruction, body), body


async def signed_list(request: web.Request, instruction: str) -> tuple[Signed, list[dict[str, Any]]]:
    """Return who signed, and the body, a JSON list of objects. Raises `Refusal`, `BadRequest`."""
    body = await _json(request)
    if not isinstance(body, list) or not all(isinstance(item, dict) for item in body):
        raise BadRequest("parse request payload error: expected a list of objects")
    return _signed(request, instruction, body), body


async def _json(request: web.Request) -> Any:
    try:
        # A number is signed as it is written, so 1.10 must not become 1.1.
        return json.loads(await request.read() or b"{}", parse_float=Decimal)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"parse request payload error: {error}") from None


def _signed(request: web.Request, instruction: str, payload: Mapping[str, Any] | Sequence[Any]) -> Signed:
    exchange = request.app[EXCHANGE]
    signed = exchange.keys.verify(request.headers, instruction, payload)
    exchange.rate_limit.take(signed.account.name)
    at_ms = request[ARRIVED_AT_MS] if exchange.window_check_on_arrival else exchange.now_ms()
    check_time(signed.at_ms, signed.window_ms, at_ms)
    return signed


def fault_of(request: web.Request, kind: str) -> Fault | None:
    """Return the fault of this kind that was drawn for the request."""
    return next((rule for rule in request.get(FAULTS, []) if rule.kind == kind), None)


def shown_as_at_ms(request: web.Request, kind: str) -> int | None:
    """Return the time that the answer shows by a fault of this kind; None: it shows the present."""
    fault = fault_of(request, kind)
    return None if fault is None else request.app[EXCHANGE].now_ms() - round(fault.delay_ms)


def symbol_of(fields: Mapping[str, Any]) -> str:
    """Return the symbol of a body or query. Raises `BadRequest`."""
    symbol = fields.get("symbol")
    if not isinstance(symbol, str) or symbol not in MARKETS:
        raise BadRequest('parse request payload error: failed to parse "MarketSymbol": Invalid market symbol')
    return symbol


def symbol_asked_for(query: Mapping[str, str]) -> str | None:
    """Return the symbol of a query, None when all are asked for. Raises `BadRequest`."""
    if "symbol" not in query:
        return None
    if query["symbol"] not in MARKETS:
        raise BadRequest(
            'failed to parse parameter `symbol`: failed to parse "MarketSymbol": Invalid market symbol'
        )
    return query["symbol"]


def fits(query: Mapping[str, str], symbol: str) -> bool:
    """Tell whether a market is asked for, by `symbol` and `marketType`; without them every market is."""
    kind = "PERP" if MARKETS[symbol].perp else "SPOT"
    return query.get("symbol", symbol) == symbol and query.get("marketType", kind) == kind


def integer_of(query: Mapping[str, str], name: str, default: int) -> int:
    """Return an unsigned query parameter. Raises `BadRequest`."""
    given = query.get(name, str(default))
    if not (given.isascii() and given.isdigit()) or len(given) > LONGEST_NUMBER:
        raise BadRequest(f'failed to parse parameter `{name}`: failed to parse "u64": invalid digit')
    return int(given)


def page(
    query: Mapping[str, str], rows: Sequence[Row], wire: Callable[[Row], dict[str, Any]]
) -> web.Response:
    """Return a page of `rows` (which are oldest first), newest first unless asked otherwise."""
    size, offset = integer_of(query, "limit", 100), integer_of(query, "offset", 0)
    if not 0 < size <= LARGEST_PAGE:
        raise BadRequest(f"failed to parse parameter `limit`: expected 1 to {LARGEST_PAGE}")
    direction = query.get("sortDirection", "Desc")
    if direction not in {"Asc", "Desc"}:
        raise BadRequest("failed to parse parameter `sortDirection`: Expect a valid enumeration value.")
    total = len(rows)
    first, last = min(offset, total), min(offset + size, total)
    chosen = rows[first:last] if direction == "Asc" else rows[total - last : total - first][::-1]
    return web.json_response(
        [wire(row) for row in chosen],
        headers={
            "X-PAGE-COUNT": str(-(-total // size)),
            "X-CURRENT-PAGE": str(offset // size + 1),
            "X-PAGE-SIZE": str(size),
            "X-TOTAL": str(total),
        },
    )
