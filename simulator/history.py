"""What was: rows by account and market, in the order in which they came, the latest ones only."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Row = TypeVar("Row")

#: Rows kept per account (and per account and market): 16 minutes at 100 orders a second.
KEPT = 100_000


class History(Generic[Row]):
    """Rows of many accounts; asking for one page costs the page, not the history."""

    def __init__(self, at_ms: Callable[[Row], int]) -> None:
        self._at_ms = at_ms
        self._rows: dict[tuple[str, str | None], list[Row]] = {}

    def add(self, account: str, symbol: str, row: Row) -> None:
        """Append a row; times never go back."""
        for key in ((account, symbol), (account, None)):
            rows = self._rows.setdefault(key, [])
            rows.append(row)
            if len(rows) > KEPT:
                # Not one at a time: taking from the front of a list moves all of it.
                del rows[: KEPT // 10]

    def rows(self, account: str, symbol: str | None = None) -> Sequence[Row]:
        """Return an account's rows, oldest first; not to be changed."""
        return self._rows.get((account, symbol), [])

    def between(
        self, account: str, symbol: str | None, from_ms: int | None, to_ms: int | None
    ) -> Sequence[Row]:
        """Return the rows from `from_ms` to before `to_ms`."""
        rows = self.rows(account, symbol)
        if from_ms is None and to_ms is None:
            return rows
        first = 0 if from_ms is None else bisect_left(rows, from_ms, key=self._at_ms)
        last = len(rows) if to_ms is None else bisect_left(rows, to_ms, key=self._at_ms)
        return rows[first:last]
