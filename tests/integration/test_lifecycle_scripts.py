"""The lifecycle scripts against the invariants of the design, on a real server."""

from __future__ import annotations

import pytest
import redis
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from state import durability, keys
from tests.integration.lifecycle_machine import Lifecycle
from tests.integration.lifecycle_server import sources_with_test_clock

QUICK = settings(
    max_examples=50,
    stateful_step_count=60,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=True,
    database=None,
)


@pytest.fixture(autouse=True)
def _quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the machine play the disk, too: it sees by the mark what has been waited for."""
    monkeypatch.setattr(durability, "wait_for_disk", lambda client: client.set(keys.DISK_MARK, "1"))


def machine(client: redis.Redis, mutate: dict[str, tuple[str, str]] | None = None) -> type[Lifecycle]:
    """Return a machine class bound to a server and to (broken) scripts."""
    connection = client.get_connection_kwargs()
    raw = redis.Redis(**{name: connection[name] for name in ("host", "port", "password", "db")})
    members = {"client": client, "raw": raw, "sources": sources_with_test_clock(mutate)}
    return type("Bound", (Lifecycle,), members)


def notices(broken: type[Lifecycle]) -> bool:
    """Tell whether an assertion of the machine fails; whatever else goes wrong is raised."""
    hunt = settings(QUICK, max_examples=4_000, phases=[Phase.generate], report_multiple_bugs=False)
    try:
        run_state_machine_as_test(broken, settings=hunt)
    except AssertionError:
        return True
    except ExceptionGroup as group:  # an assertion that did not fail again when the steps were repeated
        if group.subgroup(AssertionError) is None:
            raise
        return True
    return False


@pytest.mark.timeout(900)
@pytest.mark.parametrize("examples", [50, pytest.param(600, marks=pytest.mark.slow)])
def test_no_sequence_of_faults_breaks_an_invariant(redis_client: redis.Redis, examples: int) -> None:
    run_state_machine_as_test(machine(redis_client), settings=settings(QUICK, max_examples=examples))


#: One rule of the protocol broken at a time: the machine has to notice each. Those of wake-ups are held one
#: by one in test_wake_ups.py: the machine comes upon them too rarely.
BROKEN_RULES = {
    "authorize leaves the fence alone": {"authorize": ("'fence', fence)", "'fence', 0)")},
    "commit sets the fence to zero": {"commit": ("'fence', r[7])", "'fence', 0)")},
    "authorize ignores the phase and the stop key": {
        "authorize": (
            "if r[1] ~= 'running' then return {'refused', 'phase'} end\n"
            "if redis.call('EXISTS', KEYS[2]) == 1 then return {'refused', 'stop'} end",
            "",
        )
    },
    "authorize ignores who holds the lease": {
        "authorize": (
            "if r[2] ~= ARGV[1] then return {'refused', 'token'} end\nif tonumber(r[3]) <= now",
            "if tonumber(r[3] or '0') <= now",
        )
    },
    "authorize takes a lease that is over": {
        "authorize": ("if tonumber(r[3]) <= now then return {'refused', 'lease over'} end", "")
    },
    "claim ignores a live lease": {"claim": ("tonumber(r[6]) > now", "false")},
    "claim ignores the tick": {"claim": ("r[3] ~= ARGV[3]", "false")},
    "claim ignores the epoch": {"claim": ("r[2] ~= ARGV[2]", "false")},
    "commit ignores who holds the lease": {"commit": ("r[2] ~= ARGV[2]", "not r[2]")},
    "finish does not look at the fence, and the cleanup sees none": {
        "finish": ("(in_flight or tonumber(r[5] or '0') > now)", "false"),
        "renew_cleanup": (
            "return {'ok', now, live, r[4] or '', fence, r[8] or '', r[11] or ''}",
            "return {'ok', now, 0, '', 0, '', ''}",
        ),
    },
    "authorize ignores a pause": {"authorize": ("if r[8] then return {'refused', 'paused'} end", "")},
    "sweep forgets a pause": {"sweep": (" or (r[15] and not r[16])", "")},
    "claim takes the wake-up of a pause for answered": {"claim": ("and not owes_withdrawal then", "then")},
    "claim takes the instance off the list of what is due": {
        "claim": (
            "redis.call('ZADD', KEYS[2], lease_until + tonumber(ARGV[7]), ARGV[1])",
            "redis.call('ZREM', KEYS[2], ARGV[1])",
        )
    },
    "authorize does not wait for the disk": {"authorize": ("if unsaved then return", "if false then return")},
    "finish does not wait for the stop": {"finish": ("ARGV[3] == 'clean' and r[9]", "false")},
    "claim_cleanup takes the server for the same": {
        "claim_cleanup": ("local restarted = is_another_server(r[10], r[11])", "local restarted = false")
    },
    "a restart gives client order ids again": {
        "claim": ("skipped + 64", "skipped"),
        "claim_cleanup": ("skipped + 64", "skipped"),
    },
    "release_cleanup leaves the instance off the list": {
        "release_cleanup": ("redis.call('ZADD', KEYS[2], now, ARGV[1])", "")
    },
    "sweep forgets running instances": {"sweep": ("if r[1] == 'running' then", "if false then")},
    "sweep forgets stopping instances": {
        "sweep": ("if r[1] == 'stopping' or r[1] == 'failed' then", "if false then")
    },
}


@pytest.mark.parametrize("rule", BROKEN_RULES)
def test_a_rule_to_break_is_in_the_scripts(rule: str) -> None:
    assert sources_with_test_clock(BROKEN_RULES[rule]) != sources_with_test_clock()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("rule", BROKEN_RULES)
def test_the_machine_notices_a_broken_rule(redis_client: redis.Redis, rule: str) -> None:
    # Nothing but a failed assertion counts: a rule whose text is gone, or a server that is, is not noticed.
    assert notices(machine(redis_client, BROKEN_RULES[rule]))
