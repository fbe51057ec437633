"""What the journal and the ledger say of one account, side by side."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

from sqlalchemy import Table, select

from ledger import schema
from ledger.database import Ledger
from tests.soak.audit import SIDES

Row = Mapping[str, Any]
#: How an order ended, in the journal's words and in the ledger's.
ENDINGS = {"order_cancelled": "cancelled", "order_expired": "expired"}


class FillFacts(NamedTuple):
    """Everything that the exchange says of a fill."""

    trade_id: str
    order_id: str
    symbol: str
    side: str
    price: Decimal
    quantity: Decimal
    fee: Decimal
    fee_asset: str
    is_maker: bool


@dataclass(kw_only=True)
class OrderFacts:
    """What became of an order."""

    order_id: str
    symbol: str
    client_id: int | None
    side: str
    accepted_at_ms: int
    executed: Decimal = Decimal(0)
    #: Empty: it rests.
    status: str = ""

    @property
    def slot(self) -> int | None:
        """Return the instance slot in its client order id."""
        return None if self.client_id is None else self.client_id >> 20


@dataclass(kw_only=True)
class Witness:
    """An account by the exchange's journal alone."""

    fills: list[FillFacts] = field(default_factory=list)
    orders: dict[str, OrderFacts] = field(default_factory=dict)
    #: Symbol, amount, end of the interval.
    funding: list[tuple[str, Decimal, int]] = field(default_factory=list)
    stream_faults: set[str] = field(default_factory=set)

    def see(self, entry: Mapping[str, Any]) -> None:
        """Follow one entry of the account."""
        event = entry["event"]
        if event == "order_accepted":
            self.orders[entry["order_id"]] = OrderFacts(
                order_id=entry["order_id"],
                symbol=entry["symbol"],
                client_id=entry["client_id"],
                side=str(SIDES[entry["side"]]),
                accepted_at_ms=entry["at_ms"],
            )
        elif event == "fill":
            self._fill(entry)
        elif event in ENDINGS:
            self.orders[entry["order_id"]].status = ENDINGS[event]
        elif event == "funding":
            self.funding.append((entry["symbol"], Decimal(entry["amount"]), entry["ends_at_ms"]))

    def _fill(self, entry: Mapping[str, Any]) -> None:
        order = self.orders[entry["order_id"]]
        order.executed = Decimal(entry["executed"])
        if entry["status"] == "Filled":
            order.status = "filled"
        self.fills.append(
            FillFacts(
                trade_id=str(entry["trade_id"]),
                order_id=entry["order_id"],
                symbol=entry["symbol"],
                side=str(SIDES[entry["side"]]),
                price=Decimal(entry["price"]),
                quantity=Decimal(entry["quantity"]),
                fee=Decimal(entry["fee"]),
                fee_asset=entry["fee_asset"],
                is_maker=entry["maker"],
            )
        )


@dataclass(frozen=True, kw_only=True)
class Told:
    """An account by the ledger's rows alone."""

    fills: Sequence[Row]
    orders: Sequence[Row]
    #: By order id, every status that was ever told.
    statuses: Mapping[str, frozenset[str]]
    funding: Sequence[Row]
    rejected: Sequence[Row]


def witness(entries: Iterable[Mapping[str, Any]], account: str = "demo") -> Witness:
    """Return what a journal says of an account of the simulated exchange."""
    found = Witness()
    for entry in entries:
        if entry["event"] == "stream_fault":
            found.stream_faults.add(entry["kind"])
        elif entry.get("account") == account:
            found.see(entry)
    return found


def told(ledger: Ledger) -> Told:
    """Return everything that a ledger of one account has."""
    statuses: defaultdict[str, set[str]] = defaultdict(set)
    for row in _rows(ledger, schema.order_states):
        statuses[row["order_id"]].add(row["status"])
    return Told(
        fills=_rows(ledger, schema.fills),
        orders=_rows(ledger, schema.orders),
        statuses={order_id: frozenset(found) for order_id, found in statuses.items()},
        funding=_rows(ledger, schema.funding),
        rejected=_rows(ledger, schema.rejected),
    )


def facts(row: Row) -> FillFacts:
    """Return what a row of `fills` says as the journal would."""
    return FillFacts(*(row[name] for name in FillFacts._fields))


def _rows(ledger: Ledger, table: Table) -> list[Row]:
    with ledger.reading() as connection:
        return [dict(row) for row in connection.execute(select(table).order_by(table.c.id)).mappings()]
