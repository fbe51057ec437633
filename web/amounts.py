"""Decimals as text: every digit, no exponent, no zeros behind the last one."""

from __future__ import annotations

from decimal import Decimal
from typing import overload


@overload
def exact(amount: Decimal) -> str: ...
@overload
def exact(amount: None) -> None: ...
@overload
def exact(amount: Decimal | None) -> str | None: ...
def exact(amount: Decimal | None) -> str | None:
    """Return an amount as text, None for none."""
    if amount is None:
        return None
    text = format(amount, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in {"-0", ""} else text
