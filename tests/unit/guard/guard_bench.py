"""Values of a guard with defaults, and the hand on one account with a venue in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal

from exchanges.registry import Venue
from guard.account import AccountGuard, Act, Rules, Target
from guard.silence import Reason, Silence
from guard.watched import CannotWatch, Watched
from market.orders import OpenOrder, OrderStatus, Side
from state.heartbeats import Heartbeat, Pulse, Reading
from state.record import Phase
from tests.factories import ACCOUNT, SLOT, SYMBOL, client_order_id
from tests.fake_venue import FakeVenue, FixedClock

NAME = "mm_01"
AFTER_S = 30.0
WINDOW_MS = 5_000
MARGIN_MS = 1_000
NOW_MS = 1_700_000_000_000
PULSE = Pulse(epoch=1, seq=5, committed_at_ms=NOW_MS, lease_until_ms=0, cleanup_until_ms=0, attempts=0)
BEAT = Heartbeat(
    instance_id=NAME,
    phase=Phase.RUNNING,
    slot=SLOT,
    account=ACCOUNT,
    config_version="v1",
    due_at_ms=NOW_MS,
    keeps_orders=False,
    order_ids=(),
    pulse=PULSE,
)
WATCHED = Watched(
    instance_id=NAME,
    epoch=1,
    slot=SLOT,
    account=ACCOUNT,
    config_version="v1",
    exchange="backpack",
    symbol=SYMBOL,
    base_url=None,
    live=False,
    api_key_variable="BACKPACK_KEY",
    secret_key_variable="BACKPACK_SECRET",
    window_ms=WINDOW_MS,
    close_position=False,
)


def beat(
    pulse: Mapping[str, int] | None = None, *, phase: Phase = Phase.RUNNING, due_at_ms: int = NOW_MS
) -> Heartbeat:
    """Return signs of life of the instance; `pulse` names what has changed in it."""
    return replace(BEAT, phase=phase, due_at_ms=due_at_ms, pulse=replace(PULSE, **(pulse or {})))


def reading(*beats: Heartbeat, now_ms: int = NOW_MS, workers: Mapping[str, int] | None = None) -> Reading:
    """Return a reading; both queues have a worker that beats now unless told otherwise."""
    beating = {"iterate": now_ms, "cleanup": now_ms} if workers is None else workers
    return Reading(now_ms=now_ms, beats={each.instance_id: each for each in beats}, workers=beating)


def order(
    order_id: str, *, slot: int | None = SLOT, symbol: str = SYMBOL, created_at_ms: int = NOW_MS - 60_000
) -> OpenOrder:
    """Return a resting order of the instance in `slot`, or (None) of a human."""
    return OpenOrder(
        order_id=order_id,
        client_order_id=None if slot is None else client_order_id(slot=slot, level=int(order_id[-1])),
        symbol=symbol,
        side=Side.BUY,
        price=Decimal(99),
        quantity=Decimal(1),
        executed_quantity=Decimal(0),
        status=OrderStatus.NEW,
        created_at_ms=created_at_ms,
    )


class VenueClock(FixedClock):
    """An exchange clock that stands still."""

    def now_ms(self) -> int:
        """Return the time of these tests."""
        return NOW_MS


class AccountBench:
    """One account's hand, worked by hand."""

    def __init__(self, *, proven: bool = True) -> None:
        self.venue = FakeVenue()
        self.venue.the_clock = VenueClock()
        self.proven = proven
        self.acts: list[Act] = []
        self.is_silent = True
        self.asked: list[str] = []
        self.problem: CannotWatch | None = None
        self.guard = AccountGuard(
            ACCOUNT,
            Rules(after_s=AFTER_S, fence_margin_ms=MARGIN_MS),
            open_venue=self._open,
            is_proven=lambda _: self.proven,
            prove=lambda _: setattr(self, "proven", True),
            confirm=self._confirm,
            tell=self.acts.append,
        )

    def _open(self) -> tuple[Venue, str]:
        if self.problem:
            raise self.problem
        return self.venue, "abc"

    def _confirm(self, name: str) -> bool:
        self.asked.append(name)
        return self.is_silent

    def silence(
        self, *watched: Watched, lost_for_s: float | None = None, known: frozenset[str] = frozenset()
    ) -> None:
        """Say who is silent: the one instance, unless told otherwise."""
        names = watched or (WATCHED,)
        targets = {
            each.instance_id: Target(
                watched=each, silence=Silence(lasts_s=30, reason=Reason.LIFE), lost_for_s=lost_for_s
            )
            for each in names
        }
        self.guard.watch(targets, known)

    def work(self, times: int = 1) -> float:
        """Work some rounds; return the pause after the last."""
        return [self.guard.work() for _ in range(times)][-1]

    @property
    def cancelled(self) -> list[str]:
        """Return the orders that were asked to be cancelled."""
        return sorted(self.venue.about("cancel"))

    @property
    def events(self) -> list[str]:
        """Return what was told."""
        return [act.event for act in self.acts]
