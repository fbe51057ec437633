"""Prometheus takes the rules, and each alert is raised by its own fault and by no other."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.deploy.alert_cases import FAULTS, case
from tests.deploy.prometheus import FILES, promtool

pytestmark = pytest.mark.deploy

ALERTS = (FILES / "alerts.yml").read_text(encoding="utf-8")
NAMES = re.findall(r"^ *- alert: (\w+)$", ALERTS, flags=re.MULTILINE)


def cases_file(directory: Path, alerts: Path) -> Path:
    """Return a file for `promtool test rules` with every case. JSON is YAML."""
    path = directory / "cases.yml"
    tests = [case("", {}), *(case(name, differs) for name, differs in FAULTS.items())]
    rule_files = [str(FILES / "rules.yml"), str(alerts)]
    path.write_text(json.dumps({"rule_files": rule_files, "evaluation_interval": "15s", "tests": tests}))
    return path


def test_promtool_takes_the_configuration_with_its_rules() -> None:
    checked = promtool("check", "config", FILES / "prometheus.yml")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    rules = promtool(
        "check", "rules", "--lint=all", "--lint-fatal", FILES / "rules.yml", FILES / "alerts.yml"
    )
    assert rules.returncode == 0, rules.stdout + rules.stderr


def test_good_health_alarms_nobody_and_each_fault_raises_its_own_alert_alone(tmp_path: Path) -> None:
    assert set(FAULTS) == set(NAMES)
    tested = promtool("test", "rules", cases_file(tmp_path, FILES / "alerts.yml"))
    assert tested.returncode == 0, tested.stdout + tested.stderr


@pytest.mark.parametrize("name", ["CleanbookStopNotClean", "CleanbookExchangeDown", "CleanbookNoFeed"])
def test_an_alert_that_never_fires_would_be_noticed(tmp_path: Path, name: str) -> None:
    broken = tmp_path / "alerts.yml"
    after = ALERTS.index(f"- alert: {name}")
    broken.write_text(ALERTS[:after] + ALERTS[after:].replace("> 0", "> 1e9", 1))
    tested = promtool("test", "rules", cases_file(tmp_path, broken))
    assert tested.returncode != 0
    assert name in tested.stdout + tested.stderr


def test_every_alert_says_how_bad_it_is_and_what_to_do() -> None:
    page = (FILES.parents[1] / "docs" / "monitoring.md").read_text(encoding="utf-8")
    headings = set(re.findall(r"^### (\w+)$", page, flags=re.MULTILINE))
    for block in re.split(r"^ *- alert: ", ALERTS, flags=re.MULTILINE)[1:]:
        name = block.splitlines()[0]
        assert re.search(r"labels: \{severity: (warning|critical)\}", block), name
        for part in ("summary: ", "description: ", f"runbook: docs/monitoring.md#{name.lower()}"):
            assert part in block, f"{name} lacks {part}"
        assert name in headings
