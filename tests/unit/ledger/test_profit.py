from __future__ import annotations

from tests.unit.ledger.profit_cases import ProfitCases


class TestProfitOnSqlite(ProfitCases):
    pass
