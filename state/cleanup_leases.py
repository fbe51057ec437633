"""Cleanup leases: who may clean up a run right now, and what a cleanup has to wait for."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import redis

from market.orders import Role
from state import keys
from state.bookings import MOST_WAITING
from state.client_ids import intents_json
from state.durability import save
from state.leases import LeaseLost, Refusal
from state.permissions import Granted, granted, order_fields, saved_first
from state.record import UNKNOWN_LEFT, Phase
from state.scripts import Reply, Scripts
from state.stop_policy import StopPolicy
from state.stop_story import FlightAtStop, StopAsked, flight_from_json, requests_from_json

#: Longer than any stop.
NEVER_MS = 10**12


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
    #: Start of the run, ms.
    started_at_ms: int = 0
    #: The requests to stop that count, the first one first.
    asked: tuple[StopAsked, ...] = ()
    #: The iteration that was in flight at the first of them; None when there was none.
    flight: FlightAtStop | None = None
    #: False: the stop was asked for by a version that did not write that down.
    knows_flight: bool = True
    #: The receipt (JSON) as the last attempt left it, empty before the first.
    receipt_json: str = ""
    #: The run is called failed already.
    is_failed: bool = False
    #: Since when the run was paused, ms; None: it was not.
    paused_at_ms: int | None = None


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
    #: How the iteration ended that was in flight at the stop: ``committed``, ``lease_ran_out``; empty: not.
    flight_end: str = ""
    #: When, ms; 0: not yet.
    flight_ended_at_ms: int = 0


class CleanupLeases:
    """Claims, renewals, authorisations and ends of cleanups."""

    def __init__(
        self, client: redis.Redis, scripts: Scripts, *, lease_ms: int, grace_ms: int, fence_margin_ms: int
    ) -> None:
        self._client = client
        self._scripts = scripts
        self._lease_ms = lease_ms
        self._grace_ms = grace_ms
        self._fence_margin_ms = fence_margin_ms

    def claim(self, instance_id: str, *, epoch: int, by: str) -> CleanupLease | Refusal:
        """Take the cleanup lease of a stopping or failed run."""
        token = secrets.token_hex(8)
        kind, *rest = self._scripts.call(
            "claim_cleanup",
            [
                keys.record(instance_id),
                keys.DUE,
                keys.EVENTS,
                keys.intents(instance_id),
                keys.generations(instance_id),
            ],
            [instance_id, epoch, token, self._lease_ms, self._grace_ms, by],
        )
        if kind != "claimed":
            return Refusal(reason=str(kind), detail=str(rest[0]) if rest else "")
        now, attempt, slot, account, version, policy, order_ids, *story = rest
        started_at, asked, flight, receipt, phase, paused = story
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
            started_at_ms=int(started_at),
            asked=requests_from_json(str(asked)),
            flight=flight_from_json(str(flight)),
            knows_flight=flight != "-",
            receipt_json=str(receipt),
            is_failed=phase == Phase.FAILED,
            paused_at_ms=int(paused) if paused else None,
        )

    def renew(self, lease: CleanupLease, *, settled: bool = False) -> InFlight:
        """Prolong the cleanup lease and return what is in flight. Raises `LeaseLost`.

        `settled`: every order the cleanup itself sent got its answer, so `fence` need not wait for it.
        """
        kind, *rest = self._scripts.call(
            "renew_cleanup",
            [keys.record(lease.instance_id), keys.DUE],
            [lease.instance_id, lease.token, self._lease_ms, self._grace_ms, "1" if settled else "0"],
        )
        if kind != "ok":
            raise LeaseLost(f"{lease.instance_id}: the cleanup lease was lost")
        now, lease_until, running, fence, order_ids, flight_end = rest
        how, _, ended_at_ms = str(flight_end).partition(" ")
        return InFlight(
            now_ms=int(now),
            lease_until_ms=int(lease_until),
            running_task_id=str(running),
            fence_ms=int(fence),
            order_ids=_ids(order_ids),
            flight_end=how,
            flight_ended_at_ms=int(ended_at_ms or 0),
        )

    def wait_released(self, lease: CleanupLease, *, timeout_s: float) -> None:
        """Return as soon as an iteration releases its lease, at the latest after `timeout_s`."""
        self._client.blpop([keys.released(lease.instance_id)], timeout=timeout_s)

    def authorize(
        self, lease: CleanupLease, *, window_ms: int, orders: Sequence[tuple[int, Role]]
    ) -> Granted:
        """Allow the cleanup one request that closes the position. Raises `AuthorizationRefused`."""
        arguments: list[str | int] = [lease.token, window_ms, self._fence_margin_ms, *order_fields(orders)]
        names = [
            keys.record(lease.instance_id),
            keys.generations(lease.instance_id),
            keys.intents(lease.instance_id),
        ]
        reply = saved_first(
            lambda: self._scripts.call_confirmed("authorize_cleanup", names, arguments),
            self._client,
            self._scripts,
            lease.instance_id,
        )
        return granted(reply, lease.slot, orders)

    def finish(
        self,
        lease: CleanupLease,
        *,
        clean: bool,
        outcome_json: str,
        retry_after_ms: int,
        attempts_until_failed: int,
        failed_after_ms: int = NEVER_MS,
        left: str = UNKNOWN_LEFT,
        event_json: str = "",
        alert: str = "",
        keeps_orders: bool = False,
        books_json: str = "",
        intents: Mapping[int, int] | None = None,
        daily_json: str = "",
        bookings: Sequence[str] = (),
    ) -> str:
        """End the cleanup; return ``stopped``, ``retry``, ``failed``, ``early`` or ``unsaved``.

        Where the state server may forget its last second, a clean end waits until the stop is on disk;
        ``unsaved`` when that takes too long. Raises `LeaseLost`.

        An unclean end makes the run failed from attempt `attempts_until_failed` on, or `failed_after_ms`
        after the request. `outcome_json` is the receipt; `event_json` what the event says of it, where that
        is not the same. `left`: ids of the own orders left, comma separated. `alert` is told where the run
        becomes failed, or clean after that. `books_json`, `intents`, `daily_json` and `bookings` as for a
        commit of an iteration.
        """
        arguments: list[str | int] = [
            lease.instance_id,
            lease.token,
            "clean" if clean else "unclean",
            outcome_json,
            retry_after_ms,
            attempts_until_failed,
            "1" if keeps_orders else "0",
            books_json,
            intents_json(intents),
            daily_json,
            MOST_WAITING,
            event_json,
            left,
            failed_after_ms,
            alert,
            *bookings,
        ]
        result, *what = self._finish(lease, arguments)
        if result == "unsaved" and save(self._client, self._scripts, lease.instance_id, str(what[1])):
            result, *_ = self._finish(lease, arguments)
        if result == "lost":
            raise LeaseLost(f"{lease.instance_id}: the cleanup lease was lost before the result was kept")
        return str(result)

    def _finish(self, lease: CleanupLease, arguments: Sequence[str | int]) -> Reply:
        return self._scripts.call(
            "finish",
            [
                keys.record(lease.instance_id),
                keys.stop(lease.instance_id),
                keys.DUE,
                keys.EVENTS,
                keys.intents(lease.instance_id),
                keys.BOOKINGS,
            ],
            arguments,
        )

    def release(self, lease: CleanupLease, *, receipt_json: str, left: str = UNKNOWN_LEFT) -> bool:
        """Give the lease back unfinished, for a sweep to publish the cleanup at once; tell if it was ours.

        `receipt_json` has what the attempt saw and did, `left` is as for `finish`. It does not count as one
        that failed.
        """
        reply = self._scripts.call(
            "release_cleanup",
            [keys.record(lease.instance_id), keys.DUE, keys.WAKE],
            [lease.instance_id, lease.token, receipt_json, left],
        )
        return reply[0] == "released"

    def complete_books(
        self,
        lease: CleanupLease,
        *,
        books_json: str,
        daily_json: str,
        intents: Mapping[int, int],
        receipt_json: str = "",
        bookings: Sequence[str] = (),
    ) -> bool:
        """Save the books of a run that has ended clean; tell whether no other run has begun since.

        `receipt_json` replaces the run's receipt, empty keeps it.
        """
        reply = self._scripts.call(
            "complete_books",
            [keys.record(lease.instance_id), keys.intents(lease.instance_id), keys.BOOKINGS],
            [
                lease.epoch,
                books_json,
                daily_json,
                intents_json(intents),
                MOST_WAITING,
                receipt_json,
                *bookings,
            ],
        )
        return reply[0] == "saved"


def _ids(joined: int | str) -> tuple[str, ...]:
    return tuple(str(joined).split(",")) if joined else ()
