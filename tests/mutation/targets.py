"""Which tests have to notice the mutants of which file."""

from __future__ import annotations

from collections.abc import Mapping

#: The state operations under a clock that a test moves.
SCRIPTS = (
    *("tests/integration/test_leases.py", "tests/integration/test_cleanup_lease.py"),
    *("tests/integration/test_sweep.py", "tests/integration/test_wake_ups.py"),
    *("tests/integration/test_fence.py", "tests/integration/test_zombie_commit.py"),
    *("tests/integration/test_moments.py", "tests/integration/test_stops_that_meet.py"),
    *("tests/integration/test_end_of_a_cleanup.py", "tests/unit/state/test_phases.py"),
)
#: What is tried on mutants that those did not notice: slower, and closer to the whole.
LATER = (
    *("tests/integration/test_receipts.py", "tests/integration/test_damaged_state.py"),
    *("tests/integration/test_forgetful_server.py", "tests/integration/test_pauses.py"),
)
#: What is about one script above all.
CLEANUP_LEASE = (
    *("tests/integration/test_claim_of_a_cleanup.py", "tests/integration/test_cleanup_lease.py"),
    "tests/integration/test_start_of_a_run.py",
    *("tests/integration/test_moments.py", "tests/integration/test_forgetful_server.py"),
)
END_OF_CLEANUP = ("tests/integration/test_end_of_a_cleanup.py", *CLEANUP_LEASE[1:])
COMMIT = (
    "tests/integration/test_end_of_an_iteration.py",
    *("tests/integration/test_stops_that_meet.py", "tests/integration/test_leases.py"),
    *("tests/integration/test_moments.py", "tests/integration/test_wake_ups.py"),
    *("tests/integration/test_zombie_commit.py", "tests/integration/test_pauses.py"),
)
#: Iterations that go by what was kept and heard.
BACKLOG = "tests/integration/test_backlog.py"
CALM = "tests/integration/test_calm_iterations.py"
CHANGES = ("tests/integration/test_changes_of_a_run.py", "tests/integration/test_pauses.py")
RESTART = ("tests/integration/test_behind_a_restart.py", "tests/integration/test_forgetful_server.py")
#: State that is lost or damaged.
DAMAGE = ("tests/integration/test_failed_by_its_state.py",)
DAMAGE_LATER = (
    *("tests/integration/test_damaged_state.py", "tests/integration/test_verdicts.py"),
    "tests/unit/state/test_phases.py",
)
CLEANUP = ("tests/unit/runner/test_cleanup.py", "tests/unit/runner/test_cleanup_attempt.py")
CLEANUP_LATER = (
    *("tests/integration/test_cleanup_waits.py", "tests/integration/test_cleanup.py"),
    *("tests/integration/test_cleanup_exclusive.py", "tests/integration/test_cleanup_position.py"),
    *("tests/integration/test_late_news.py", "tests/integration/test_unwinding_of_a_run.py"),
    *("tests/integration/test_receipts.py", "tests/integration/test_damaged_state.py"),
)
POSITION = ("tests/unit/runner/test_position_at_stop.py",)
POSITION_LATER = (
    *("tests/integration/test_cleanup_position.py", "tests/integration/test_late_news.py"),
    *("tests/integration/test_unwinding_of_a_run.py", "tests/unit/runner/test_cleanup.py"),
)

EVENTS = ("tests/unit/state/test_events.py", "tests/unit/state/test_feeds.py")

