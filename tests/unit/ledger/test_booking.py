from __future__ import annotations

from tests.unit.ledger.booking_cases import BookingCases


class TestBookingOnSqlite(BookingCases):
    pass
