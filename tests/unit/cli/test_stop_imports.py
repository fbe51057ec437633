"""A stop closes the gate first: nothing slow is imported before that."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
SLOW = ("celery", "pydantic", "requests", "rich", "sqlalchemy", "alembic", "ledger")


def test_the_stop_command_is_ready_to_close_the_gate_without_slow_imports() -> None:
    code = f"import sys, cli.main, cli.stop; print([name for name in {SLOW!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"


def test_explaining_an_error_does_not_load_the_ledger() -> None:
    code = "import sys, cli.errors as e; e.explain(RuntimeError()); print('sqlalchemy' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "False"
