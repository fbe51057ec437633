"""One run of a fleet from its start to its end, with everything that must hold then."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from tests.acceptance.world import eventually
from tests.soak.checks import check_at_rest, check_stopped
from tests.soak.fleet import MODES, Member
from tests.soak.world import fleet


def run(
    folder: Path,
    members: list[Member],
    *,
    events: int,
    events_per_step: int = 5,
    kills: int = 0,
    simulator: tuple[str, ...] = (),
    seed: int = 1,
) -> None:
    """Run a fleet, and hold it to everything that must be true afterwards."""
    with fleet(folder, members, seed=seed, simulator=simulator) as found:
        found.run(events=events, events_per_step=events_per_step, kills=kills)
        assert found.modes_seen == set(MODES)
        assert found.kills == kills
        found.settle()
        # A fill that the history shows late, or an order of a failed request, may hold an answer back.
        with suppress(AssertionError):
            eventually(lambda: not check_at_rest(found), 40, what="the fleet at rest")
        _expect_nothing(check_at_rest(found))
        found.stop()
        _expect_nothing(check_stopped(found))
        for line in found.summary():
            print(line)  # noqa: T201 - a soak run is watched
        assert all(audit.fills for audit in found.audits().values())


def _expect_nothing(problems: list[str]) -> None:
    assert not problems, "\n".join(problems)
