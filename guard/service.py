"""The guard process: reads signs of life, remembers whom it watches, and has the silent ones acted for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import redis
import structlog

from exchanges.registry import Venue
from guard.account import AccountGuard, Act, Rules, Target
from guard.memory import Memory, Remembered
from guard.silence import Vigil
from guard.stops import OwedStops
from guard.telling import Telling
from guard.watched import CannotWatch, Watched, watched
from state.client_ids import slot_owner
from state.guards import GuardProcess, Guards
from state.heartbeats import Heartbeat, Heartbeats, Reading
from state.instances import Instances
from state.record import Phase
from state.scripts import Scripts

log = structlog.get_logger(__name__)

#: How often the state server is read.
ROUND_S = 1.0
#: Of the threads at the end; what they wait for has time-outs of its own.
JOIN_S = 0.5

#: Opens the account of an instance: the exchange, and the fingerprint of its key. Raises `CannotWatch`.
OpenVenue = Callable[[Watched], tuple[Venue, str]]


@dataclass(frozen=True, kw_only=True)
class GuardOptions:
    """How a guard behaves."""

    #: Host and process, its own.
    name: str
    rules: Rules
    #: True: an instance whose orders were cancelled is also stopped, once the state server can be written.
    stops: bool
    #: Where instances trade that are not live.
    simulator_url: str


class GuardService:
    """Runs until `end`. Any number of guards may watch the same instances; cancels may be repeated."""

    def __init__(
        self, options: GuardOptions, client: redis.Redis, memory: Memory, *, open_venue: OpenVenue
    ) -> None:
        """Nothing begins yet, apart from reading the memory."""
        self._options = options
        self._client = client
        self._memory = memory
        self._open_venue = open_venue
        self._heartbeats = Heartbeats(client)
        self._guards = Guards(client)
        self._instances = Instances(client, Scripts(client))
        self._telling = Telling(client, options.name)
        self._vigil = Vigil(options.rules.after_s)
        self._beats: Mapping[str, Heartbeat] = {}
        self._accounts: dict[str, AccountGuard] = {}
        self._unwatchable: dict[str, str] = {}
        self._trouble = ""
        #: Of `_vigil` and `_proven`, which the accounts' threads use too.
        self._lock = threading.RLock()
        self._ended = threading.Event()
        remembered = memory.load()
        self._watched: dict[str, Watched] = dict(remembered.instances)
        self._proven: dict[str, str] = dict(remembered.proven)
        self._stops = OwedStops(options.name, options.rules.after_s, remembered.stops_owed)
        self._vigil.remember(self._watched, time.monotonic())

    def end(self) -> None:
        """Ask for the end. For a signal handler."""
        self._ended.set()

    def run(self) -> None:
        """Work until `end` is called."""
        log.info(
            "guard watches",
            guard=self._options.name,
            after_s=self._options.rules.after_s,
            action="stop" if self._options.stops else "cancel",
            remembered=len(self._watched),
            memory=str(self._memory.path),
        )
        try:
            while not self._ended.is_set():
                try:
                    self.round()
                except Exception:
                    # The process's boundary. A mistake of ours is no silence of others: nothing is cancelled.
                    log.exception("round failed, trying on")
                self._ended.wait(ROUND_S)
        finally:
            self._close()

    def round(self) -> None:
        """Look once, and tell the accounts' threads who is silent."""
        self._look()
        self._distribute(time.monotonic())

    def _look(self) -> None:
        try:
            reading = self._heartbeats.read(self._watched)
            self._take_in(reading)
        except redis.RedisError as error:
            with self._lock:
                self._vigil.lost(time.monotonic())
            self._note("state server out of reach", error)
        else:
            self._write(reading)
        self._memory.save(self._remembered())

    def _note(self, trouble: str, error: Exception | None = None) -> None:
        """Say what is wrong with the state server, once for each trouble."""
        if trouble != self._trouble:
            if trouble:
                log.warning(trouble, error=f"{type(error).__name__}: {error}")
            else:
                log.info("state server can be read and written again")
        self._trouble = trouble

    def _take_in(self, reading: Reading) -> None:
        for name, beat in reading.beats.items():
            if beat.phase is Phase.STOPPED or (beat.phase is not Phase.RUNNING and beat.keeps_orders):
                self._forget(name)
            else:
                self._watch(beat)
        with self._lock:
            self._vigil.observe(reading, self._watched, time.monotonic())
            self._vigil.forget_all_but(self._watched)
        self._beats = {**self._beats, **reading.beats}

    def _forget(self, name: str) -> None:
        self._watched.pop(name, None)
        self._unwatchable.pop(name, None)
        self._stops.settle(name)

    def _watch(self, beat: Heartbeat) -> None:
        name, known = beat.instance_id, self._watched.get(beat.instance_id)
        this_run = (beat.pulse.epoch, beat.config_version, beat.account, beat.slot)
        if known and (known.epoch, known.config_version, known.account, known.slot) == this_run:
            return
        try:
            found = watched(beat, self._heartbeats.config_json(name), self._options.simulator_url)
        except CannotWatch as error:
            if self._unwatchable.get(name) != str(error):
                log.error("instance not watched", instance=name, epoch=beat.pulse.epoch, why=str(error))
            self._unwatchable[name] = str(error)
            return
        self._unwatchable.pop(name, None)
        self._watched[name] = found
        self._telling.watching(found, self._options.rules.after_s)

    def _write(self, reading: Reading) -> None:
        """Tell what has happened, and ask for the stops that are owed. Only reading shows life or silence."""
        try:
            self._telling.flush(reading.now_ms)
            self._beat(reading)
            self._stops.ask_for_all(self._instances, self._watched)
        except redis.RedisError as error:
            self._note("state server takes no word of the guard", error)
        else:
            self._note("")

    def _beat(self, reading: Reading) -> None:
        with self._lock:
            silent = self._vigil.silent(time.monotonic())
        self._guards.heartbeat(
            GuardProcess(
                name=self._options.name,
                after_s=self._options.rules.after_s,
                watched=len(self._watched),
                unwatchable=tuple(sorted(self._unwatchable)),
                silent=tuple(sorted(silent)),
                accounts={account: guard.standing for account, guard in self._accounts.items()},
                seen_at_ms=reading.now_ms,
            )
        )

    def _distribute(self, now_s: float) -> None:
        with self._lock:
            silent, lost_s = self._vigil.silent(now_s), self._vigil.lost_since_s
        lost_for_s = None if lost_s is None else now_s - lost_s
        by_account: dict[str, dict[str, Target]] = {one.account: {} for one in self._watched.values()}
        for name, silence in silent.items():
            one = self._watched[name]
            target = Target(watched=one, silence=silence, lost_for_s=lost_for_s)
            by_account[one.account][name] = target
        for account in self._accounts.keys() - by_account.keys():
            self._accounts.pop(account).end()
        for account, targets in by_account.items():
            ids = [
                order_id
                for beat in self._beats.values()
                if beat.account == account
                for order_id in beat.order_ids
            ]
            self._account(account).watch(targets, frozenset(ids))

    def _account(self, account: str) -> AccountGuard:
        if account not in self._accounts:
            guard = AccountGuard(
                account,
                self._options.rules,
                open_venue=lambda: self._open(account),
                is_proven=lambda fingerprint: self._is_proven(account, fingerprint),
                prove=lambda fingerprint: self._prove(account, fingerprint),
                confirm=self.is_still_silent,
                tell=self._tell,
            )
            self._accounts[account] = guard
            guard.start()
        return self._accounts[account]

    def _open(self, account: str) -> tuple[Venue, str]:
        for one in tuple(self._watched.values()):
            if one.account == account:
                return self._open_venue(one)
        raise CannotWatch(f"nothing of account {account} is watched any more")

    def _is_proven(self, account: str, fingerprint: str) -> bool:
        with self._lock:
            return account.endswith(f":{fingerprint}") or self._proven.get(account) == fingerprint

    def _prove(self, account: str, fingerprint: str) -> None:
        log.info("another key opens the account, as its orders show", account=account, key=fingerprint)
        with self._lock:
            self._proven[account] = fingerprint

    def is_still_silent(self, name: str) -> bool:
        """Look at one instance, right before its orders are cancelled. For the accounts' threads."""
        with self._lock:
            if self._vigil.lost_since_s is not None:
                self._vigil.lost(time.monotonic())
                return name in self._vigil.silent(time.monotonic())
        one = self._watched.get(name)
        if one is None:
            return False
        try:
            reading = self._heartbeats.read_some([name])
            owner = slot_owner(self._client, one.account, one.slot)
        except redis.RedisError:
            # It went away in this moment; the instance was silent for long enough before.
            return True
        if owner not in ("", name):
            log.error("slot belongs to another instance, nothing cancelled", instance=name, owner=owner)
            return False
        with self._lock:
            self._vigil.observe(reading, [name], time.monotonic())
            return name in self._vigil.silent(time.monotonic())

    def _tell(self, act: Act) -> None:
        self._telling.act(act)
        if self._options.stops and act.cancelled:
            self._stops.owe(act.watched)

    def _remembered(self) -> Remembered:
        with self._lock:
            return Remembered(
                instances=dict(self._watched), proven=dict(self._proven), stops_owed=self._stops.epochs()
            )

    def _close(self) -> None:
        for guard in self._accounts.values():
            guard.end()
        for guard in self._accounts.values():
            guard.join(JOIN_S)
        if self._vigil.lost_since_s is None:
            # What was stopped in the last second is not remembered as running.
            self._look()
        try:
            self._guards.forget(self._options.name)
        except redis.RedisError as error:
            log.info("guard not taken off the list", error=str(error))
