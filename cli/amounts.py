"""Decimals for people, rounded, and for programs, exact; tables whose numbers stand below each other."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from decimal import Context, Decimal, localcontext

from cli.language import tr, width
from cli.output import Cell, Output

#: Decimal places that people ever see, and how many digits of a sum of money.
MOST_PLACES = 8
SHOWN_DIGITS = 6
#: Enough for the largest amount that a ledger takes, with all its places.
_WIDE = Context(prec=500)


def exact(amount: Decimal | None) -> str | None:
    """Return every digit of an amount without an exponent, None for none."""
    return None if amount is None else format(amount, "f")


def money(amount: Decimal | None) -> str:
    """Return a sum of money for people: about six digits, two to eight places; ``-`` for none."""
    if amount is None:
        return "-"
    return _rounded(amount, min(MOST_PLACES, max(2, SHOWN_DIGITS - 1 - amount.adjusted())))


def as_told(amount: Decimal | None) -> str:
    """Return a price or quantity for people, as the exchange told it, at most eight places."""
    return "-" if amount is None else _rounded(amount, MOST_PLACES)


def percent(fraction: Decimal | None) -> str:
    """Return a fraction as a percentage with one place, ``-`` for none."""
    return "-" if fraction is None else f"{fraction * 100:.1f}"


def sign_style(amount: Decimal | None) -> str:
    """Return the style of a gain or loss."""
    if amount is None or amount == 0:
        return ""
    return "good" if amount > 0 else "bad"


def print_table(
    output: Output, columns: Sequence[str], rows: Sequence[Sequence[str | Cell]], numbers: Collection[str]
) -> None:
    """Print a table in which the columns named in `numbers` are aligned at their decimal points."""
    cells = [[cell if isinstance(cell, Cell) else Cell(text=cell) for cell in row] for row in rows]
    titles = [tr(title) for title in columns]
    for index, title in enumerate(columns):
        if title in numbers:
            texts = _at_the_point([row[index].text for row in cells])
            columns_wide = max([width(titles[index]), *map(len, texts)])
            titles[index] = " " * (columns_wide - width(titles[index])) + titles[index]
            for row, text in zip(cells, texts, strict=True):
                row[index] = replace(row[index], text=text.rjust(columns_wide))
    output.table(titles, cells)


def _rounded(amount: Decimal, places: int) -> str:
    with localcontext(_WIDE):
        text = format(round(amount, places), "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text


def _at_the_point(texts: Sequence[str]) -> list[str]:
    halves = [text.partition(".") for text in texts]
    before = max((len(whole) for whole, _, _ in halves), default=0)
    after = max((len(point + places) for _, point, places in halves), default=0)
    return [whole.rjust(before) + (point + places).ljust(after) for whole, point, places in halves]
