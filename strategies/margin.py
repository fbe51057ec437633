"""Whether the margin of a perpetual account carries what is to rest, in sentences for the user."""

from __future__ import annotations

from decimal import Decimal

from market.snapshot import Snapshot
from strategies.base import Preflight

_ONE = Decimal(1)


def of_margin(snapshot: Snapshot, *, size: Decimal, layers: int, max_position: Decimal) -> Preflight:
    """Compare the orders of one side with what the available quote asset carries.

    `size` is that of one order, `max_position` cuts the sum of `layers`; base units. Carried is what is
    available times the account's leverage limit, taken as 1 where that is not known. Not one order carried
    is a problem, but a warning where more may stand behind it than is seen: other assets or lent funds can
    be collateral, an unknown limit can be higher, and orders that reduce a position need nothing.
    """
    price, instrument = snapshot.price, snapshot.instrument
    if not snapshot.balances or price is None:
        return Preflight()
    balance = snapshot.balances.get(instrument.quote_asset)
    available = balance.available if balance is not None else Decimal(0)
    if available <= 0:
        said = f"no {instrument.quote_asset} is available: orders will be refused for lack of margin"
        return Preflight(warnings=(said,))
    leverage = _ONE if snapshot.terms is None else snapshot.terms.leverage_limit
    carried = available * leverage
    whole = min(size * layers, max_position)
    one = min(size, max_position)
    has = (
        f"the {available:f} {instrument.quote_asset} available carry {_shown(carried)} "
        f"with the leverage of {leverage:f} "
        + ("taken for granted" if snapshot.terms is None else "that the account allows")
    )
    if one * price > carried:
        said = f"one order of {one:f} at {price:f} is worth {_shown(one * price)}, but {has}"
        return Preflight(warnings=(said,)) if _may_have_more(snapshot) else Preflight(problems=(said,))
    if whole * price > carried:
        said = f"a side of {whole:f} at {price:f} is worth {_shown(whole * price)}, but {has}"
        return Preflight(warnings=(f"{said}: the outer orders will be refused",))
    return Preflight()


def _shown(amount: Decimal) -> str:
    return f"{amount:.2f}"


def _may_have_more(snapshot: Snapshot) -> bool:
    instrument, position = snapshot.instrument, snapshot.position
    others = (each.total for asset, each in snapshot.balances.items() if asset != instrument.quote_asset)
    is_open = position is not None and abs(position.net_quantity) >= instrument.min_quantity
    return snapshot.terms is None or is_open or any(total > 0 for total in others)
