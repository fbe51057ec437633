"""A fleet in good health, and what each alert is for: samples 15 s apart, in promtool's notation."""

from __future__ import annotations

from typing import Any

EVAL_TIME = "15m"

HEALTHY = {
    'up{job="cleanbook",instance="h1"}': "1x60",
    'cleanbook_state_up{instance="h1"}': "1x60",
    'cleanbook_instances{instance="h1",phase="running"}': "3x60",
    'cleanbook_instances{instance="h1",phase="failed"}': "0x60",
    'cleanbook_instances{instance="h1",phase="damaged"}': "0x60",
    'cleanbook_workers{instance="h1",queue="iterate"}': "2x60",
    'cleanbook_workers{instance="h1",queue="cleanup"}': "1x60",
    'cleanbook_queue_messages{instance="h1",queue="iterate"}': "1x60",
    'cleanbook_feeds{instance="h1"}': "1x60",
    'cleanbook_feed_accounts{instance="h1",standing="streaming"}': "1x60",
    'cleanbook_feed_accounts{instance="h1",standing="reconnecting"}': "0x60",
    'cleanbook_guards{instance="h1"}': "1x60",
    'cleanbook_instance_lateness_seconds{instance="h1",instance_id="a"}': "0x60",
    'cleanbook_instance_errors{instance="h1",instance_id="a"}': "0x60",
    'cleanbook_exchange_request_seconds_count{instance="h1",kind="read"}': "0+150x60",
    'cleanbook_exchange_requests_failed_total{instance="h1",kind="read",reason="no_answer"}': "0x60",
    'cleanbook_orders_placed_total{instance="h1",side="buy"}': "0+15x60",
    'cleanbook_orders_rejected_total{instance="h1",reason="post_only"}': "0+5x60",
    'cleanbook_orders_rejected_total{instance="h1",reason="funds"}': "0x60",
    'cleanbook_state_used_bytes{instance="h1"}': "1000000x60",
    # No limit is set.
    'cleanbook_state_max_bytes{instance="h1"}': "0x60",
    'cleanbook_iteration_lateness_seconds_bucket{instance="h1",le="0.1"}': "0+15x60",
    'cleanbook_iteration_lateness_seconds_bucket{instance="h1",le="5.0"}': "0+15x60",
    'cleanbook_iteration_lateness_seconds_bucket{instance="h1",le="+Inf"}': "0+15x60",
}

#: By alert: what differs then. Two hosts that tell the same of the fleet are one fleet.
FAULTS: dict[str, dict[str, str]] = {
    "CleanbookMetricsDown": {'up{job="cleanbook",instance="h1"}': "1x20 0x40"},
    "CleanbookStateDown": {'cleanbook_state_up{instance="h1"}': "1x20 0x40"},
    "CleanbookStopNotClean": {
        'cleanbook_instances{instance="h1",phase="failed"}': "0x20 1x40",
        'cleanbook_instances{instance="h2",phase="failed"}': "0x20 1x40",
    },
    "CleanbookStopSlow": {'cleanbook_instance_stopping_seconds{instance="h1",instance_id="a"}': "0+15x60"},
    "CleanbookInstanceDamaged": {'cleanbook_instances{instance="h1",phase="damaged"}': "0x20 1x40"},
    "CleanbookInstanceLate": {
        'cleanbook_instance_lateness_seconds{instance="h1",instance_id="a"}': "0x20 1+15x40"
    },
    "CleanbookInstanceErrors": {'cleanbook_instance_errors{instance="h1",instance_id="a"}': "0x20 6x40"},
    "CleanbookIterationsLate": {
        'cleanbook_iteration_lateness_seconds_bucket{instance="h1",le="0.1"}': "0x60"
    },
    "CleanbookIterationsLost": {'cleanbook_swept_total{instance="h1",task="iterate"}': "0x30 1+1x30"},
    "CleanbookNoWorker": {'cleanbook_workers{instance="h1",queue="cleanup"}': "1x20 0x40"},
    "CleanbookQueueGrows": {'cleanbook_queue_messages{instance="h1",queue="iterate"}': "0+20x60"},
    "CleanbookNoFeed": {'cleanbook_feeds{instance="h1"}': "1x20 0x40"},
    "CleanbookFeedDisconnected": {
        'cleanbook_feed_accounts{instance="h1",standing="reconnecting"}': "0x20 1x40"
    },
    "CleanbookFeedUnsteady": {
        'cleanbook_feed_reconnects_total{instance="h1",reason="closed"}': "0x30 1+1x30"
    },
    "CleanbookFeedLags": {
        'cleanbook_feed_lag_seconds_bucket{instance="h1",stream="book",le="2.5"}': "0x60",
        'cleanbook_feed_lag_seconds_bucket{instance="h1",stream="book",le="5.0"}': "0+9x60",
        'cleanbook_feed_lag_seconds_bucket{instance="h1",stream="book",le="+Inf"}': "0+9x60",
    },
    "CleanbookNoGuard": {'cleanbook_guards{instance="h1"}': "1x20 0x40"},
    "CleanbookGuardActed": {'cleanbook_guard_acts_total{instance="h1",act="guard_acted"}': "0x50 1x10"},
    "CleanbookExchangeDown": {
        'cleanbook_exchange_request_seconds_count{instance="h1",kind="read"}': "0+10x30 300x30",
        'cleanbook_exchange_requests_failed_total{instance="h1",kind="read",reason="no_answer"}': (
            "0x30 0+10x30"
        ),
    },
    "CleanbookKeyRefused": {'cleanbook_orders_rejected_total{instance="h1",reason="auth"}': "0x50 1x10"},
    "CleanbookOrdersRejected": {'cleanbook_orders_rejected_total{instance="h1",reason="funds"}': "0+10x60"},
    "CleanbookOrdersUnresolved": {'cleanbook_orders_unresolved_total{instance="h1"}': "0x40 0+1x20"},
    "CleanbookBudgetUsedUp": {
        'cleanbook_exchange_requests_failed_total{instance="h1",kind="read",reason="own_budget"}': "0+5x60"
    },
    "CleanbookLedgerBehind": {'cleanbook_bookings_waiting{instance="h1"}': "0+1000x60"},
    "CleanbookStateMemory": {'cleanbook_state_max_bytes{instance="h1"}': "1100000x60"},
    "CleanbookMessagesRefused": {
        'cleanbook_messages_refused_total{instance="h1",reason="unsigned"}': "0x50 1x10",
        'cleanbook_messages_refused_total{instance="h2",reason="unsigned"}': "0x50 1x10",
    },
}


def case(name: str, differs: dict[str, str]) -> dict[str, Any]:
    """Return a test of promtool's: nothing fires but the alert `name`; nothing at all without a name."""
    return {
        "name": name or "good health",
        "interval": "15s",
        "input_series": [{"series": s, "values": v} for s, v in {**HEALTHY, **differs}.items()],
        "promql_expr_test": [
            {
                "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
                "eval_time": EVAL_TIME,
                "exp_samples": [{"labels": f'{{alertname="{name}"}}', "value": 1}] if name else [],
            }
        ],
    }
