"""Long runs of every strategy: `make soak`. SOAK_EVENTS shortens or lengthens them, SOAK_SEED repeats one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.soak.fleet import (
    Member,
    every_strategy,
    hedge,
    perp_grid,
    perp_maker,
    spot_grid,
    spot_maker,
)
from tests.soak.run import run

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]

EVENTS = int(os.environ.get("SOAK_EVENTS", "10000"))
SEED = int(os.environ.get("SOAK_SEED", "1"))
DATA = Path(__file__).parents[3] / "shared" / "data"
#: Each with the number of its events.
SPOT_TAPE = DATA / "ethusdt_spot_20240808.jsonl.gz", 33_618
PERP_TAPE = DATA / "ethusdt_perp_20240808.jsonl.gz", 74_655

TAPES = [
    pytest.param(SPOT_TAPE, spot_maker("ETH_USDC"), id="spot market maker"),
    pytest.param(SPOT_TAPE, spot_grid(), id="spot grid"),
    pytest.param(SPOT_TAPE, hedge("ETH_USDC"), id="spot hedge"),
    pytest.param(PERP_TAPE, perp_maker("ETH_USDC_PERP"), id="perpetual market maker"),
    pytest.param(PERP_TAPE, perp_grid(), id="neutral grid"),
    pytest.param(PERP_TAPE, perp_grid(kind="long"), id="long grid"),
    pytest.param(PERP_TAPE, perp_grid(kind="short"), id="short grid"),
    pytest.param(PERP_TAPE, hedge("ETH_USDC_PERP"), id="perpetual hedge"),
]


def test_every_strategy_through_ten_thousand_trades(tmp_path: Path) -> None:
    run(tmp_path, every_strategy(), events=EVENTS, seed=SEED)


def test_every_strategy_through_ten_killed_workers(tmp_path: Path) -> None:
    run(tmp_path, every_strategy(), events=EVENTS // 2, kills=10, seed=SEED)


@pytest.mark.parametrize(("tape", "member"), TAPES)
def test_a_strategy_through_a_recorded_tape(tmp_path: Path, tape: tuple[Path, int], member: Member) -> None:
    path, events = tape
    if not path.is_file():
        pytest.skip(f"there is no recorded tape {path.name} beside the checkout")
    simulator = ("--tape", str(path), "--tape-symbol", member.symbol)
    run(tmp_path, [member], events=events, events_per_step=75, simulator=simulator, seed=SEED)
