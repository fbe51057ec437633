"""Every counter and histogram that there is. docs/monitoring.md tells what each is good for."""

from __future__ import annotations

from metrics.numbers import Counter, Family, Histogram

_QUICK_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0)
_STOP_S = (0.005, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 300.0)

TASKS = ("iterate", "cleanup")

ITERATIONS = Counter(
    name="cleanbook_iterations",
    help="Iterations that claimed their instance, by what made them run and how they ended.",
    labels={
        "kind": ("tick", "wake_up"),
        # `gate`: a stop closed it. `lost`: its lease was taken over, what it knew is not saved.
        "outcome": ("done", "failed", "gate", "cut_short", "lost"),
    },
)
ITERATION_S = Histogram(
    name="cleanbook_iteration_duration_seconds",
    help="From before the claim until the commit.",
    bounds=_QUICK_S,
)
LATENESS_S = Histogram(
    name="cleanbook_iteration_lateness_seconds",
    help="How long after its time a scheduled iteration claimed its instance.",
    bounds=_QUICK_S,
)
CLAIMS_REFUSED = Counter(
    name="cleanbook_claims_refused",
    help="Messages that were late, doubled or met a running one, and changed nothing.",
    labels={"task": TASKS, "reason": ("busy", "phase", "epoch", "tick", "answered")},
)
ORDERS_PLACED = Counter(
    name="cleanbook_orders_placed",
    help="Orders that the exchange accepted.",
    labels={"side": ("buy", "sell")},
)
ORDERS_CANCELLED = Counter(
    name="cleanbook_orders_cancelled",
    help="Orders cancelled by the exchange's own word.",
    labels={"by": ("iteration", "cleanup", "guard")},
)
ORDERS_REJECTED = Counter(
    name="cleanbook_orders_rejected",
    help="Orders that were not accepted, by reason.",
    labels={
        "reason": (
            *("post_only", "funds", "duplicate_id", "expired", "auth", "refused"),
            *("rate_limited", "unavailable"),
        )
    },
)
ORDERS_UNRESOLVED = Counter(
    name="cleanbook_orders_unresolved",
    help="Orders whose request got no answer, and of which the exchange could not tell at once.",
)
REQUESTS_S = Histogram(
    name="cleanbook_exchange_request_seconds",
    help="Answers of the exchange to requests, whatever they said.",
    labels={"kind": ("read", "place", "cancel")},
    bounds=_QUICK_S,
)
REQUESTS_FAILED = Counter(
    name="cleanbook_exchange_requests_failed",
    help="Requests that the exchange did not answer, refused as too many or failed at, or that we held back.",
    labels={
        "kind": ("read", "place", "cancel"),
        "reason": ("own_budget", "too_many", "server_error", "no_answer", "unknown"),
    },
)
STOP_S = Histogram(
    name="cleanbook_stop_seconds", help="From the request to stop until the proof.", bounds=_STOP_S
)
STOP_PHASE_S = Histogram(
    name="cleanbook_stop_phase_seconds",
    help="How long each step of a cleanup took, from the step before it.",
    labels={
        "phase": (
            *("claimed", "cancels_sent", "iteration_released", "fence_passed", "orders_cancelled"),
            *("unwound", "position", "verified", "held_up", "handed_over"),
        )
    },
    bounds=_STOP_S,
)
RECEIPTS = Counter(
    name="cleanbook_receipts",
    help="Cleanup attempts that reported, by what they can prove.",
    labels={"result": ("clean", "orders_left", "position_left", "unverified")},
)
FEED_LAG_S = Histogram(
    name="cleanbook_feed_lag_seconds",
    help="Age of what a stream brings when it comes, by this host's clock against the exchange's.",
    labels={"stream": ("book", "orders")},
    bounds=_QUICK_S,
)
FEED_RECONNECTS = Counter(
    name="cleanbook_feed_reconnects",
    help="Streams that were lost and opened again, by why.",
    labels={"reason": ("closed", "frozen", "exchange", "state")},
)
FEED_FILLS = Counter(
    name="cleanbook_feed_fills",
    help="Fills told for the first time, by where they were seen first.",
    labels={"source": ("stream", "rest")},
)
SWEPT = Counter(
    name="cleanbook_swept",
    help="Tasks published by the sweep. Cleanups begin like that; an iteration was lost before.",
    labels={"task": TASKS},
)
GUARD_ACTS = Counter(
    name="cleanbook_guard_acts",
    help="What guards did for instances without a sign of life.",
    labels={"act": ("guard_acted", "guard_verified")},
)

FAMILIES: tuple[Family, ...] = (
    *(ITERATIONS, ITERATION_S, LATENESS_S, CLAIMS_REFUSED, SWEPT),
    *(ORDERS_PLACED, ORDERS_CANCELLED, ORDERS_REJECTED, ORDERS_UNRESOLVED, REQUESTS_S, REQUESTS_FAILED),
    *(STOP_S, STOP_PHASE_S, RECEIPTS, FEED_LAG_S, FEED_RECONNECTS, FEED_FILLS, GUARD_ACTS),
)
