"""A small writer of plots as SVG: panels with axes, lines, steps, segments, dots, a legend.

The picture brings its own ground, and its colours change with the scheme of the reader, so it can be read on
light and on dark pages. Values are floats: a plot shows money, it does not count it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

Point = tuple[float, float]

#: Width of one character of the smallest text, px; only to leave room for it.
_CHARACTER_PX = 6.3


@dataclass(frozen=True, kw_only=True)
class Ink:
    """A colour on light ground and its counterpart on dark ground, as `#rrggbb`."""

    light: str
    dark: str


GROUND = Ink(light="#ffffff", dark="#0f1419")
TEXT = Ink(light="#1f2328", dark="#e6edf3")
MUTED = Ink(light="#59636e", dark="#9198a1")
RULE = Ink(light="#e3e7eb", dark="#262c34")
BLUE = Ink(light="#0969da", dark="#58a6ff")
RED = Ink(light="#cf222e", dark="#ff7b72")
AMBER = Ink(light="#b35900", dark="#f0a83a")
PURPLE = Ink(light="#8250df", dark="#d2a8ff")


@dataclass(frozen=True, kw_only=True)
class Axis:
    """What an axis shows and between which values."""

    label: str
    low: float
    high: float
    #: Most ticks.
    ticks: int = 7

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(f"axis {self.label!r} from {self.low:g} to {self.high:g} has no length")


def axis_around(label: str, values: Iterable[float], *, room: float = 0.06, ticks: int = 7) -> Axis:
    """Return an axis that holds `values` with `room`, a part of their span, on both ends.

    Raises `ValueError` when there are none.
    """
    found = list(values)
    low, high = min(found), max(found)
    span = (high - low) or abs(high) or 1.0
    return Axis(label=label, low=low - span * room, high=high + span * room, ticks=ticks)


def nice_step(span: float, most: int) -> float:
    """Return the smallest of 1, 2, 5 times a power of ten that `span` holds at most `most` times."""
    least = span / most
    power = 10.0 ** math.floor(math.log10(least))
    return next((times * power for times in (1, 2, 5) if times * power >= least * (1 - 1e-9)), 10 * power)


def tick_labels(axis: Axis) -> list[tuple[float, str]]:
    """Return the values of an axis worth a label, with equally many decimals each."""
    step = nice_step(axis.high - axis.low, axis.ticks)
    first, last = math.ceil(axis.low / step - 1e-9), math.floor(axis.high / step + 1e-9)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return [(number * step, f"{number * step:.{decimals}f}") for number in range(first, last + 1)]


@dataclass(frozen=True, kw_only=True)
class Key:
    """An entry of the legend."""

    label: str
    ink: Ink
    #: "line", "dot" or "ring".
    shape: str = "line"


class Picture:
    """One SVG file in the making."""

    def __init__(self, *, title: str, subtitle: str = "", width: int = 900, height: int = 520) -> None:
        self.width, self.height = width, height
        self._title, self._subtitle = title, subtitle
        self._parts: list[str] = []
        self._clips: list[str] = []
        self._inks: list[Ink] = [GROUND, TEXT, MUTED, RULE]

    def ink(self, ink: Ink) -> str:
        """Return the class that gives an element this colour."""
        if ink not in self._inks:
            self._inks.append(ink)
        return f"k{self._inks.index(ink)}"

    def add(self, part: str) -> None:
        """Draw an element over what is there already."""
        self._parts.append(part)

    def clip(self, x: float, y: float, width: float, height: float) -> str:
        """Return the name of a clip path of this rectangle."""
        name = f"c{len(self._clips)}"
        shape = f'<rect x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" height="{_n(height)}"/>'
        self._clips.append(f'<clipPath id="{name}">{shape}</clipPath>')
        return name

    def text(
        self, x: float, y: float, text: str, *, ink: Ink = MUTED, anchor: str = "start", size: int = 12
    ) -> None:
        """Write one line; `y` is its base line, `anchor` is "start", "middle" or "end"."""
        self.add(
            f'<text class="{self.ink(ink)}" x="{_n(x)}" y="{_n(y)}" text-anchor="{anchor}" '
            f'font-size="{size}">{escape(text)}</text>'
        )

    def legend(self, keys: Sequence[Key], *, x: float, y: float) -> None:
        """Write the entries of a legend side by side, from `x` on."""
        for key in keys:
            name = self.ink(key.ink)
            if key.shape == "line":
                mark = f'd="M{_n(x)} {_n(y - 4)}h16" stroke-width="2.5"'
            else:
                mark = f'd="M{_n(x + 8)} {_n(y - 4)}h0" stroke-linecap="round" stroke-width="8"'
            self.add(f'<path class="{name}" {mark}/>')
            if key.shape == "ring":
                hole = f'd="M{_n(x + 8)} {_n(y - 4)}h0" stroke-linecap="round" stroke-width="4"'
                self.add(f'<path class="{self.ink(GROUND)}" {hole}/>')
            self.text(x + 22, y, key.label, ink=TEXT)
            x += 22 + len(key.label) * _CHARACTER_PX + 18

    def render(self) -> str:
        """Return the file's content."""
        light = "".join(f".k{index}{{color:{ink.light}}}" for index, ink in enumerate(self._inks))
        dark = "".join(f".k{index}{{color:{ink.dark}}}" for index, ink in enumerate(self._inks))
        described = f"<title>{escape(self._title)}</title><desc>{escape(self._subtitle)}</desc>"
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" '
                f'width="{self.width}" height="{self.height}" role="img" '
                'font-family="system-ui, -apple-system, Segoe UI, DejaVu Sans, sans-serif">',
                described,
                "<style>text{fill:currentColor}path{fill:none;stroke:currentColor}rect{fill:currentColor}"
                f"{light}@media (prefers-color-scheme:dark){{{dark}}}</style>",
                f"<defs>{''.join(self._clips)}</defs>",
                f'<rect class="k0" width="{self.width}" height="{self.height}" rx="6"/>',
                '<text class="k1" x="20" y="28" font-size="16" font-weight="600">',
                f"{escape(self._title)}</text>",
                f'<text class="k2" x="20" y="46" font-size="12">{escape(self._subtitle)}</text>',
                *self._parts,
                "</svg>\n",
            ]
        )


