"""Iteration leases and cleanup leases: who may send requests for an instance right now."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import redis

from market.orders import Role
from state import keys
from state.client_ids import ClientOrderId, generation_field
from state.connection import StateError
from state.instances import StopPolicy
from state.scripts import Scripts

#: A message that arrives this much before its iteration is due is run, not sent round again.
EARLY_MS = 100


class AuthorizationRefused(StateError):
    """Raised when requests that create orders are not allowed (any more): send nothing."""


class LeaseLost(StateError):
    """Raised when another task holds the lease: leave everything to it."""


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
    #: Own orders that were accepted and that no list has shown yet: their ids, and when, ms.
    unlisted: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why a claim was not given."""

    #: ``busy`` (a live lease), ``early`` (a hop of a long countdown) or ``stale`` (late or doubled).
    reason: str
    detail: str = ""
    #: With ``early``: how long until it is due.
    wait_ms: int = 0


@dataclass(frozen=True, kw_only=True)
class Granted:
    """Permission to send orders, given at one moment."""

    #: State server's time of the permission, ms; requests are signed with this time and no later one.
    at_ms: int
    client_order_ids: tuple[int, ...]


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


@dataclass(frozen=True, kw_only=True)
class CleanupLease:
    """Permission to clean up one run."""

    instance_id: str
    epoch: int
    token: str
    claimed_at_ms: int
    attempt: int
    slot: int
    account: str
    config_version: str
    policy: StopPolicy
    #: Own orders as the last committed iteration knew them: they are cancelled even if a list lags behind.
    order_ids: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class InFlight:
    """What a cleanup has to wait for."""

    now_ms: int
    #: End of a live iteration lease, 0 when there is none.
    lease_until_ms: int
    running_task_id: str
    #: Until then a request authorised earlier can still be accepted.
    fence_ms: int
    #: Own orders as the last committed iteration knew them, which may be one that ended during the stop.
    order_ids: tuple[str, ...]


