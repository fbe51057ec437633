"""What a bench tells while it runs: on standard error, since standard output is its figures."""

from __future__ import annotations

import sys


def say(text: str) -> None:
    """Tell how far it has come."""
    print(text, file=sys.stderr, flush=True)
