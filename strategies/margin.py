"""Whether the margin of a perpetual account carries what is to rest, in sentences for the user."""

from __future__ import annotations

from decimal import Decimal

from market.snapshot import Snapshot
from strategies.base import Preflight
from wording import said

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
        text = said(
            "no {quote_asset} is available: orders will be refused for lack of margin",
            quote_asset=instrument.quote_asset,
        )
        return Preflight(warnings=(text,))
    leverage = _ONE if snapshot.terms is None else snapshot.terms.leverage_limit
    carried = available * leverage
    whole = min(size * layers, max_position)
    one = min(size, max_position)
    granted = said("taken for granted") if snapshot.terms is None else said("that the account allows")
    has = said(
        "the {available} {quote_asset} available carry {carried} with the leverage of {leverage} {granted}",
        available=f"{available:f}",
        quote_asset=instrument.quote_asset,
        carried=_shown(carried),
        leverage=f"{leverage:f}",
        granted=granted,
    )
    if one * price > carried:
        text = said(
            "one order of {one} at {price} is worth {worth}, but {has}",
            one=f"{one:f}",
            price=f"{price:f}",
            worth=_shown(one * price),
            has=has,
        )
        return Preflight(warnings=(text,)) if _may_have_more(snapshot) else Preflight(problems=(text,))
    if whole * price > carried:
        text = said(
            "a side of {whole} at {price} is worth {worth}, but {has}",
            whole=f"{whole:f}",
            price=f"{price:f}",
            worth=_shown(whole * price),
            has=has,
        )
        return Preflight(warnings=(said("{text}: the outer orders will be refused", text=text),))
    return Preflight()


def _shown(amount: Decimal) -> str:
    return f"{amount:.2f}"


def _may_have_more(snapshot: Snapshot) -> bool:
    instrument, position = snapshot.instrument, snapshot.position
    others = (each.total for asset, each in snapshot.balances.items() if asset != instrument.quote_asset)
    is_open = position is not None and abs(position.net_quantity) >= instrument.min_quantity
    return snapshot.terms is None or is_open or any(total > 0 for total in others)
