"""An order of a run, from the moment the exchange accepted it until all of its fills are counted."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from pydantic import BaseModel, ConfigDict

from market.instrument import Instrument
from market.orders import OpenOrder, OrderStatus, Side
from market.position import Fill
from market.snapshot import LevelRole, OwnOrder
from state.client_ids import decode, level_role

#: Fills are asked for again from this long before the newest one known: histories are not written in order.
OVERLAP_MS = 30_000
#: The exchange stamps orders and fills on different machines; their clocks may differ by this.
CLOCK_SLACK_MS = 5_000


class KnownOrder(BaseModel):
    """An order of this run that the exchange accepted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    order_id: str
    client_order_id: int
    side: Side
    price: Decimal | None
    quantity: Decimal
    #: Exchange time, ms.
    accepted_at_ms: int
    #: In all, by the exchange's word.
    executed: Decimal = Decimal(0)
    #: True: the exchange said that it rests no more.
    ended: bool = False
    #: In all, by the fills counted.
    filled: Decimal = Decimal(0)
    #: Their trade ids.
    trades: tuple[str, ...] = ()
    #: Exchange time (ms) up to which everything executed is counted, though not every fill was ever shown.
    written_off_until_ms: int = 0
    #: Since when no list and no history has shown it (ms); 0: it was shown.
    missing_since_ms: int = 0
    #: Since when its fills have not come to what was executed, and none came (ms); 0: they do.
    unsettled_since_ms: int = 0
    #: Exchange time up to which fills had been read when it was settled last, ms.
    settled_at_ms: int = 0

    @classmethod
    def accepted(cls, order: OpenOrder, client_order_id: int) -> KnownOrder:
        """Return an order of this run that the exchange shows for the first time."""
        return cls(
            order_id=order.order_id,
            client_order_id=client_order_id,
            side=order.side,
            price=order.price,
            quantity=order.quantity,
            accepted_at_ms=order.created_at_ms,
        )

    def shown(self, order: OpenOrder) -> KnownOrder:
        """Return it as the exchange shows it; what was known to be executed or ended stays so."""
        return self.model_copy(
            update={
                # The exchange may shrink a reduce-only order.
                "quantity": order.quantity,
                "executed": max(self.executed, order.executed_quantity),
                "ended": self.ended or not order.status.is_open,
                "missing_since_ms": 0,
            }
        )

    def over_with(self, executed: Decimal) -> KnownOrder:
        """Return it resting no more, with what was executed of it in all."""
        return self.model_copy(update={"ended": True, "executed": max(self.executed, executed)})

    def filled_by(self, fill: Fill) -> KnownOrder:
        """Return it with one more fill counted."""
        return self.model_copy(
            update={
                "filled": self.filled + fill.quantity,
                "trades": (*self.trades, fill.trade_id),
                "unsettled_since_ms": 0,
            }
        )

    def read_until(self, exchange_ms: int, now_ms: int) -> KnownOrder:
        """Return it with the times of a look at fills up to `exchange_ms`."""
        if not self.is_settled:
            return self.model_copy(update={"unsettled_since_ms": self.unsettled_since_ms or now_ms})
        if (self.settled_at_ms, self.unsettled_since_ms) == (exchange_ms, 0):
            return self
        return self.model_copy(update={"settled_at_ms": exchange_ms, "unsettled_since_ms": 0})

    @property
    def told(self) -> tuple[Decimal, Decimal, bool]:
        """Return what the ledger is told of it, as far as that can change."""
        return self.quantity, max(self.executed, self.filled), self.ended or self.is_over

    @property
    def level_role(self) -> LevelRole:
        """Return what its client order id says it is for."""
        return level_role(self.client_order_id)

    def has_counted(self, fill: Fill) -> bool:
        """Tell whether a fill is among those counted: by itself, or with what was written off."""
        return fill.trade_id in self.trades or fill.filled_at_ms < self.written_off_until_ms

    @property
    def read_from_ms(self) -> int:
        """Return from when on its missing fills are to be found, exchange time, ms."""
        return max(self.accepted_at_ms, self.settled_at_ms - OVERLAP_MS)

    @property
    def is_over(self) -> bool:
        """Tell whether its end and all of its fills are known."""
        return self.filled >= self.quantity or (self.ended and self.filled >= self.executed)

    @property
    def is_settled(self) -> bool:
        """Tell whether the fills counted come to what was executed."""
        return self.filled >= self.executed


def own_order(order: OpenOrder) -> OwnOrder:
    """Return an order with what its client order id says."""
    parts = decode(order.client_order_id or 0)
    return OwnOrder(order=order, level=parts.level, role=parts.role, generation=parts.generation)


def as_open(known: KnownOrder, symbol: str) -> OpenOrder:
    """Return a known order as it stands."""
    executed = max(known.executed, known.filled)
    return OpenOrder(
        order_id=known.order_id,
        client_order_id=known.client_order_id,
        symbol=symbol,
        side=known.side,
        price=known.price,
        quantity=known.quantity,
        executed_quantity=executed,
        status=OrderStatus.PARTIALLY_FILLED if executed else OrderStatus.NEW,
        created_at_ms=known.accepted_at_ms,
    )


def is_meant(order: OpenOrder, intents: Mapping[int, int]) -> bool:
    """Tell whether an order is one of those authorised; `intents` has when each was signed (exchange, ms).

    Client order ids come round again: an older order under one of them is not meant.
    """
    signed_at_ms = intents.get(order.client_order_id or 0)
    return signed_at_ms is not None and order.created_at_ms >= signed_at_ms - CLOCK_SLACK_MS


def missing_fill(order: KnownOrder, instrument: Instrument) -> Fill:
    """Return what stands for the fills of an order that were executed and never shown."""
    return Fill(
        trade_id=f"written off {order.order_id}",
        order_id=order.order_id,
        client_order_id=order.client_order_id,
        symbol=instrument.symbol,
        side=order.side,
        price=order.price or Decimal(0),
        quantity=order.executed - order.filled,
        fee=Decimal(0),
        fee_asset=instrument.quote_asset,
        is_maker=True,
        filled_at_ms=0,
    )
