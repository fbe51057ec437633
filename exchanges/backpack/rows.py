"""Typed access to JSON from the wire: each field is what we take it for, or the answer is unreadable."""

from __future__ import annotations

import json
from decimal import Decimal, InvalidOperation


class UnreadableAnswer(Exception):
    """Raised when an answer is not what the protocol says; what the exchange did is then unknown."""


def load_json(body: bytes) -> object:
    """Return the JSON value in `body`, numbers with a point as `Decimal`.

    Raises:
        UnreadableAnswer: it is empty, cut short, or no JSON.
    """
    try:
        value: object = json.loads(body, parse_float=Decimal)
    except (ValueError, RecursionError) as error:
        raise UnreadableAnswer(f"no JSON: {excerpt(body)}") from error
    return value


def load_rows(body: bytes) -> list[Row]:
    """Return the objects of a JSON array."""
    value = load_json(body)
    if not isinstance(value, list):
        raise UnreadableAnswer(f"no JSON array: {excerpt(body)}")
    return [Row(item) for item in value]


def excerpt(body: bytes) -> str:
    """Return the beginning of `body` for a message, on one line."""
    text = body[:200].decode("utf-8", "replace")
    return " ".join(text.split()) or "(empty body)"


class Row:
    """One JSON object."""

    def __init__(self, value: object) -> None:
        if not isinstance(value, dict):
            raise UnreadableAnswer(f"no JSON object but {type(value).__name__}")
        self._fields: dict[str, object] = value

    def items(self) -> list[tuple[str, Row]]:
        """Return the fields of an object whose values are all objects."""
        return [(name, Row(value)) for name, value in self._fields.items()]

    def has(self, name: str) -> bool:
        """Tell whether the field is there and not null."""
        return self._fields.get(name) is not None

    def row(self, name: str) -> Row:
        """Return the object in the field."""
        return Row(self._fields.get(name))

    def levels(self, name: str) -> list[tuple[Decimal, Decimal]]:
        """Return a list of ``["price", "quantity"]`` pairs."""
        value = self._fields.get(name)
        if not isinstance(value, list):
            raise self._wrong(name, "a list")
        pairs: list[tuple[Decimal, Decimal]] = []
        for pair in value:
            if not isinstance(pair, list) or len(pair) != 2:
                raise self._wrong(name, "pairs of price and quantity")
            pairs.append((_decimal(pair[0], name), _decimal(pair[1], name)))
        return pairs

    def text(self, name: str) -> str:
        """Return a string, or a whole number as its digits."""
        value = self._fields.get(name)
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise self._wrong(name, "a string")
        return str(value)

    def text_or_none(self, name: str) -> str | None:
        """Return a string, None when the field is null or absent."""
        return self.text(name) if self.has(name) else None

    def integer(self, name: str) -> int:
        """Return a whole number, written as a number or as a string."""
        value = self._fields.get(name)
        if isinstance(value, str) and value.isascii() and value.isdigit():
            return int(value)
        if isinstance(value, bool) or not isinstance(value, int):
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

    def flag(self, name: str) -> bool:
        """Return a boolean."""
        value = self._fields.get(name)
        if not isinstance(value, bool):
            raise self._wrong(name, "a boolean")
        return value

    def _wrong(self, name: str, wanted: str) -> UnreadableAnswer:
        return UnreadableAnswer(f"field {name!r} is not {wanted}: {self._fields.get(name)!r}")


def _decimal(value: object, name: str) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise UnreadableAnswer(f"field {name!r} is no number: {value!r}")
    try:
        number = Decimal(value)
    except InvalidOperation as error:
        raise UnreadableAnswer(f"field {name!r} is no number: {value!r}") from error
    if not number.is_finite():
        raise UnreadableAnswer(f"field {name!r} is not finite: {value!r}")
    return number
