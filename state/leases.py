"""Iteration leases: who may send requests for a running instance right now."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import redis

from market.orders import Role
from state import keys
from state.bookings import MOST_WAITING
from state.client_ids import client_order_ids, intents_json
from state.connection import StateError
from state.hearing import Heard, heard_of
from state.permissions import Granted, granted, order_fields, saved_first
from state.queues import ITERATE
from state.scripts import Reply, Scripts
from state.stop_policy import StopPolicy

#: A message that arrives this much before its iteration is due is run, not sent round again.
EARLY_MS = 100


class LeaseLost(StateError):
    """Raised when another task holds the lease: leave everything to it."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where an instance trades: what is known of it there is read together with the claim."""

    #: Under this name market data is kept.
    venue: str
    symbol: str
    account: str


@dataclass(frozen=True, kw_only=True)
class Lease:
    """Permission to run one iteration of one run; ends by itself."""

    instance_id: str
    epoch: int
    tick: int
    seq: int
    token: str
    #: State server's time when it was claimed, ms.
    claimed_at_ms: int
    #: When this iteration was due, ms.
    due_at_ms: int
    started_at_ms: int
    #: Iterations that failed in a row before this one.
    errors: int
    slot: int
    account: str
    config_version: str
    #: The strategy's state as last committed (JSON), empty at first.
    state_json: str
    #: Until then a request of an earlier iteration whose answer is missing can still be accepted, ms.
    fence_ms: int = 0
    #: The runner's books of the run as last committed (JSON), empty at first.
    books_json: str = ""
    #: What the instance made today (JSON), kept from run to run; empty at first.
    daily_json: str = ""
    #: Client order ids that an earlier iteration was given and whose fate it did not tell: to when, ms.
    intents: Mapping[int, int] = field(default_factory=dict)
    #: True: the run is paused, nothing is authorised, and what rests is withdrawn.
    is_paused: bool = False
    #: What the last look at the exchange showed, as last committed (JSON); empty: nobody has looked.
    look_json: str = ""
    #: The market as a feed sees it (`market_data.FIELDS`), read with the claim; empty: not asked for.
    market: tuple[str | None, ...] = ()
    #: What feeds have heard of the account; None: not asked for, or damaged.
    heard: Heard | None = None
    #: Of which place these two are.
    place: Place | None = None


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why a claim was not given."""

    #: ``busy`` (a live lease), ``early`` (a hop of a long countdown) or ``stale`` (late or doubled).
    reason: str
    detail: str = ""
    #: With ``early``: how long until it is due.
    wait_ms: int = 0


@dataclass(frozen=True, kw_only=True)
class Committed:
    """What has to be published after a commit."""

    running: bool
    epoch: int = 0
    tick: int = 0
    #: None: the scheduled message that is under way stands.
    countdown_ms: int | None = None
    #: The id under which that message was announced to stops, for revoking it.
    task_id: str = ""
    wake_up: bool = False
    errors: int = 0


class Leases:
    """Claims, authorisations and commits."""

    def __init__(
        self,
        client: redis.Redis,
        scripts: Scripts,
        *,
        lease_ms: int,
        grace_ms: int,
        fence_margin_ms: int,
    ) -> None:
        self._client = client
        self._scripts = scripts
        self._lease_ms = lease_ms
        self._grace_ms = grace_ms
        self._fence_margin_ms = fence_margin_ms

    def claim(
        self,
        instance_id: str,
        *,
        epoch: int,
        tick: int | None,
        task_id: str,
        place: Place | None = None,
        queue: str = ITERATE,
    ) -> Lease | Refusal:
        """Take the lease for the scheduled iteration `tick`, or for a wake-up when `tick` is None.

        `queue` is the one that the message came through.
        """
        market = keys.market(place.venue, place.symbol) if place else keys.market("", "")
        heard = keys.heard(place.account if place else "")
        token = secrets.token_hex(8)
        kind, *rest = self._scripts.call(
            "claim",
            [
                keys.record(instance_id),
                keys.DUE,
                keys.trace(instance_id),
                keys.intents(instance_id),
                keys.generations(instance_id),
                market,
                heard,
                keys.BACKLOG,
            ],
            [
                instance_id,
                epoch,
                -1 if tick is None else tick,
                token,
                task_id,
                self._lease_ms,
                self._grace_ms,
                EARLY_MS,
                queue,
            ],
        )
        if kind == "early":
            return Refusal(reason="early", wait_ms=int(rest[0]))
        if kind != "claimed":
            return Refusal(reason=str(kind), detail=str(rest[0]) if rest else "")
        now, seq, current_tick, due, started_at, errors, slot, version, account, state_json, *more = rest
        fence, books, daily, intents, paused, look, *streamed = more
        market_fields, times = cast("list[list[str | None]]", streamed)
        return Lease(
            instance_id=instance_id,
            epoch=epoch,
            tick=int(current_tick),
            seq=int(seq),
            token=token,
            claimed_at_ms=int(now),
            due_at_ms=int(due),
            started_at_ms=int(started_at),
            errors=int(errors),
            slot=int(slot),
            account=str(account),
            config_version=str(version),
            state_json=str(state_json),
            fence_ms=int(fence),
            books_json=str(books),
            daily_json=str(daily),
            intents=client_order_ids(int(slot), cast("list[str]", intents)),
            is_paused=paused != "",
            look_json=str(look),
            market=tuple(market_fields) if place else (),
            heard=heard_of(times) if place else None,
            place=place,
        )

    def authorize(self, lease: Lease, *, window_ms: int, orders: Sequence[tuple[int, Role]]) -> Granted:
        """Allow one request that creates `orders` (level and role of each), and move `fence` behind it.

        Where the state server may forget its last second, the first one of a run and of each level waits for
        its disk; where Sentinels may replace it, each one for a replica. Raises `AuthorizationRefused` when
        the gate is closed or the lease is not ours any more.
        """
        reply = saved_first(
            lambda: self._authorize(lease, window_ms, orders), self._client, self._scripts, lease.instance_id
        )
        return granted(reply, lease.slot, orders)

    def _authorize(self, lease: Lease, window_ms: int, orders: Sequence[tuple[int, Role]]) -> Reply:
        return self._scripts.call_confirmed(
            "authorize",
            [
                keys.record(lease.instance_id),
                keys.stop(lease.instance_id),
                keys.generations(lease.instance_id),
                keys.intents(lease.instance_id),
            ],
            [lease.token, window_ms, self._fence_margin_ms, *order_fields(orders)],
        )

    def commit(
        self,
        lease: Lease,
        *,
        resolved: bool,
        state_json: str,
        interval_ms: int,
        next_task_id: str,
        error: str = "",
        error_delay_ms: int = 0,
        order_ids: Sequence[str] | None = None,
        books_json: str = "",
        daily_json: str = "",
        intents: Mapping[int, int] | None = None,
        stop_reason: str = "",
        stop_cause: str = "",
        stop_policy: StopPolicy | None = None,
        bookings: Sequence[str] = (),
        is_quiet: bool | None = None,
        look_again_ms: int = 0,
        look_json: str = "",
    ) -> Committed:
        """Save the state, release the lease, and return what to publish. Raises `LeaseLost`.

        `order_ids` are the own orders believed open now. `intents` are the client order ids whose fate is
        still not known, with when they were given. What is None or empty stays as it was. A `stop_reason`
        closes the gate, as `request_stop` does; its event tells the `StopCause`, too. `bookings` are for the
        ledger (JSON). Of a paused run `is_quiet` says whether nothing rested that could be withdrawn, nor
        could arrive; unless it did so twice, the next look follows after `look_again_ms`. `look_json` is what
        was seen on the exchange.
        """
        kind, *rest = self._scripts.call(
            "commit",
            [
                keys.record(lease.instance_id),
                keys.DUE,
                keys.trace(lease.instance_id),
                keys.released(lease.instance_id),
                keys.intents(lease.instance_id),
                keys.stop(lease.instance_id),
                keys.EVENTS,
                keys.WAKE,
                keys.BOOKINGS,
            ],
            [
                lease.instance_id,
                lease.token,
                "1" if resolved else "0",
                state_json,
                interval_ms,
                next_task_id,
                error,
                error_delay_ms,
                self._grace_ms,
                "-" if order_ids is None else ",".join(order_ids),
                EARLY_MS,
                books_json,
                daily_json,
                intents_json(intents),
                stop_reason,
                (stop_policy or StopPolicy()).to_json(),
                MOST_WAITING,
                "" if is_quiet is None else int(is_quiet),
                look_again_ms,
                look_json,
                stop_cause,
                *bookings,
            ],
        )
        if kind == "lost":
            raise LeaseLost(f"{lease.instance_id}: the lease of iteration {lease.seq} was taken over")
        if kind == "stopping":
            return Committed(running=False)
        epoch, tick, countdown, wake_up, errors = (int(value) for value in rest)
        return Committed(
            running=True,
            epoch=epoch,
            tick=tick,
            countdown_ms=None if countdown < 0 else countdown,
            task_id=next_task_id,
            wake_up=wake_up == 1,
            errors=errors,
        )
