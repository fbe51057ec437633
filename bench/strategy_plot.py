"""Draw what one run of a strategy did: orders, fills and the mid above, what it held below."""

from __future__ import annotations

from collections.abc import Iterable

from bench.strategy_runs import Recording, Scenario
from bench.svg import AMBER, BLUE, PURPLE, RED, TEXT, Axis, Ink, Key, Panel, Picture, Point, axis_around
from bench.witness import OrderLine
from market.orders import Role, Side

_PRICE_TOP, _PRICE_BOTTOM = 84, 372
_NET_TOP, _NET_BOTTOM = 388, 470

#: What an order is drawn as: name in the legend, colour.
_BID, _ASK, _CLOSE = ("bids", BLUE), ("asks", RED), ("closing orders", PURPLE)


def plot(scenario: Scenario, recording: Recording) -> str:
    """Return the picture as SVG."""
    return _Plot(scenario, recording).draw()


class _Plot:
    def __init__(self, scenario: Scenario, recording: Recording) -> None:
        self._scenario, self._recording = scenario, recording
        self._first_ms = recording.touches[0].at_ms
        self._end_ms = recording.touches[-1].at_ms

    def draw(self) -> str:
        scenario, witness = self._scenario, self._recording.witness
        picture = Picture(title=scenario.title, subtitle=scenario.caption)
        time_axis = Axis(label="seconds", low=0, high=(self._end_ms - self._first_ms) / 1000, ticks=13)
        resting = [line for line in witness.lines if line.post_only]
        price_axis = axis_around(
            "price, USDC",
            [
                *(float(line.price) for line in resting),
                *(float(fill.price) for fill in witness.fills),
                *(touch.mid for touch in self._recording.touches),
            ],
        )
        prices = Panel(
            picture, x=time_axis, y=price_axis, top=_PRICE_TOP, bottom=_PRICE_BOTTOM, labels_x=False
        )
        keys = [Key(label="mid", ink=TEXT)]
        for label, ink in (_BID, _ASK, _CLOSE):
            lines = [line for line in resting if _kind(line) == (label, ink)]
            if lines:
                prices.segments(self._segments(lines), ink, width=1.6)
                keys.append(Key(label=label, ink=ink))
        prices.steps([(self._x(touch.at_ms), touch.mid) for touch in self._recording.touches], TEXT)
        keys += self._fills(prices)
        prices.mark(self._x(self._recording.stop_asked_at_ms), "stop")
        self._net(picture, time_axis)
        picture.legend(keys, x=78, y=72)
        return picture.render()

    def _segments(self, lines: Iterable[OrderLine]) -> Iterable[tuple[Point, Point]]:
        for line in lines:
            price, ended_ms = float(line.price), line.ended_at_ms or self._end_ms
            yield (self._x(line.began_at_ms), price), (self._x(ended_ms), price)

    def _fills(self, panel: Panel) -> list[Key]:
        fills = self._recording.witness.fills
        kinds = (("fills", TEXT, True), (self._scenario.taker_label, AMBER, False))
        keys = []
        for label, ink, is_maker in kinds:
            points = [(self._x(f.at_ms), float(f.price)) for f in fills if f.is_maker is is_maker]
            if points:
                panel.dots(points, ink, radius=3.2, hollow=not is_maker)
                keys.append(Key(label=label, ink=ink, shape="dot" if is_maker else "ring"))
        return keys

    def _net(self, picture: Picture, time_axis: Axis) -> None:
        scenario, net = self._scenario, self._recording.witness.net
        held: list[Point] = [(0.0, 0.0), *((self._x(at_ms), float(amount)) for at_ms, amount in net)]
        held.append((time_axis.high, held[-1][1]))
        name = "position" if scenario.is_perp else "net bought"
        axis = axis_around(
            f"{name}, {scenario.base_asset}", [*(amount for _, amount in held), 0.0], room=0.12, ticks=4
        )
        panel = Panel(picture, x=time_axis, y=axis, top=_NET_TOP, bottom=_NET_BOTTOM)
        panel.line([(0.0, 0.0), (time_axis.high, 0.0)], TEXT, width=0.6)
        panel.steps(held, AMBER, width=2)
        panel.mark(self._x(self._recording.stop_asked_at_ms), "")

    def _x(self, at_ms: int) -> float:
        return (at_ms - self._first_ms) / 1000


def _kind(line: OrderLine) -> tuple[str, Ink]:
    if line.role is Role.CLOSE:
        return _CLOSE
    return _BID if line.side is Side.BUY else _ASK