class Panel:
    """A rectangle of a picture with an x and a y axis; what is drawn outside of it is cut off."""

    def __init__(
        self,
        picture: Picture,
        *,
        x: Axis,
        y: Axis,
        top: float,
        bottom: float,
        left: float = 78,
        right: float = 20,
        labels_x: bool = True,
    ) -> None:
        """Draw the axes. In px: `top` and `bottom` from the picture's top, `left` and `right` as margins."""
        self._picture, self._x, self._y = picture, x, y
        self._left, self._right = left, picture.width - right
        self._top, self._bottom = top, bottom
        self._clip = picture.clip(left, top, self._right - left, bottom - top)
        self._draw_axes(labels_x=labels_x)

    def at(self, point: Point) -> Point:
        """Return where a point is, px."""
        x, y = point
        return (
            self._left + (x - self._x.low) / (self._x.high - self._x.low) * (self._right - self._left),
            self._bottom - (y - self._y.low) / (self._y.high - self._y.low) * (self._bottom - self._top),
        )

    def line(self, points: Sequence[Point], ink: Ink, *, width: float = 1.5) -> None:
        """Draw straight lines from point to point."""
        data = "L".join(f"{_n(x)} {_n(y)}" for x, y in map(self.at, points))
        self._path(f"M{data}" if points else "", ink, width)

    def steps(self, points: Sequence[Point], ink: Ink, *, width: float = 1.5) -> None:
        """Draw values that hold until the next one."""
        data, last = "", ("", "")
        for x, y in map(self.at, points):
            place = (_n(x), _n(y))
            if not data:
                data = f"M{place[0]} {place[1]}"
            elif place[1] != last[1]:
                data += f"H{place[0]}V{place[1]}"
            elif place[0] != last[0]:
                data += f"H{place[0]}"
            last = place
        self._path(data, ink, width)

    def segments(self, ends: Iterable[tuple[Point, Point]], ink: Ink, *, width: float = 1.5) -> None:
        """Draw a straight line for each pair of points, at least a pixel long."""
        data = []
        for first, second in ends:
            (x0, y0), (x1, y1) = self.at(first), self.at(second)
            if abs(y1 - y0) < 0.05:
                data.append(f"M{_n(x0)} {_n(y0)}H{_n(max(x1, x0 + 1))}")
            else:
                data.append(f"M{_n(x0)} {_n(y0)}L{_n(x1)} {_n(y1)}")
        self._path("".join(data), ink, width)

    def dots(self, points: Iterable[Point], ink: Ink, *, radius: float = 3, hollow: bool = False) -> None:
        """Draw a disc, or a ring, with a thin edge of the ground around each point."""
        data = "".join(f"M{_n(x)} {_n(y)}h0" for x, y in map(self.at, points))
        layers = [(GROUND, radius + 1), (ink, radius), *([(GROUND, radius - 1.5)] if hollow else [])]
        for colour, size in layers:
            self._path(data, colour, 2 * size, cap="round")

    def mark(self, x: float, label: str) -> None:
        """Draw a dashed vertical line with a label at its top."""
        place = _n(self.at((x, 0))[0])
        data = f"M{place} {_n(self._top)}V{_n(self._bottom)}"
        self._path(data, MUTED, 1, dash="4 3")
        if label:
            self._picture.text(float(place) - 4, self._top + 12, label, anchor="end")

    def _path(self, data: str, ink: Ink, width: float, *, cap: str = "", dash: str = "") -> None:
        if not data:
            return
        more = f' stroke-linecap="{cap}"' if cap else ""
        more += f' stroke-dasharray="{dash}"' if dash else ""
        self._picture.add(
            f'<path class="{self._picture.ink(ink)}" clip-path="url(#{self._clip})" '
            f'stroke-width="{_n(width)}"{more} d="{data}"/>'
        )

    def _draw_axes(self, *, labels_x: bool) -> None:
        picture = self._picture
        for value, label in tick_labels(self._y):
            y = self.at((self._x.low, value))[1]
            self._path(f"M{_n(self._left)} {_n(y)}H{_n(self._right)}", RULE, 1)
            picture.text(self._left - 8, y + 4, label, anchor="end")
        for value, label in tick_labels(self._x):
            x = self.at((value, self._y.low))[0]
            self._path(f"M{_n(x)} {_n(self._top)}V{_n(self._bottom)}", RULE, 1)
            if labels_x:
                picture.text(x, self._bottom + 17, label, anchor="middle")
        if labels_x:
            picture.text((self._left + self._right) / 2, self._bottom + 36, self._x.label, anchor="middle")
        middle = _n((self._top + self._bottom) / 2)
        picture.add(
            f'<text class="{picture.ink(MUTED)}" transform="translate(18 {middle}) rotate(-90)" '
            f'text-anchor="middle" font-size="12">{escape(self._y.label)}</text>'
        )


def _n(number: float) -> str:
    """Return a length as short as a tenth of a pixel allows."""
    # Adding 0 makes a negative zero a plain one.
    return f"{round(number, 1) + 0:.1f}".removesuffix(".0")
