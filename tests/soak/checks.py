"""What must hold for a fleet after a run, whatever happened in it."""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal

from market.orders import Role
from strategies.intervals import Grid, net_by_interval
from tests.acceptance.world import eventually
from tests.soak.audit import Audit
from tests.soak.fleet import Fleet, Member

#: The simulated markets' smallest orders.
MIN_QUANTITY = {"SOL": Decimal("0.01"), "ETH": Decimal("0.0001"), "BTC": Decimal("0.00001")}


def check_at_rest(fleet: Fleet) -> list[str]:
    """Return what is wrong with a fleet that runs on a market that stands still."""
    problems = fleet.not_running()
    audits = fleet.audits()
    for member in fleet.members:
        audit = audits[member.instance_id]
        problems += [f"{member.instance_id}: {each}" for each in _at_rest(fleet, member, audit)]
    return problems


def check_stopped(fleet: Fleet) -> list[str]:
    """Return what is wrong with a fleet that has been stopped: every fill must be in the books."""
    problems = []
    for member in fleet.members:
        audit = fleet.audits()[member.instance_id]
        found = [*_differences(fleet, member, audit)]
        if audit.open:
            found.append(f"orders left: {sorted(audit.open)}")
        if member.strategy == "maker_hedge" and abs(audit.net) >= MIN_QUANTITY[member.base_asset]:
            found.append(f"unhedged: {audit.net}")
        problems += [f"{member.instance_id}: {each}" for each in found]
    return problems


def _differences(fleet: Fleet, member: Member, audit: Audit) -> list[str]:
    """Return where books and journal differ; the last fills are counted just after the stop."""
    with suppress(AssertionError):
        eventually(lambda: not audit.differences(fleet.books(member)), 10)
    return audit.differences(fleet.books(member))


def _at_rest(fleet: Fleet, member: Member, audit: Audit) -> list[str]:
    if member.strategy in {"grid", "perp_grid"}:
        return [*_exits_missing(fleet, member, audit), *audit.doubled]
    least = MIN_QUANTITY[member.base_asset]
    if member.strategy == "maker_hedge" and abs(audit.net) >= least:
        return [f"unhedged: {audit.net}"]
    cap = member.params.get("max_position")
    if cap is not None and max(audit.worst_long, audit.worst_short) > Decimal(str(cap)):
        return [f"worst case {audit.worst_long} long, {audit.worst_short} short; cap {cap}"]
    return []


def _exits_missing(fleet: Fleet, member: Member, audit: Audit) -> list[str]:
    """Return the intervals of a grid that hold something for which no closing order of that size rests."""
    grid = Grid.model_validate(fleet.state(member)["grid"])
    least = MIN_QUANTITY[member.base_asset]
    resting = audit.resting(Role.CLOSE)
    problems = []
    for interval, net in enumerate(net_by_interval(grid, audit.totals)):
        is_long = interval < grid.long_intervals
        held = net if is_long else -net
        missing = held - resting.get(interval, Decimal(0))
        if held >= least and missing >= least:
            problems.append(f"interval {interval} holds {held}, of which {missing} has no exit")
        opening = audit.resting(Role.QUOTE).get(interval, Decimal(0))
        if held + opening > grid.quantity + least:
            problems.append(f"interval {interval} holds {held} and opens {opening} more than {grid.quantity}")
    return problems