#: The first tests are tried on every mutant, the second ones on what those did not notice.
TARGETS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "state/lua/take_budget.lua": (("tests/unit/state/test_budget.py",), ()),
    "state/lua/allocate_slot.lua": (("tests/unit/state/test_client_ids.py",), ()),
    "state/lua/put_*.lua": (("tests/unit/state/test_market_data.py",), ()),
    "state/lua/heard.lua": (("tests/unit/state/test_hearing.py",), ()),
    "state/lua/listen.lua": (("tests/unit/state/test_hearing.py",), ()),
    "state/lua/*_lease.lua": (("tests/unit/state/test_feeds.py",), ()),
    "state/lua/complete_books.lua": (("tests/integration/test_completed_books.py",), LATER),
    "state/lua/fail.lua": (DAMAGE, DAMAGE_LATER),
    "state/lua/parts/damage.lua": (DAMAGE, DAMAGE_LATER),
    "state/lua/parts/restart.lua": (RESTART, (CALM, *LATER)),
    "state/lua/parts/backlog.lua": ((BACKLOG,), ()),
    "state/lua/saved.lua": (RESTART, LATER),
    "state/lua/restored.lua": (
        ("tests/unit/state/test_restored.py",),
        ("tests/integration/test_after_restore.py",),
    ),
    "state/lua/save_alerts.lua": (
        ("tests/unit/state/test_alerts.py",),
        ("tests/unit/alerts/test_delivery.py",),
    ),
    "state/lua/start.lua": (("tests/integration/test_start_of_a_run.py",), (*SCRIPTS, CALM, *LATER)),
    "state/lua/claim.lua": (SCRIPTS, (CALM, BACKLOG, *LATER)),
    "state/lua/sweep.lua": (SCRIPTS, (BACKLOG, *LATER)),
    "state/lua/commit.lua": (COMMIT, (*SCRIPTS, CALM, *LATER)),
    "state/lua/finish.lua": (END_OF_CLEANUP, (*SCRIPTS, *LATER)),
    "state/lua/*_cleanup.lua": (CLEANUP_LEASE, (*SCRIPTS, *LATER)),
    "state/lua/pause.lua": (CHANGES, SCRIPTS),
    "state/lua/resume.lua": (CHANGES, SCRIPTS),
    "state/lua/change_config.lua": (CHANGES, ("tests/integration/test_config_change.py",)),
    "state/lua/parts/iterate_now.lua": (CHANGES, ("tests/integration/test_wake_ups.py",)),
    "state/lua/unsent.lua": (("tests/integration/test_sweep.py",), (*SCRIPTS, *LATER)),
    "state/lua/*.lua": (SCRIPTS, LATER),
    "state/client_ids.py": (("tests/unit/state/test_client_ids.py",), ("tests/fuzz/test_fuzz_state.py",)),
    "state/bookings.py": (("tests/unit/state/test_bookings_queue.py",), ("tests/fuzz/test_fuzz_state.py",)),
    "state/budget.py": (("tests/unit/state/test_budget.py",), ()),
    "state/events.py": (EVENTS, ("tests/fuzz/test_fuzz_state.py",)),
    "state/feeds.py": (("tests/unit/state/test_feeds.py",), ("tests/fuzz/test_fuzz_state.py",)),
    "state/market_data.py": (("tests/unit/state/test_market_data.py",), ()),
    "state/own_fills.py": (("tests/unit/state/test_own_fills.py",), ("tests/fuzz/test_fuzz_state.py",)),
    "state/hearing.py": (("tests/unit/state/test_hearing.py",), ()),
    "state/instances.py": (("tests/unit/state/test_instances.py",), SCRIPTS),
    "state/record.py": (("tests/unit/state/test_record.py",), SCRIPTS),
    "state/stop_policy.py": (("tests/unit/state/test_stop_policy.py",), SCRIPTS),
    "state/stop_story.py": (("tests/unit/state/test_stop_story.py",), SCRIPTS),
    "state/leases.py": (("tests/unit/state/test_calls_of_leases.py",), SCRIPTS),
    "state/cleanup_leases.py": (("tests/unit/state/test_calls_of_cleanups.py",), SCRIPTS),
    "state/permissions.py": (
        ("tests/unit/state/test_permissions.py", "tests/unit/state/test_calls_of_leases.py"),
        SCRIPTS,
    ),
    "state/due.py": (("tests/unit/state/test_due.py",), SCRIPTS),
    "state/durability.py": (
        ("tests/unit/state/test_durability.py",),
        ("tests/integration/test_forgetful_server.py",),
    ),
    "state/heartbeats.py": (("tests/unit/state/test_heartbeats.py",), ("tests/integration/test_guard.py",)),
    "state/guards.py": (("tests/unit/state/test_guards.py",), ("tests/integration/test_guard.py",)),
    "state/server.py": (("tests/unit/state/test_server.py",), ("tests/integration/test_server_report.py",)),
    "state/alerts.py": (("tests/unit/state/test_alerts.py",), ("tests/integration/test_alerts.py",)),
    "state/connection.py": (
        ("tests/unit/state/test_connecting.py", "tests/unit/state/test_connection.py"),
        ("tests/integration/test_valkey_server.py",),
    ),
    "state/fleet.py": (("tests/unit/state/test_fleet.py",), ()),
    "state/keys.py": (("tests/unit/state/test_keys.py",), SCRIPTS),
    "state/queues.py": (("tests/unit/state/test_queues.py",), ()),
    "state/refusals.py": (("tests/unit/state/test_refusals.py",), ()),
    "state/run_changes.py": (
        ("tests/unit/state/test_run_changes.py",),
        ("tests/integration/test_pauses.py", "tests/integration/test_wake_ups.py"),
    ),
    "state/scripts.py": (("tests/unit/state/test_scripts.py",), SCRIPTS),
    "state/times.py": (("tests/unit/state/test_times.py",), ()),
    "state/*.py": (SCRIPTS, ("tests/integration/test_iteration.py", "tests/fuzz/test_fuzz_state.py")),
    "runner/cleanup.py": (CLEANUP, CLEANUP_LATER),
    "runner/cleanup_attempt.py": (CLEANUP, CLEANUP_LATER),
    "runner/position_at_stop.py": (POSITION, POSITION_LATER),
}
