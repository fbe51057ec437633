from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from simulator import accounts

KEY = accounts.built_in()["other"].public_key


def write(path: Path, content: Any) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_a_file_adds_accounts_and_changes_built_in_ones(tmp_path: Path) -> None:
    path = write(
        tmp_path / "accounts.json",
        [
            {"name": "demo", "balances": {"USDC": "10"}},
            {"name": "maker", "public_key": KEY, "perp_maker_bps": "-0.5"},
        ],
    )
    loaded = accounts.load(path)
    assert set(loaded) == {"demo", "other", "maker"}
    assert loaded["demo"].balances == {"USDC": Decimal(10)}
    assert loaded["demo"].public_key == accounts.built_in()["demo"].public_key
    assert loaded["maker"].fee_bps(perp=True, maker=True) == Decimal("-0.5")
    assert loaded["maker"].balances["SOL"] > 0
    assert len({account.user_id for account in loaded.values()}) == 3


@pytest.mark.parametrize(
    "content",
    [
        "{",
        {"name": "demo"},
        [{"public_key": KEY}],
        [{"name": "new"}],
        [{"name": "new", "public_key": "AAAA"}],
        [{"name": "demo", "more_keys": ["AAAA"]}],
        [{"name": "demo", "fee": "1"}],
        [{"name": "demo", "balances": {"USDC": "much"}}],
    ],
    ids=[
        "json",
        "no list",
        "no name",
        "no key",
        "short key",
        "short further key",
        "unknown field",
        "no number",
    ],
)
def test_a_file_that_is_not_understood_is_named(tmp_path: Path, content: Any) -> None:
    path = write(tmp_path / "accounts.json", content)
    with pytest.raises(accounts.AccountsError, match=r"accounts\.json"):
        accounts.load(path)
