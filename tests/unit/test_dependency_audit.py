"""`make audit`: a vulnerability fails, an excuse needs a reason and ends, and not knowing is not passing."""

from __future__ import annotations

import importlib.util
import sys
from datetime import date
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
TODAY = date(2026, 6, 1)


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    """The script of CI, as a module."""
    spec = importlib.util.spec_from_file_location("audit", ROOT / ".ci" / "audit.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["audit"] = module
    spec.loader.exec_module(module)
    return module


def report(*ids: str) -> dict[str, Any]:
    """Return what pip-audit says about one package with these vulnerabilities, and one unknown package."""
    vulns = [{"id": each, "fix_versions": ["1.1"], "aliases": [f"CVE-{each}"]} for each in ids]
    known = {"name": "known", "version": "1.0", "vulns": vulns}
    return {"dependencies": [known, {"name": "other", "skip_reason": "not found"}]}


def test_a_clean_report_passes_and_says_how_much_it_covers(audit: ModuleType) -> None:
    verdict = audit.judge(report(), (), TODAY)
    assert verdict.lines == ("1 packages looked up, 1 unknown there",)
    assert verdict.exit_code(strict=True) == 0


def test_a_vulnerability_fails_and_is_named(audit: ModuleType) -> None:
    verdict = audit.judge(report("A-1"), (), TODAY)
    assert verdict.lines[0] == "VULNERABLE known 1.0: A-1, fixed in 1.1"
    assert verdict.exit_code(strict=False) == 1


@pytest.mark.parametrize(
    ("name", "package", "until", "code"),
    [
        ("A-1", "known", TODAY, 0),
        ("CVE-A-1", "known", TODAY, 0),
        ("A-1", "known", date(2026, 5, 31), 1),
        ("A-2", "known", TODAY, 1),
        ("A-1", "another", TODAY, 1),
    ],
)
def test_an_excuse_is_for_one_vulnerability_of_one_package_until_a_day(
    audit: ModuleType, name: str, package: str, until: date, code: int
) -> None:
    excuse = audit.Ignored(id=name, package=package, reason="it cannot be reached from here", until=until)
    assert audit.judge(report("A-1"), (excuse,), TODAY).exit_code(strict=False) == code


@pytest.mark.parametrize(
    "entry",
    [
        'id = "A-1"\npackage = "known"\nuntil = 2026-12-31',
        'id = "A-1"\npackage = "known"\nreason = "so"\nuntil = 2026-12-31',
        'id = "A-1"\npackage = "known"\nreason = "it cannot be reached from here"',
        'id = "A-1"\npackage = "known"\nreason = "it cannot be reached from here"\nuntil = "some day"',
    ],
)
def test_an_excuse_without_a_reason_or_a_day_is_refused(
    audit: ModuleType, tmp_path: Path, entry: str
) -> None:
    path = tmp_path / "ignored.toml"
    path.write_text(f"[[ignored]]\n{entry}\n")
    with pytest.raises((TypeError, ValueError)):
        audit.read_ignored(path)


@pytest.mark.parametrize("nothing", [None, {}, {"dependencies": [{"name": "x", "skip_reason": "not found"}]}])
def test_not_knowing_is_said_aloud_and_fails_where_it_must_not_happen(
    audit: ModuleType, nothing: dict[str, Any] | None
) -> None:
    verdict = audit.judge(nothing, (), TODAY)
    assert verdict.lines[0].startswith("NOT AUDITED")
    assert (verdict.exit_code(strict=False), verdict.exit_code(strict=True)) == (0, 1)


def test_our_own_list_of_excuses_can_be_read(audit: ModuleType) -> None:
    audit.read_ignored(audit.IGNORED_FILE)
