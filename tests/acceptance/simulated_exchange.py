"""The simulated exchange as a test sees it: its faults, its journal, and what rests on its books."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import requests

#: A ladder is one request, a single order another.
PLACE_BATCH = "POST /api/v1/orders"
PLACE_ONE = "POST /api/v1/order"
CANCEL_ONE = "DELETE /api/v1/order"
LIST_OPEN = "GET /api/v1/orders"
FIND_ONE = "GET /api/v1/order"
DEPTH = "GET /api/v1/depth"
#: Asked for by iterations and cleanups, not by a start.
FILLS = "GET /wapi/v1/history/fills"
EVERYTHING = "*"

#: What ends an order, apart from fills.
ENDINGS = ("order_cancelled", "order_expired")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of the journal."""

    number: int
    at_ms: int
    event: str
    order_id: str
    client_id: int | None
    #: Of an order: when the request was signed.
    signed_at_ms: int

    @property
    def slot(self) -> int | None:
        """Return the instance slot in the client order id, None where there is no client order id."""
        return _slot_of(self.client_id)


class SimulatedExchange:
    """Talks to `/sim/...` over a socket, like everybody else."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._session = requests.Session()
        self._session.trust_env = False

    def close(self) -> None:
        """Give up the connection."""
        self._session.close()

    def set_faults(self, *rules: dict[str, Any]) -> None:
        """Put `rules` in force, and no others."""
        self._call("POST", "/sim/faults", json=list(rules))

    def hits(self, endpoint: str) -> int:
        """Return how many requests a rule in force for `endpoint` has met."""
        return sum(rule["hits"] for rule in self._call("GET", "/sim/faults") if rule["endpoint"] == endpoint)

    def clear_faults(self) -> None:
        """Be well-behaved again."""
        self._call("DELETE", "/sim/faults")

    def set_stream_faults(self, *rules: dict[str, Any]) -> None:
        """Put rules for the streams in force, and no others."""
        self._call("POST", "/sim/streams/faults", json=list(rules))

    def clear_stream_faults(self) -> None:
        """Let the streams be well-behaved again."""
        self._call("DELETE", "/sim/streams/faults")

    def streams(self) -> list[dict[str, Any]]:
        """Return the open connections with their subscriptions."""
        found: list[dict[str, Any]] = self._call("GET", "/sim/streams")
        return found

    def fills(self, *, since: int = 0, account: str = "demo") -> list[dict[str, Any]]:
        """Return the journal's fills of an account."""
        query = {"since": since, "account": account, "event": "fill"}
        found: list[dict[str, Any]] = self._call("GET", "/sim/journal", params=query)
        return found

    def last_entry(self) -> int:
        """Return the number of the journal's newest line."""
        entries = self._call("GET", "/sim/journal", params={"since": 0, "event": "request"})
        return int(entries[-1]["n"]) if entries else 0

    def journal(self, since: int = 0) -> list[Entry]:
        """Return the journal behind line `since`."""
        return [
            Entry(
                number=line["n"],
                at_ms=line["at_ms"],
                event=line["event"],
                order_id=str(line.get("order_id", "")),
                client_id=line.get("client_id"),
                signed_at_ms=line.get("signed_at_ms") or 0,
            )
            for line in self._call("GET", "/sim/journal", params={"since": since})
        ]

    def move(self, symbol: str, price: str) -> None:
        """Put the middle of a market somewhere."""
        self._call("POST", "/sim/market", json={"symbol": symbol, "price": price})

    def trade(self, symbol: str, side: str, price: str, quantity: str) -> None:
        """Let others trade; `side` is the aggressor's."""
        self._call(
            "POST", "/sim/trade", json={"symbol": symbol, "side": side, "price": price, "quantity": quantity}
        )

    def step(self, events: int) -> dict[str, Any]:
        """Let a market that moves when told to move by `events`."""
        answer: dict[str, Any] = self._call("POST", "/sim/step", json={"events": events})
        return answer

    def accepted(self, slot: int, *, since: int = 0) -> list[Entry]:
        """Return the orders of an instance that were accepted."""
        return [
            entry for entry in self.journal(since) if entry.event == "order_accepted" and entry.slot == slot
        ]

    def open_order_ids(self, account: str = "demo", *, slot: int | None = None) -> set[str]:
        """Return the ids of what rests on the books now, by the exchange's own memory."""
        orders = self._call("GET", "/sim/orders", params={"account": account})
        return {order["order_id"] for order in orders if slot is None or _slot_of(order["client_id"]) == slot}

    def rest(self, *, account: str, side: str, price: str, quantity: str, symbol: str = "SOL_USDC") -> str:
        """Put somebody's order on the book; return its id."""
        order = self._call(
            "POST",
            "/sim/orders",
            json={
                "account": account,
                "symbol": symbol,
                "orderType": "Limit",
                "side": side,
                "price": price,
                "quantity": quantity,
            },
        )
        return str(order["id"])

    def most_open_at_once(self, slot: int) -> int:
        """Return how many orders of an instance rested at the same time at most, by the journal."""
        open_ids: set[str] = set()
        most = 0
        for entry in self.journal():
            if entry.slot != slot:
                continue
            if entry.event == "order_accepted":
                open_ids.add(entry.order_id)
                most = max(most, len(open_ids))
            elif entry.event in ENDINGS:
                open_ids.discard(entry.order_id)
        return most

    def _call(self, method: str, path: str, **more: Any) -> Any:
        answer = self._session.request(method, self.url + path, timeout=30, **more)
        assert answer.ok, f"{method} {path}: HTTP {answer.status_code} {answer.text[:300]}"
        return answer.json() if answer.content else None


def fault(endpoint: str, kind: str, **more: Any) -> dict[str, Any]:
    """Return a rule for `set_faults`."""
    return {"endpoint": endpoint, "kind": kind, **more}


def _slot_of(client_id: int | None) -> int | None:
    return None if client_id is None else client_id >> 20
