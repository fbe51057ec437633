"""Charts of benches: everything measured is in the picture."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench.plot_charts import Bars, draw_bars, draw_lines
from bench.plots import FOLDER, PLOTS, history, loads
from bench.smoke import FIGURES


def texts(svg: str) -> list[str]:
    """Return every text of a picture, which must be well-formed."""
    return [
        (element.text or "").strip()
        for element in ElementTree.fromstring(svg).iter()
        if element.tag.endswith("text")
    ]


def test_every_bar_stands_on_zero_and_has_its_value_its_group_and_its_name() -> None:
    bars = Bars(label="ms", groups={"few": {"raw": 1, "ours": 2}, "many": {"raw": 3, "ours": 1234.5}})
    svg = draw_bars("Title", "where from", [bars])
    assert {"Title", "where from", "ms", "few", "many", "raw", "ours", "1", "2", "3", "1234"} <= set(
        texts(svg)
    )
    thick = re.findall(r'stroke-width="28" d="M[\d.]+ ([\d.]+)L[\d.]+ ([\d.]+)"', svg)
    assert len(thick) == 4
    assert {foot for foot, _ in thick} == {thick[0][0]}
    heights = [float(foot) - float(head) for foot, head in thick]
    assert heights == sorted(heights)


def test_a_goal_is_in_the_picture_even_where_nothing_reaches_it() -> None:
    (goal_y,) = re.findall(
        r'y="([\d.]+)"[^>]*>goal<', draw_bars("t", "", [Bars(label="", groups={"a": {"b": 1}}, goal=9)])
    )
    assert 84 < float(goal_y) < 130


def test_the_history_shows_each_figure_as_a_part_of_its_limit() -> None:
    first, second = FIGURES[:2]
    entries = [
        {"at": "2026-11-27T01:00Z", "figures": {first.name: first.limit / 2}},
        {"at": "2026-12-01T01:00Z", "figures": {first.name: first.limit, second.name: 0}},
    ]
    title, subtitle, chart = history("".join(json.dumps(entry) + "\n" for entry in entries))
    assert subtitle.startswith("2026-11-27 to 2026-12-01")
    assert chart.lines[first.name] == [(1, 0.5), (2, 1.0)]
    assert chart.lines[second.name] == [(2, 0.0)], "a figure may be newer than the history"
    assert {figure.name for figure in FIGURES} <= set(texts(draw_lines(title, subtitle, chart)))


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.json")), ids=lambda path: path.stem)
def test_what_is_kept_can_be_drawn(path: Path) -> None:
    plot = PLOTS[path.stem]
    svg = draw_bars(plot.title, "", plot.bars(json.loads(path.read_text(encoding="utf-8"))))
    assert plot.title in texts(svg)


@pytest.mark.parametrize(
    "found",
    [{"load_before": 0.5, "load_after": 6.56}, {"loads_1_min": [2, 6.56, 0.5]}, {"load": [0.5, 6.56]}],
)
def test_a_picture_tells_how_loaded_the_machine_was(found: dict[str, object]) -> None:
    assert loads(found) == ", load of the machine 0.5 to 6.6"
    assert loads({"bench": "of before"}) == ""
