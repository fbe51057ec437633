from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.svg import BLUE, RED, Axis, Key, Panel, Picture, axis_around, nice_step, tick_labels

X = Axis(label="seconds", low=0, high=10)
Y = Axis(label="price", low=100, high=200)


def panel(picture: Picture) -> Panel:
    """Return a panel whose area is 800 by 100 px, its top left corner at (80, 50)."""
    return Panel(picture, x=X, y=Y, top=50, bottom=150, left=80, right=20)


def last_path(picture: Picture) -> str:
    """Return the data of the path that was drawn last."""
    found = re.findall(r'<path [^>]*\bd="([^"]*)"', picture.render())
    return str(found[-1])


@pytest.mark.parametrize(
    ("span", "most", "expected"), [(10, 5, 2), (10, 10, 1), (0.37, 7, 0.1), (900, 4, 500), (4.9, 5, 1)]
)
def test_a_step_is_one_two_or_five_times_a_power_of_ten(span: float, most: int, expected: float) -> None:
    assert nice_step(span, most) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (-0.2, 0.21, ["-0.2", "-0.1", "0.0", "0.1", "0.2"]),
        (0, 10, ["0", "2", "4", "6", "8", "10"]),
        (2692.3, 2707.9, ["2695", "2700", "2705"]),
    ],
)
def test_labels_have_equally_many_decimals_and_no_negative_zero(
    low: float, high: float, expected: list[str]
) -> None:
    assert [label for _, label in tick_labels(Axis(label="", low=low, high=high, ticks=5))] == expected


@settings(max_examples=100)
@given(
    low=st.floats(min_value=-1e6, max_value=1e6),
    span=st.floats(min_value=1e-3, max_value=1e6),
    most=st.integers(min_value=2, max_value=12),
)
def test_every_tick_lies_on_its_axis(low: float, span: float, most: int) -> None:
    labels = tick_labels(Axis(label="", low=low, high=low + span, ticks=most))

    assert len(labels) <= most + 1
    assert all(low - span * 1e-3 <= value <= low + span * 1.001 for value, _ in labels)


def test_an_axis_without_length_is_refused() -> None:
    with pytest.raises(ValueError, match="no length"):
        Axis(label="price", low=1, high=1)


def test_an_axis_around_one_value_has_room_on_both_sides() -> None:
    axis = axis_around("price", [5.0, 5.0])

    assert axis.low < 5 < axis.high


def test_the_corners_of_the_axes_are_those_of_the_panel() -> None:
    area = panel(Picture(title="t"))

    assert area.at((0, 100)) == (80, 150)
    assert area.at((10, 200)) == (880, 50)


def test_steps_hold_a_value_until_the_next_one() -> None:
    picture = Picture(title="t")
    panel(picture).steps([(0, 100), (5, 150), (7.5, 150), (10, 100)], BLUE)

    assert last_path(picture) == "M80 150H480V100H680H880V150"


def test_a_segment_of_no_length_is_a_pixel_long() -> None:
    picture = Picture(title="t")
    panel(picture).segments([((5, 150), (5, 150)), ((0, 100), (10, 200))], BLUE)

    assert last_path(picture) == "M480 100H481M80 150L880 50"


def test_what_lies_outside_of_the_axes_is_cut_off() -> None:
    picture = Picture(title="t")
    panel(picture).dots([(20, 500)], BLUE)

    assert re.search(r'<clipPath id="c0"><rect x="80" y="50" width="800" height="100"/>', picture.render())
    assert 'clip-path="url(#c0)" stroke-width="6" stroke-linecap="round"' in picture.render()


def test_a_picture_is_xml_whatever_its_texts() -> None:
    picture = Picture(title='a < b & "c"', subtitle="<script>")
    area = panel(picture)
    area.mark(5, "<stop>")
    area.dots([(5, 150)], RED, hollow=True)
    picture.legend([Key(label="x & y", ink=RED, shape="ring"), Key(label="line", ink=BLUE)], x=80, y=70)
    root = ElementTree.fromstring(picture.render())

    assert root.findtext("{http://www.w3.org/2000/svg}title") == 'a < b & "c"'
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"<stop>", "x & y", "line", "seconds", "price"} <= set(texts)


def test_every_colour_has_a_counterpart_on_dark_ground() -> None:
    picture = Picture(title="t")
    panel(picture).line([(0, 100), (10, 200)], RED)
    light, dark = picture.render().split("@media (prefers-color-scheme:dark)")
    used = set(re.findall(r'class="(k\d+)"', dark))

    for name in used:
        assert re.search(rf"\.{name}\{{color:#", light)
        assert re.search(rf"\.{name}\{{color:#", dark)
    assert RED.light in light
    assert RED.dark in dark
