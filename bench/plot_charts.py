"""Charts of measured figures: bars in groups, and lines against a limit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.svg import AMBER, BLUE, MUTED, PURPLE, RED, TEXT, Axis, Key, Panel, Picture, Point

INKS = (BLUE, RED, AMBER, PURPLE, TEXT, MUTED)
#: Px: where panels begin, how high one is, what lies between two, and what is left of the axis.
_TOP, _HEIGHT, _GAP, _LEFT, _RIGHT = 84, 170, 62, 78, 20
_LEGEND_LINE = 18


@dataclass(frozen=True, kw_only=True)
class Bars:
    """Bars from zero, in groups along the x axis."""

    #: What the y axis shows, with its unit.
    label: str
    #: By group: bars by name, the same names in each.
    groups: Mapping[str, Mapping[str, float]]
    goal: float | None = None


@dataclass(frozen=True, kw_only=True)
class Lines:
    """Lines with a dot at each point."""

    label: str
    lines: Mapping[str, Sequence[Point]]
    goal: float


def draw_bars(title: str, subtitle: str, panels: Sequence[Bars]) -> str:
    """Return a picture with one panel below the other, as SVG."""
    height = _TOP + len(panels) * (_HEIGHT + _GAP)
    picture = Picture(title=title, subtitle=subtitle, height=height)
    for number, bars in enumerate(panels):
        _draw(picture, bars, _TOP + number * (_HEIGHT + _GAP))
    return picture.render()


def draw_lines(title: str, subtitle: str, chart: Lines) -> str:
    """Return a picture of lines, with the legend below them, as SVG."""
    bottom = _TOP + 300
    picture = Picture(title=title, subtitle=subtitle, height=bottom + 56 + _LEGEND_LINE * len(chart.lines))
    points = [point for line in chart.lines.values() for point in line]
    last = max(x for x, _ in points)
    panel = Panel(
        picture,
        x=Axis(label=chart.label, low=0.5, high=last + 0.5, ticks=min(12, round(last))),
        y=Axis(label="÷ limit", low=0, high=1.1 * max(chart.goal, *(y for _, y in points))),
        top=_TOP,
        bottom=bottom,
    )
    panel.segments([((0.5, chart.goal), (last + 0.5, chart.goal))], MUTED)
    for number, (name, line) in enumerate(chart.lines.items()):
        ink = INKS[number % len(INKS)]
        is_second_round = number >= len(INKS)
        panel.line(line, ink)
        panel.dots(line, ink, hollow=is_second_round)
        shape = "ring" if is_second_round else "dot"
        picture.legend(
            [Key(label=name, ink=ink, shape=shape)], x=_LEFT, y=bottom + 58 + number * _LEGEND_LINE
        )
    return picture.render()


def _draw(picture: Picture, bars: Bars, top: float) -> None:
    names = list(next(iter(bars.groups.values())))
    values = [value for group in bars.groups.values() for value in group.values()]
    highest = 1.08 * max(*values, bars.goal or 0.0, 1e-9)
    x = Axis(label="", low=0, high=len(bars.groups), ticks=len(bars.groups))
    panel = Panel(
        picture,
        x=x,
        y=Axis(label=bars.label, low=0, high=highest, ticks=5),
        top=top,
        bottom=top + _HEIGHT,
        labels_x=False,
    )
    width_px = (picture.width - _LEFT - _RIGHT) / len(bars.groups) / (len(names) + 1)
    for place, (group, figures) in enumerate(bars.groups.items()):
        for number, value in enumerate(figures.values()):
            at = place + (number + 1) / (len(names) + 1)
            panel.segments([((at, 0.0), (at, value))], INKS[number], width=min(28.0, 0.7 * width_px))
            x_px, y_px = panel.at((at, value))
            picture.text(x_px, y_px - 4, f"{value:.3g}" if value < 1000 else f"{value:.0f}", anchor="middle")
        picture.text(panel.at((place + 0.5, 0))[0], top + _HEIGHT + 17, group, anchor="middle")
    if bars.goal is not None:
        panel.segments([((0.0, bars.goal), (x.high, bars.goal))], MUTED)
        picture.text(panel.at((x.high, bars.goal))[0], panel.at((0, bars.goal))[1] - 4, "goal", anchor="end")
    if len(names) > 1:
        keys = [Key(label=name, ink=INKS[number]) for number, name in enumerate(names)]
        picture.legend(keys, x=_LEFT, y=top - 12)
