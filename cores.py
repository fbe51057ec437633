"""No image of a process that holds keys is ever written to a disk."""

from __future__ import annotations

import resource


def forbid_core_dumps() -> None:
    """Let this process and its children leave no core file when they crash: it would hold keys."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
