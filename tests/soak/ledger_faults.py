"""What goes wrong between the exchange and the ledger during a chaos run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tests.acceptance.simulated_exchange import EVERYTHING, FILLS, fault

#: Private streams: orders, positions, balances.
PRIVATE = "account.*"

#: Every way in which a stream can fail, all at once. `no_pong` shows only when nothing else is sent.
STREAM_FAULTS: Sequence[Mapping[str, Any]] = (
    {"kind": "lose", "stream": PRIVATE, "probability": 0.05},
    {"kind": "lose", "stream": "depth.*", "probability": 0.01},
    {"kind": "duplicate", "stream": PRIVATE, "probability": 0.1},
    {"kind": "late", "stream": PRIVATE, "probability": 0.1, "delay_ms": 300},
    {"kind": "reorder_after_reconnect", "stream": PRIVATE, "count": 6},
    {"kind": "freeze", "stream": PRIVATE, "probability": 0.002, "duration_ms": 1500},
    {"kind": "freeze", "stream": "*", "probability": 0.0003, "duration_ms": 4000},
    {"kind": "drop_connection", "stream": PRIVATE, "probability": 0.002},
    {"kind": "no_pong"},
)
#: Once each, on top of those: what is too rare above to be met in every run.
STREAM_SHOCKS: Sequence[Mapping[str, Any]] = (
    {"kind": "freeze", "stream": PRIVATE, "count": 1, "duration_ms": 1500},
    {"kind": "drop_connection", "stream": PRIVATE, "probability": 0.1, "count": 1},
)
STREAM_KINDS = frozenset(str(rule["kind"]) for rule in STREAM_FAULTS)

#: The part of requests that fail.
SHARE = 0.05
#: One after the other.
REQUEST_FAULTS: Sequence[Mapping[str, Any]] = (
    fault(EVERYTHING, "error", probability=SHARE, status=503),
    fault(EVERYTHING, "reset_before", probability=SHARE),
    fault(EVERYTHING, "reset_after", probability=SHARE),
    fault(EVERYTHING, "latency", probability=SHARE, latency_ms=300, spread_ms=200),
    fault(EVERYTHING, "stale_history", probability=SHARE, delay_ms=1500),
    fault(FILLS, "stale_history", probability=0.5, delay_ms=3000),
)
