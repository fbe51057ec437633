"""Amounts for people and for programs."""

from __future__ import annotations

from decimal import Decimal

import pytest

from cli.amounts import as_told, exact, money, percent


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        ("1234567.891", "1234567.89"),
        ("1234.5678", "1234.57"),
        ("100.1", "100.1"),
        ("1.23456789", "1.23457"),
        ("-0.00012345678", "-0.00012346"),
        ("0.000000004", "0"),
        ("-0.000000004", "0"),
        ("0E-12", "0"),
        ("1E+3", "1000"),
        ("123456789012345678901234567890.5", "123456789012345678901234567890.5"),
    ],
)
def test_money_is_rounded_to_what_people_can_read(amount: str, shown: str) -> None:
    assert money(Decimal(amount)) == shown


def test_what_is_not_known_is_a_dash_or_nothing() -> None:
    assert (money(None), as_told(None), percent(None), exact(None)) == ("-", "-", "-", None)


def test_prices_keep_eight_places() -> None:
    assert as_told(Decimal("0.123456785123")) == "0.12345679"
    assert as_told(Decimal("182.50")) == "182.5"


def test_exact_has_no_exponent() -> None:
    assert exact(Decimal("1E-15")) == "0.000000000000001"
