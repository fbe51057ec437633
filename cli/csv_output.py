"""Rows as CSV (RFC 4180) to standard output: exact decimals, ISO times, a line of names first."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import click


def print_csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Print `columns` of `rows`. Values are texts, numbers, None (an empty field), or mappings (JSON)."""
    click.echo(_line(columns), nl=False)
    for row in rows:
        click.echo(_line([csv_text(row[name]) for name in columns]), nl=False)


def csv_text(value: Any) -> str:
    """Return a value as a field holds it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, Mapping | list | tuple):
        return json.dumps(value, ensure_ascii=False, sort_keys=True)
    return str(value)


def _line(fields: Sequence[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(fields)
    return line.getvalue()
