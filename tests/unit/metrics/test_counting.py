"""Counting is cheap, raises nothing, and every call of it names labels that there are."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from metrics import families
from metrics.numbers import NUMBERS, OTHER, Counter, Family, Histogram, Key, Values

ROOT = Path(__file__).parents[3]
#: Folders whose code counts.
COUNTING = ("exchanges", "feed", "guard", "runner", "tasks", "cli")


def grown(before: dict[Key, Values]) -> dict[Key, Values]:
    """Return what was counted since."""
    return {
        key: [a - b for a, b in zip(values, before.get(key, [0.0] * len(values)), strict=True)]
        for key, values in NUMBERS.copy().items()
        if values != before.get(key)
    }


def calls() -> list[tuple[str, Family, ast.Call]]:
    """Return every place that counts: file and line, what it counts, and the call."""
    found = []
    for folder in COUNTING:
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if (
                    isinstance(node, ast.Call)
                    and isinstance(node.func, ast.Attribute)
                    and isinstance(node.func.value, ast.Attribute)
                    and isinstance(node.func.value.value, ast.Name)
                    and node.func.value.value.id == "families"
                ):
                    where = f"{path.relative_to(ROOT)}:{node.lineno}"
                    found.append((where, getattr(families, node.func.value.attr), node))
    return found


def test_a_counter_adds_up_and_a_histogram_fills_its_buckets() -> None:
    counter = Counter(name="test_things", help="", labels={"kind": ("a", "b")})
    sizes = Histogram(name="test_sizes", help="", bounds=(1.0, 2.0))
    before = NUMBERS.copy()
    counter.add("a")
    counter.add("a", amount=2)
    for size in (0.5, 1.0, 1.5, 9.0):
        sizes.observe(size)
    assert grown(before) == {("test_things", "a"): [3.0], ("test_sizes",): [2.0, 1.0, 1.0, 12.0]}


def test_a_label_that_nobody_planned_makes_no_series_of_its_own() -> None:
    counter = Counter(name="test_reasons", help="", labels={"reason": ("known",)})
    before = NUMBERS.copy()
    for reason in ("known", "x" * 5000, "bp_sol_01", ""):
        counter.add(reason)
    assert grown(before) == {("test_reasons", "known"): [1.0], ("test_reasons", OTHER): [3.0]}


def test_nothing_is_kept_of_adding_nothing() -> None:
    before = NUMBERS.copy()
    Counter(name="test_nothing", help="").add(amount=0)
    assert grown(before) == {}


def test_every_place_that_counts_names_each_label_with_a_value_it_can_have() -> None:
    found = calls()
    assert len(found) > 20
    for where, family, call in found:
        values = call.args[1:] if isinstance(family, Histogram) else call.args
        assert len(values) == len(family.labels), where
        for value, known in zip(values, family.labels.values(), strict=True):
            if isinstance(value, ast.Constant):
                assert value.value in known, f"{where}: {value.value!r} is none of {known}"


def test_every_number_is_counted_somewhere() -> None:
    counted = {family.name for _, family, _ in calls()}
    assert {family.name for family in families.FAMILIES} - counted == set()


@pytest.mark.parametrize("family", families.FAMILIES, ids=lambda family: family.name)
def test_names_and_labels_are_prometheus_own_and_few(family: Family) -> None:
    assert family.name.startswith("cleanbook_")
    assert "instance_id" not in family.labels
    series = 1
    for values in family.labels.values():
        assert len(set(values)) == len(values)
        series *= len(values) + 1
    assert series <= 32
    if isinstance(family, Histogram):
        assert family.name.endswith("_seconds")
        assert list(family.bounds) == sorted(set(family.bounds))
