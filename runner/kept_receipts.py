"""Receipts of stops as Redis keeps them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runner.receipt import Receipt


def receipt_in(text: str) -> Receipt | None:
    """Return the receipt in `text`, None when there is none that this version understands."""
    if not text:
        return None
    # Here, because its models are slow to import: a stop closes the gate before it needs them.
    from runner.receipt_reading import read_receipt

    try:
        return read_receipt(text)
    except ValueError:
        return None


def problem_of(text: str) -> str:
    """Return in words why a stop is not clean, empty when nobody said."""
    receipt = receipt_in(text)
    return (receipt.problem or str(receipt.result)) if receipt else ""
