"""Long runs of every strategy: `make soak`. SOAK_EVENTS shortens or lengthens them, SOAK_SEED repeats one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.soak.checks import check_at_rest, check_stopped
from tests.soak.fleet import (
    MODES,
    Member,
    every_strategy,
    hedge,
    perp_grid,
    perp_maker,
    spot_grid,
    spot_maker,
)
from tests.soak.world import fleet

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


def run(
    folder: Path,
    members: list[Member],
    *,
    events: int,
    events_per_step: int = 5,
    kills: int = 0,
    simulator: tuple[str, ...] = (),
) -> None:
    """Run a fleet, and hold it to everything that must be true afterwards."""
    with fleet(folder, members, seed=SEED, simulator=simulator) as found:
        found.run(events=events, events_per_step=events_per_step, kills=kills)
        assert found.modes_seen == set(MODES)
        assert found.kills == kills
        found.settle()
        assert check_at_rest(found) == []
        found.stop()
        assert check_stopped(found) == []
        for line in found.summary():
            print(line)  # noqa: T201 - a soak run is watched
        assert all(audit.fills for audit in found.audits().values())


def test_every_strategy_through_ten_thousand_trades(tmp_path: Path) -> None:
    run(tmp_path, every_strategy(), events=EVENTS)


def test_every_strategy_through_ten_killed_workers(tmp_path: Path) -> None:
    run(tmp_path, every_strategy(), events=EVENTS // 2, kills=10)


@pytest.mark.parametrize(("tape", "member"), TAPES)
def test_a_strategy_through_a_recorded_tape(tmp_path: Path, tape: tuple[Path, int], member: Member) -> None:
    path, events = tape
    if not path.is_file():
        pytest.skip(f"there is no recorded tape {path.name} beside the checkout")
    simulator = ("--tape", str(path), "--tape-symbol", member.symbol)
    run(tmp_path, [member], events=events, events_per_step=75, simulator=simulator)
