"""The guard outlives what it watches: nothing of that is loaded in its process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
#: What must not matter to it.
FOREIGN = (
    "celery",
    "kombu",
    "strategies",
    "sqlalchemy",
    "pydantic",
    "ledger",
    "runner",
    "feed",
    "tasks",
    "aiohttp",
)
#: Starts the command as `manage.py` does, ends it after its first look, and tells what is loaded.
CODE = f"""
import sys
from guard.service import GuardService
GuardService.round = GuardService.end
import cli.main
code = cli.main.run(["guard"])
print(code, [name for name in {FOREIGN!r} if name in sys.modules])
"""


def test_the_guard_loads_no_task_queue_no_strategy_and_no_database(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        cwd=ROOT,
        env={"PATH": "/usr/bin", "CLEANBOOK_RUN_DIR": str(tmp_path), "BROKER_URL": "redis://127.0.0.1:1/0"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() == "0 []"
