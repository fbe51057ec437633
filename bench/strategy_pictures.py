"""A picture of every strategy at work: its quotes against the price, its fills, and what it holds.

    python bench/strategy_pictures.py [--quick] [--only NAME] [--folder FOLDER]

Each strategy runs for real: server, workers and simulated exchange of its own, on a random walk that is
played event by event. The orders shown are those of the exchange's journal. One SVG per strategy is written
to docs/img; with `--quick` the runs are short and the pictures go to .run/pictures. Progress goes to standard
error; standard output ends with one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.progress import say  # noqa: E402
from bench.strategy_plot import plot  # noqa: E402 - the checkout is put on the path first
from bench.strategy_runs import Recording, RunFailed, Scenario, run  # noqa: E402

#: A picture above this size makes a page slow.
MOST_BYTES = 150_000
QUICK_SECONDS = 4.0

_RANGE = {"auto_price_range": True, "grid_num": 13, "order_quantity": "0.05"}

SCENARIOS = (
    Scenario(
        name="market-maker",
        title="MarketMaker on SOL_USDC",
        caption="Three layers a side follow the mid once a second; what was hit is quoted anew.",
        strategy="standard",
        symbol="SOL_USDC",
        params={
            "interval": "1",
            "spread": "0.08",
            "quantity": "0.5",
            "max_orders": 3,
            "layer_spacing": "bps",
            "layer_step_bps": "2",
            "base_asset_target": 23,
        },
        seed=24,
    ),
    Scenario(
        name="perpetual-market-maker",
        title="PerpetualMarketMaker on SOL_USDC_PERP",
        caption="A position shifts all quotes against itself; what goes beyond its line is closed at once.",
        strategy="standard",
        symbol="SOL_USDC_PERP",
        params={
            "interval": "1",
            "spread": "0.08",
            "quantity": "0.5",
            "max_orders": 3,
            "layer_spacing": "bps",
            "layer_step_bps": "2",
            "max_position": "3",
            "target_position": "0",
            "position_threshold": "2",
            "inventory_skew": "1",
        },
        seed=6,
        taker_label="position control",
    ),
    Scenario(
        name="grid",
        title="GridStrategy on ETH_USDC",
        caption="Each buy that fills gets a sell one level higher, each sell a buy one level lower.",
        strategy="grid",
        symbol="ETH_USDC",
        params={**_RANGE, "price_range_percent": "0.2"},
        seed=15,
    ),
    Scenario(
        name="perp-grid",
        title="PerpGridStrategy on ETH_USDC_PERP, neutral",
        caption="Long below the first price, short above it: the position falls as the price rises.",
        strategy="perp_grid",
        symbol="ETH_USDC_PERP",
        params={**_RANGE, "price_range_percent": "0.25", "max_position": "1"},
        seed=12,
    ),
    Scenario(
        name="maker-hedge",
        title="MakerTakerHedgeStrategy on SOL_USDC_PERP",
        caption="Every fill at the best price is traded back at once: the position returns to zero.",
        strategy="maker_hedge",
        symbol="SOL_USDC_PERP",
        params={"quantity": "0.2", "max_position": "2"},
        seed=1,
        seconds=30.0,
        events_per_s=4.0,
        taker_label="hedges",
    ),
    Scenario(
        name="two-sided",
        title="TwoSidedQuoter on BTC_USDC",
        caption="One bid and one ask around the mid: the example to write one's own strategy from.",
        strategy="two_sided",
        symbol="BTC_USDC",
        params={"interval": "1", "half_spread_bps": "4", "quantity": "0.01"},
        seed=26,
        seconds=45.0,
    ),
)


def main() -> int:
    """Run and draw, and end with one line of JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick", action="store_true", help=f"every second one for {QUICK_SECONDS:g} s, under 40 s"
    )
    parser.add_argument("--only", choices=[scenario.name for scenario in SCENARIOS])
    parser.add_argument("--folder", type=Path, help="where the pictures go")
    options = parser.parse_args()
    folder = options.folder or (ROOT / (".run/pictures" if options.quick else "docs/img"))
    folder.mkdir(parents=True, exist_ok=True)
    began_s = time.monotonic()
    figures = {}
    # Whoever names one gets it.
    for scenario in SCENARIOS[::2] if options.quick and not options.only else SCENARIOS:
        if options.only in {None, scenario.name}:
            seconds = QUICK_SECONDS if options.quick else scenario.seconds
            figures[scenario.name] = _picture(scenario, seconds, folder, must_fill=not options.quick)
    print(
        json.dumps(
            {
                "bench": "strategy_pictures",
                "quick": options.quick,
                "took_s": round(time.monotonic() - began_s, 1),
                "load_1_min": round(os.getloadavg()[0], 2),
                "pictures": figures,
            }
        )
    )
    return 0


def _picture(scenario: Scenario, seconds: float, folder: Path, *, must_fill: bool) -> dict[str, object]:
    say(f"{scenario.name}: running for {seconds:g} s")
    recording = run(scenario, seconds=seconds)
    if must_fill and not recording.witness.fills:
        raise RunFailed(f"{scenario.name}: nothing was filled")
    path = folder / f"strategy-{scenario.name}.svg"
    content = plot(scenario, recording)
    size = len(content.encode())
    if size > MOST_BYTES:
        raise RunFailed(f"{path} would have {size} bytes, more than {MOST_BYTES}")
    path.write_text(content, encoding="utf-8")
    figures = _figures(recording) | {"bytes": size}
    say(f"{path}: {figures}")
    return figures


def _figures(recording: Recording) -> dict[str, object]:
    fills = recording.witness.fills
    return {
        "iterations": recording.iterations,
        "orders": len(recording.witness.lines),
        "fills": len(fills),
        "taker_fills": sum(not fill.is_maker for fill in fills),
        "net_at_end": str(recording.witness.net[-1][1]) if recording.witness.net else "0",
        "stop_ms": recording.stopped_at_ms - recording.stop_asked_at_ms,
    }


if __name__ == "__main__":
    sys.exit(main())