class Leases:
    """Claims, authorisations and commits."""

    def __init__(
        self,
        client: redis.Redis,
        scripts: Scripts,
        *,
        lease_ms: int,
        cleanup_lease_ms: int,
        grace_ms: int,
        fence_margin_ms: int,
    ) -> None:
        self._client = client
        self._scripts = scripts
        self._lease_ms = lease_ms
        self._cleanup_lease_ms = cleanup_lease_ms
        self._grace_ms = grace_ms
        self._fence_margin_ms = fence_margin_ms

    def claim(self, instance_id: str, *, epoch: int, tick: int | None, task_id: str) -> Lease | Refusal:
        """Take the lease for the scheduled iteration `tick`, or for a wake-up when `tick` is None."""
        token = secrets.token_hex(8)
        kind, *rest = self._scripts.call(
            "claim",
            [keys.record(instance_id), keys.DUE, keys.trace(instance_id)],
            [
                instance_id,
                epoch,
                -1 if tick is None else tick,
                token,
                task_id,
                self._lease_ms,
                self._grace_ms,
                EARLY_MS,
            ],
        )
        if kind == "early":
            return Refusal(reason="early", wait_ms=int(rest[0]))
        if kind != "claimed":
            return Refusal(reason=str(kind), detail=str(rest[0]) if rest else "")
        now, seq, current_tick, due, started_at, errors, slot, version, account, state_json, *more = rest
        unlisted, fence = more
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
            unlisted=json.loads(str(unlisted) or "{}"),
        )

    def authorize(self, lease: Lease, *, window_ms: int, orders: Sequence[tuple[int, Role]]) -> Granted:
        """Allow one request that creates `orders` (level and role of each), and move `fence` behind it.

        Raises `AuthorizationRefused` when the gate is closed or the lease is not ours any more.
        """
        reply = self._scripts.call(
            "authorize",
            [
                keys.record(lease.instance_id),
                keys.stop(lease.instance_id),
                keys.generations(lease.instance_id),
            ],
            [lease.token, window_ms, self._fence_margin_ms, *_fields(orders)],
        )
        return _granted(reply, lease.slot, orders)

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
        unlisted: Mapping[str, int] | None = None,
    ) -> Committed:
        """Save the state, release the lease, and return what to publish. Raises `LeaseLost`.

        `order_ids` are the own orders believed open now, `unlisted` those of them that no list has shown
        yet; without `order_ids` both stay what the last iteration said.
        """
        kind, *rest = self._scripts.call(
            "commit",
            [
                keys.record(lease.instance_id),
                keys.DUE,
                keys.trace(lease.instance_id),
                keys.released(lease.instance_id),
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
                json.dumps(dict(unlisted or {})),
                EARLY_MS,
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

    def claim_cleanup(self, instance_id: str, *, epoch: int, by: str) -> CleanupLease | Refusal:
        """Take the cleanup lease of a stopping or failed run."""
        token = secrets.token_hex(8)
        kind, *rest = self._scripts.call(
            "claim_cleanup",
            [keys.record(instance_id), keys.DUE, keys.EVENTS],
            [instance_id, epoch, token, self._cleanup_lease_ms, self._grace_ms, by],
        )
        if kind != "claimed":
            return Refusal(reason=str(kind), detail=str(rest[0]) if rest else "")
        now, attempt, slot, account, version, policy, order_ids = rest
        return CleanupLease(
            instance_id=instance_id,
            epoch=epoch,
            token=token,
            claimed_at_ms=int(now),
            attempt=int(attempt),
            slot=int(slot),
            account=str(account),
            config_version=str(version),
            policy=StopPolicy.from_json(str(policy)),
            order_ids=_ids(order_ids),
        )

    def renew_cleanup(self, lease: CleanupLease, *, settled: bool = False) -> InFlight:
        """Prolong the cleanup lease and return what is in flight. Raises `LeaseLost`.

        `settled`: every order the cleanup itself sent got its answer, so `fence` need not wait for it.
        """
        kind, *rest = self._scripts.call(
            "renew_cleanup",
            [keys.record(lease.instance_id), keys.DUE],
            [lease.instance_id, lease.token, self._cleanup_lease_ms, self._grace_ms, "1" if settled else "0"],
        )
        if kind != "ok":
            raise LeaseLost(f"{lease.instance_id}: the cleanup lease was lost")
        now, lease_until, running, fence, order_ids = rest
        return InFlight(
            now_ms=int(now),
            lease_until_ms=int(lease_until),
            running_task_id=str(running),
            fence_ms=int(fence),
            order_ids=_ids(order_ids),
        )

    def wait_released(self, lease: CleanupLease, *, timeout_s: float) -> None:
        """Return as soon as an iteration releases its lease, at the latest after `timeout_s`."""
        self._client.blpop([keys.released(lease.instance_id)], timeout=timeout_s)

    def authorize_cleanup(
        self, lease: CleanupLease, *, window_ms: int, orders: Sequence[tuple[int, Role]]
    ) -> Granted:
        """Allow the cleanup one request that closes the position. Raises `AuthorizationRefused`."""
        reply = self._scripts.call(
            "authorize_cleanup",
            [keys.record(lease.instance_id), keys.generations(lease.instance_id)],
            [lease.token, window_ms, self._fence_margin_ms, *_fields(orders)],
        )
        return _granted(reply, lease.slot, orders)

    def finish(
        self,
        lease: CleanupLease,
        *,
        clean: bool,
        outcome_json: str,
        retry_after_ms: int,
        attempts_until_failed: int,
        keeps_orders: bool = False,
    ) -> str:
        """End the cleanup; return ``stopped``, ``retry``, ``failed`` or ``early``. Raises `LeaseLost`."""
        result = str(
            self._scripts.call(
                "finish",
                [keys.record(lease.instance_id), keys.stop(lease.instance_id), keys.DUE, keys.EVENTS],
                [
                    lease.instance_id,
                    lease.token,
                    "clean" if clean else "unclean",
                    outcome_json,
                    retry_after_ms,
                    attempts_until_failed,
                    "1" if keeps_orders else "0",
                ],
            )[0]
        )
        if result == "lost":
            raise LeaseLost(f"{lease.instance_id}: the cleanup lease was lost before the result was kept")
        return result


def _fields(orders: Sequence[tuple[int, Role]]) -> list[str]:
    return [generation_field(level, role) for level, role in orders]


def _ids(joined: int | str) -> tuple[str, ...]:
    return tuple(str(joined).split(",")) if joined else ()


def _granted(reply: list[int | str], slot: int, orders: Sequence[tuple[int, Role]]) -> Granted:
    if reply[0] != "ok":
        raise AuthorizationRefused(f"not authorised: {reply[1]}")
    generations = [int(value) for value in cast("list[int]", reply[2:])]
    return Granted(
        at_ms=int(reply[1]),
        client_order_ids=tuple(
            ClientOrderId(slot=slot, level=level, role=role, generation=generation % 1024).encode()
            for (level, role), generation in zip(orders, generations, strict=True)
        ),
    )
