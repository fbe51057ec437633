"""How far a run is from its reference: by its own fills, and on a perpetual by the exchange's position, too.

Own fills are exact and arrive once, so they alone say what this run did; the position says what stands.
Each of the two may lag behind the other for a moment. When they disagree for long, somebody else or the
exchange itself has moved the position.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from pydantic import BaseModel, ConfigDict

from market.instrument import Instrument
from market.orders import Role
from market.snapshot import Snapshot
from strategies import base
from strategies.maker_hedge_params import HedgeParams, PerpParams

#: Level and role of every order that hedges.
_HEDGES = (0, int(Role.HEDGE))


class Dispute(BaseModel):
    """A disagreement between own fills and position, as it was first seen."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    #: ms since the epoch, by the state server's clock.
    since_ms: int
    #: Difference from the reference by own fills, then.
    own: Decimal
    #: The same by the position.
    account: Decimal


class State(base.State):
    """What the hedge remembers; what it holds is always derived from fills and position."""

    #: What every hedge returns to, signed base units; zero on spot. None: nothing was decided yet.
    reference: Decimal | None = None
    #: The position without this run's fills; zero on spot.
    position_at_start: Decimal = Decimal(0)
    #: While there is no reference: when the position will show every fill so far, ms since the epoch.
    begins_at_ms: int = 0
    #: Doublings of the slippage that the last hedge was wanted with.
    attempts: int = 0
    #: What all hedges came to, bought and sold, when the last one was wanted, and once it is filled whole.
    hedged_before: Decimal | None = None
    awaited: Decimal | None = None
    #: True: the one before it changed nothing either, at the same slippage.
    is_repeated: bool = False
    dispute: Dispute | None = None
    #: True: others moved the position and the run ended for it, so nothing is hedged any more.
    moved_by_others: bool = False


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How far from the reference, signed base units: positive has to be sold."""

    #: By this run's fills.
    own: Decimal
    #: By the exchange's position; None where that does not count.
    account: Decimal | None = None

    @property
    def witnesses(self) -> Sequence[Decimal]:
        """Return what each of the two says."""
        return (self.own,) if self.account is None else (self.own, self.account)

    @property
    def confirmed(self) -> Decimal:
        """Return the part that both say; zero when they point in different directions."""
        if self.account is None:
            return self.own
        if self.own * self.account <= 0:
            return Decimal(0)
        return min(self.own, self.account, key=abs)


def begun(snapshot: Snapshot, state: State, params: HedgeParams) -> State:
    """Return the state with its reference, which is found at the first decision as a rule.

    A first iteration that was killed may have left orders and fills behind. What the position was without
    them is known once no order can fill any more and the position has had time to show what did; until
    then the reference stays unknown.
    """
    if state.reference is not None:
        return state
    if not isinstance(params, PerpParams):
        return state.model_copy(update={"reference": Decimal(0)})
    now_ms = snapshot.taken_at_ms
    if snapshot.fills or snapshot.unsettled or snapshot.open_orders:
        return state.model_copy(update={"begins_at_ms": now_ms + params.disagreement_limit_ms})
    if snapshot.position is None or now_ms < state.begins_at_ms:
        return state
    at_start = snapshot.position.net_quantity - snapshot.profit.net
    wanted = params.reference_position
    return state.model_copy(
        update={"reference": at_start if wanted is None else wanted, "position_at_start": at_start}
    )


def difference_of(snapshot: Snapshot, state: State, params: HedgeParams) -> Difference | None:
    """Return how far the run is from its reference, None while the position is not known.

    A run that never decided has no reference yet: what its fills come to is how far it is away.
    """
    if state.reference is None:
        return Difference(own=snapshot.profit.net)
    reference = state.reference
    own = state.position_at_start + snapshot.profit.net - reference
    if not isinstance(params, PerpParams) or not params.trusts_account:
        return Difference(own=own)
    if snapshot.position is None:
        return None
    return Difference(own=own, account=snapshot.position.net_quantity - reference)


def dispute_of(
    difference: Difference, known: Dispute | None, snapshot: Snapshot, params: HedgeParams
) -> Dispute | None:
    """Return the disagreement that stands, None while the two agree to less than one smallest order.

    One that a lag explains is over once the later of the two has come to where the earlier was. If they
    are apart even then, that is another one, from now on.
    """
    own, account, now_ms = difference.own, difference.account, snapshot.taken_at_ms
    instrument = snapshot.instrument
    least = max(instrument.min_quantity, instrument.step_size, params.hedge_tolerance or Decimal(0))
    if account is None or abs(own - account) < least:
        return None
    if known is not None and known.since_ms <= now_ms:
        caught_up = abs(account - known.own) < least or abs(own - known.account) < least
        if not caught_up:
            return known
    return Dispute(since_ms=now_ms, own=own, account=account)


def matters(amount: Decimal, instrument: Instrument, params: HedgeParams) -> bool:
    """Tell whether a difference is to be traded back: above the tolerance, and enough for an order."""
    size = instrument.round_quantity(abs(amount))
    return size > 0 and size >= instrument.min_quantity and abs(amount) > (params.hedge_tolerance or 0)


def hedged_so_far(snapshot: Snapshot) -> Decimal:
    """Return what all hedges of this run have bought and sold, base units."""
    totals = snapshot.totals.get(_HEDGES)
    return totals.bought + totals.sold if totals else Decimal(0)
