"""Typed access to JSON from the wire: each field is what we take it for, or the answer is unreadable.

What is read here is reckoned with, stored, sent again as part of a request and shown to people. So numbers
are finite and of a size that a market can have, texts can be printed, and ids are one word.
"""

from __future__ import annotations

import json
import re
import reprlib
from decimal import Decimal
from typing import NoReturn

#: A price, quantity or sum beyond 10^20, or finer than 10^-20, can only be a mistake.
MOST_EXPONENT = 20
#: Characters of a number; 20 digits on both sides of the point.
_MOST_DIGITS = 42
_NUMBER = re.compile(r"-?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,2})?", re.ASCII)
#: Order ids are kept as a list with commas between, and go into cancels: never two for one.
_IDENTIFIER = re.compile(r"[!-+\--~]{1,80}")
_LARGEST_INTEGER = 2**64 - 1
#: 2286: times are stamps of what has happened.
_LATEST_MS = 10**13
#: Characters of foreign text that a message shows.
_SHOWN = 200


class UnreadableAnswer(Exception):
    """Raised when an answer is not what the protocol says; what the exchange did is then unknown."""


def load_json(body: bytes) -> object:
    """Return the JSON value in `body`, numbers with a point as `Decimal`.

    Raises:
        UnreadableAnswer: it is empty, cut short, no JSON, or has a number that no market has.
    """
    try:
        # Not by the reader itself: it guesses other encodings, and lets half characters pass.
        value: object = json.loads(body.decode(), parse_float=number, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise UnreadableAnswer(f"no JSON: {excerpt(body)}") from error
    return value


def load_rows(body: bytes) -> list[Row]:
    """Return the objects of a JSON array."""
    value = load_json(body)
    if not isinstance(value, list):
        raise UnreadableAnswer(f"no JSON array: {excerpt(body)}")
    return [Row(item) for item in value]


def number(text: str) -> Decimal:
    """Return the number in `text`. Raises `UnreadableAnswer` for what is none, or of an absurd size."""
    if len(text) > _MOST_DIGITS or not _NUMBER.fullmatch(text):
        raise UnreadableAnswer(f"no number: {reprlib.repr(text)}")
    found = Decimal(text)
    if found and abs(found.adjusted()) > MOST_EXPONENT:
        raise UnreadableAnswer(f"no number of a market: {text}")
    return found


def excerpt(body: bytes) -> str:
    """Return the beginning of `body` for a message, on one line."""
    return clean(body[:_SHOWN].decode("utf-8", "replace")) or "(empty body)"


def clean(text: str) -> str:
    """Return the beginning of a foreign text on one line, fit to be logged, stored and printed."""
    line = " ".join(text[:_SHOWN].split())
    return line if line.isprintable() else "".join(c if c.isprintable() else "�" for c in line)


def time_of(ms: int) -> int:
    """Return a time in ms since the epoch. Raises `UnreadableAnswer` for one that cannot be."""
    if not 0 <= ms < _LATEST_MS:
        raise UnreadableAnswer(f"no time: {ms} ms")
    return ms


class Row:
    """One JSON object."""

    def __init__(self, value: object) -> None:
        if not isinstance(value, dict):
            raise UnreadableAnswer(f"no JSON object but {type(value).__name__}")
        self._fields: dict[str, object] = value

    def items(self) -> list[tuple[str, Row]]:
        """Return the fields of an object whose values are all objects."""
        for name in self._fields:
            if not name or not name.isprintable():
                raise UnreadableAnswer(f"no name of a field: {reprlib.repr(name)}")
        return [(name, Row(value)) for name, value in self._fields.items()]

    def has(self, name: str) -> bool:
        """Tell whether the field is there and not null."""
        return self._fields.get(name) is not None

    def row(self, name: str) -> Row:
        """Return the object in the field."""
        return Row(self._fields.get(name))

    def levels(self, name: str) -> list[tuple[Decimal, Decimal]]:
        """Return a list of ``["price", "quantity"]`` pairs: prices above zero, quantities not below."""
        value = self._fields.get(name)
        if not isinstance(value, list):
            raise self._wrong(name, "a list")
        pairs: list[tuple[Decimal, Decimal]] = []
        for pair in value:
            if not isinstance(pair, list) or len(pair) != 2:
                raise self._wrong(name, "pairs of price and quantity")
            price, quantity = _decimal(pair[0], name), _decimal(pair[1], name)
            if price <= 0 or quantity < 0:
                raise self._wrong(name, "prices and quantities")
            pairs.append((price, quantity))
        return pairs

    def text(self, name: str) -> str:
        """Return a string that is not empty, or a whole number as its digits."""
        value = self._fields.get(name)
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise self._wrong(name, "a string")
        text = str(value)
        if not text or len(text) > _SHOWN or not text.isprintable():
            raise self._wrong(name, "a string of printable characters")
        return text

    def text_or_none(self, name: str) -> str | None:
        """Return a string, None when the field is null or absent."""
        return self.text(name) if self.has(name) else None

    def identifier(self, name: str) -> str:
        """Return the id of an order or trade: one word."""
        text = self.text(name)
        if not _IDENTIFIER.fullmatch(text):
            raise self._wrong(name, "an id")
        return text

    def words(self, name: str) -> str:
        """Return what the exchange says to people, its beginning on one line; empty when it says nothing."""
        value = self._fields.get(name)
        if value is None:
            return ""
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise self._wrong(name, "a string")
        return clean(str(value))

    def integer(self, name: str) -> int:
        """Return a whole number from zero on, written as a number or as a string."""
        value = self._fields.get(name)
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= _MOST_DIGITS:
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _LARGEST_INTEGER:
            raise self._wrong(name, "a whole number")
        return value

    def integer_or_none(self, name: str) -> int | None:
        """Return a whole number, None when the field is null or absent."""
        return self.integer(name) if self.has(name) else None

    def decimal(self, name: str) -> Decimal:
        """Return a number, written as a string (as Backpack does) or as a number."""
        return _decimal(self._fields.get(name), name)

    def decimal_or_none(self, name: str) -> Decimal | None:
        """Return a number, None when the field is null or absent."""
        return self.decimal(name) if self.has(name) else None

    def amount(self, name: str) -> Decimal:
        """Return a number that is not below zero."""
        found = self.decimal(name)
        if found < 0:
            raise self._wrong(name, "zero or more")
        return found

    def amount_or_none(self, name: str) -> Decimal | None:
        """Return a number that is not below zero, None when the field is null or absent."""
        return self.amount(name) if self.has(name) else None

    def price_or_none(self, name: str) -> Decimal | None:
        """Return a price above zero; None when the field is null, absent, or zero, as where there is none."""
        return self.amount_or_none(name) or None

    def above_zero(self, name: str) -> Decimal:
        """Return a number above zero."""
        found = self.decimal(name)
        if found <= 0:
            raise self._wrong(name, "above zero")
        return found

    def flag(self, name: str) -> bool:
        """Return a boolean."""
        value = self._fields.get(name)
        if not isinstance(value, bool):
            raise self._wrong(name, "a boolean")
        return value

    def _wrong(self, name: str, wanted: str) -> UnreadableAnswer:
        return UnreadableAnswer(f"field {name!r} is not {wanted}: {reprlib.repr(self._fields.get(name))}")


def _decimal(value: object, name: str) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise UnreadableAnswer(f"field {name!r} is no number: {reprlib.repr(value)}")
    if isinstance(value, Decimal):
        return value  # Looked at when it was read.
    try:
        return number(str(value))
    except UnreadableAnswer as error:
        raise UnreadableAnswer(f"field {name!r}: {error}") from error


def _refuse_constant(name: str) -> NoReturn:
    raise UnreadableAnswer(f"no number: {name}")
