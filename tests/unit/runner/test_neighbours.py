"""A start says when another hedge works on the same position."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from runner.config import InstanceConfig
from runner.loaded import LoadedInstance, from_config
from runner.neighbours import shared_hedge
from state.record import Phase

OURS, OTHER, ACCOUNT, SYMBOL = "hedge_1", "hedge_2", "main", "SOL_USDC_PERP"


def text(instance_id: str, *, symbol: str = SYMBOL, strategy: str = "maker_hedge", kind: str = "perp") -> str:
    """Return an instance's configuration (JSON)."""
    metadata = {
        "instance_id": instance_id,
        "exchange": "backpack",
        "symbol": symbol,
        "market_type": kind,
        "strategy": strategy,
    }
    params = {"quantity": 1, "spread": 0.2, "max_orders": 1, "interval": 60}
    hedge = {"quantity": 1, "max_position": 2, "interval": 60}
    return json.dumps(
        {
            "metadata": metadata,
            "exchange_config": {"api_key": "${K}", "secret_key": "${S}"},
            "strategy_config": hedge if strategy == "maker_hedge" else params,
        }
    )


def loaded(**changes: str) -> LoadedInstance:
    return from_config(InstanceConfig.from_json(text(OURS, **changes)))


def context(config_json: str, *, account: str = ACCOUNT, phase: Phase = Phase.RUNNING) -> Any:
    """Return what knows of our instance and of another one."""
    records = [
        SimpleNamespace(instance_id=OURS, account=ACCOUNT, phase=Phase.RUNNING),
        SimpleNamespace(instance_id=OTHER, account=account, phase=phase),
    ]
    texts = {OURS: text(OURS), OTHER: config_json}
    instances = SimpleNamespace(read_all=lambda _: records, config_json=texts.__getitem__)
    return SimpleNamespace(instances=instances)


@pytest.mark.parametrize("phase", [Phase.RUNNING, Phase.STOPPING, Phase.FAILED])
def test_a_hedge_beside_another_in_one_position_is_told_of(phase: Phase) -> None:
    (warning,) = shared_hedge(context(text(OTHER), phase=phase), loaded(), ACCOUNT)
    assert warning.startswith(f"{OTHER} hedges in {SYMBOL} of the same account")


@pytest.mark.parametrize(
    "beside",
    [
        context(text(OTHER), account="another"),
        context(text(OTHER), phase=Phase.STOPPED),
        context(text(OTHER, symbol="ETH_USDC_PERP")),
        context(text(OTHER, strategy="standard")),
        context(text(OTHER, strategy="of a plugin that is gone")),
        context(""),
    ],
    ids=["another account", "stopped", "another market", "no hedge", "unknown strategy", "unreadable"],
)
def test_whatever_else_runs_is_not(beside: Any) -> None:
    assert shared_hedge(beside, loaded(), ACCOUNT) == ()


@pytest.mark.parametrize("changes", [{"strategy": "standard"}, {"symbol": "SOL_USDC", "kind": "spot"}])
def test_who_shares_no_position_is_told_nothing(changes: dict[str, str]) -> None:
    beside = context(text(OTHER, **changes))
    assert shared_hedge(beside, loaded(**changes), ACCOUNT) == ()
