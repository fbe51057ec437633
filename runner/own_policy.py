"""What the configuration of a run says about its stop. Quick to import: a stop closes the gate first."""

from __future__ import annotations

import json

from state.stop_policy import StopPolicy


def own_policy(config_json: str) -> StopPolicy:
    """Return the policy in a stored configuration; it was checked at the start.

    Read without its model: a stop must work, and fast, whatever else this version thinks of the file.
    """
    try:
        stop = json.loads(config_json or "{}")["stop"]
        return StopPolicy(
            cancel_orders=stop["orders"] == "cancel", close_position=stop["position"] == "close"
        )
    except (ValueError, KeyError, TypeError, RecursionError):
        return StopPolicy()
