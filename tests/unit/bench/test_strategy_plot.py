from __future__ import annotations

import re
from decimal import Decimal
from xml.etree import ElementTree

from bench.strategy_plot import plot
from bench.strategy_runs import Recording, Scenario, Touch
from bench.witness import FillDot, OrderLine, Witness
from market.orders import Role, Side

SCENARIO = Scenario(
    name="grid",
    title="A grid",
    caption="What it does.",
    strategy="grid",
    symbol="SOL_USDC",
    params={},
    seed=1,
    taker_label="hedges",
)


def line(side: Side, price: str, *, role: Role = Role.QUOTE, post_only: bool = True) -> OrderLine:
    return OrderLine(
        side=side,
        role=role,
        price=Decimal(price),
        began_at_ms=2_000,
        ended_at_ms=5_000,
        post_only=post_only,
    )


def fill(price: str, *, is_maker: bool) -> FillDot:
    return FillDot(
        at_ms=5_000,
        side=Side.BUY,
        role=Role.QUOTE,
        price=Decimal(price),
        quantity=Decimal(1),
        is_maker=is_maker,
    )


def drawn(witness: Witness) -> str:
    """Return the picture of a run from 1 to 11 s that was stopped at 9 s."""
    touches = [Touch(at_ms=at_ms, bid=99.9, ask=100.1) for at_ms in range(1_000, 11_001, 500)]
    recording = Recording(
        touches=touches, witness=witness, stop_asked_at_ms=9_000, stopped_at_ms=9_100, iterations=4
    )
    return plot(SCENARIO, recording)


def legend_of(picture: str) -> list[str]:
    root = ElementTree.fromstring(picture)
    named = {"mid", "bids", "asks", "closing orders", "fills", "hedges"}
    texts = [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")]
    return [text for text in texts if text in named]


def test_the_legend_names_what_is_drawn_and_nothing_else() -> None:
    bids_only = drawn(Witness(base_asset="SOL", lines=[line(Side.BUY, "99")]))
    everything = drawn(
        Witness(
            base_asset="SOL",
            lines=[
                line(Side.BUY, "99"),
                line(Side.SELL, "101"),
                line(Side.SELL, "101.5", role=Role.CLOSE),
                line(Side.SELL, "98", role=Role.HEDGE, post_only=False),
            ],
            fills=[fill("99", is_maker=True), fill("99.9", is_maker=False)],
            net=[(5_000, Decimal(1))],
        )
    )

    assert legend_of(bids_only) == ["mid", "bids"]
    assert legend_of(everything) == ["mid", "bids", "asks", "closing orders", "fills", "hedges"]


def test_an_order_is_drawn_for_as_long_as_it_rested() -> None:
    picture = drawn(Witness(base_asset="SOL", lines=[line(Side.BUY, "99")]))

    # 802 px are 10 s, from 78 px on.
    (start, end), *_ = re.findall(r'd="M([\d.]+) [\d.]+H([\d.]+)"/>\n<path [^>]*stroke-width="1.5"', picture)
    assert (float(start), float(end)) == (158.2, 398.8)


def test_an_order_that_still_rests_reaches_to_the_end() -> None:
    resting = line(Side.BUY, "99")
    resting.ended_at_ms = None

    assert re.search(r'd="M158.2 [\d.]+H880"', drawn(Witness(base_asset="SOL", lines=[resting])))


def test_orders_that_trade_at_once_do_not_stretch_the_price_axis() -> None:
    far_away = line(Side.SELL, "50", role=Role.HEDGE, post_only=False)
    root = ElementTree.fromstring(drawn(Witness(base_asset="SOL", lines=[line(Side.BUY, "99"), far_away])))

    texts = {element.text for element in root.iter("{http://www.w3.org/2000/svg}text")}
    assert "99.0" in texts
    assert "60" not in texts


def test_every_fill_lies_within_the_price_axis() -> None:
    witness = Witness(base_asset="SOL", lines=[line(Side.BUY, "99")], fills=[fill("108", is_maker=False)])
    witness.net = [(5_000, Decimal(1))]
    root = ElementTree.fromstring(drawn(witness))

    assert "108" in {element.text for element in root.iter("{http://www.w3.org/2000/svg}text")}
