"""The guard's hand on one account: a thread that cancels for the silent ones, and else checks its key."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import structlog

from exchanges.errors import ExchangeError, RateLimited
from exchanges.registry import Venue
from guard.silence import Silence
from guard.watched import CannotWatch, Watched
from market.orders import CancelOutcome, OpenOrder
from state.guards import READY

log = structlog.get_logger(__name__)

#: While own orders rest, and until two lists in a row show none.
PAUSE_S = 0.2
#: From then on: a request that was under way may still arrive, and what was frozen may wake.
WATCH_S = 3.0
#: After an error, doubled each time up to the longest.
FIRST_BACK_OFF_S = 0.5
LONGEST_BACK_OFF_S = 5.0
#: Between two looks whether the key still works while everybody is alive, and while it does not.
CHECK_S = 60.0
CHECK_AGAIN_S = 5.0
#: Cancels at the same time; each is for one order.
AT_ONCE = 4
#: The exchange stamps orders and answers `/time` on different machines; their clocks may differ by this.
CLOCK_SLACK_MS = 5_000


@dataclass(frozen=True, kw_only=True)
class Target:
    """An instance that is silent."""

    watched: Watched
    silence: Silence
    #: For how long the state server has been out of reach, seconds; None: it can be read.
    lost_for_s: float | None


@dataclass(frozen=True, kw_only=True)
class Act:
    """What was done for one instance in one round."""

    #: ``guard_acted`` or ``guard_verified``.
    event: str
    watched: Watched
    silence: Silence
    cancelled: tuple[str, ...] = ()
    #: Gone before the cancel came.
    gone: tuple[str, ...] = ()
    #: Not known to be cancelled; the next list shows.
    unsure: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How long things take."""

    #: An instance that shows no life for so long is acted for.
    after_s: float
    #: Added to a request's window, as the lifecycle does.
    fence_margin_ms: int


@dataclass(kw_only=True)
class _Round:
    """How far the guard has come with those who are silent."""

    names: frozenset[str] = frozenset()
    empty_lists: int = 0
    #: Of whom it was told that nothing rests.
    told: set[str] = field(default_factory=set)


#: Tells by a fresh look whether an instance is still silent, and its slot its own.
Confirm = Callable[[str], bool]


class AccountGuard:
    """Acts on one account. `watch` says who is silent; everything else happens in its own thread."""

    def __init__(
        self,
        account: str,
        rules: Rules,
        *,
        open_venue: Callable[[], tuple[Venue, str]],
        is_proven: Callable[[str], bool],
        prove: Callable[[str], None],
        confirm: Confirm,
        tell: Callable[[Act], None],
    ) -> None:
        """`open_venue` returns the exchange and the fingerprint of its key; it raises `CannotWatch`.

        `is_proven` tells whether the key with a fingerprint is known to open this account; `prove` is
        called with a fingerprint that was seen to.
        """
        self.account = account
        self._rules = rules
        self._open_venue = open_venue
        self._is_proven = is_proven
        self._prove = prove
        self._confirm = confirm
        self._tell = tell
        self._venue: Venue | None = None
        self._fingerprint = ""
        self._silent: Mapping[str, Target] = {}
        self._known: frozenset[str] = frozenset()
        self._round_state = _Round()
        self._failures = 0
        self._said = ""
        self._changed = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"guard {account}", daemon=True)
        #: How the account stands: `READY`, or why the guard cannot act on it.
        self.standing = "not looked at yet"

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def end(self) -> None:
        """Ask for the end."""
        self._ended.set()
        self._changed.set()

    def join(self, timeout_s: float) -> None:
        """Wait for the end of the thread."""
        self._thread.join(timeout_s)

    def watch(self, silent: Mapping[str, Target], known_order_ids: frozenset[str]) -> None:
        """Say who is silent from now on, and which orders the account's instances have."""
        if silent.keys() != self._silent.keys():
            self._silent = silent
            self._changed.set()
        self._silent, self._known = silent, known_order_ids

    def _run(self) -> None:
        while not self._ended.is_set():
            self._changed.clear()
            pause_s = self.work()
            self._changed.wait(pause_s)
        if self._venue is not None:
            self._venue.close()

    def work(self) -> float:
        """Do what there is to be done once, and return how long to wait then, seconds."""
        silent = self._silent
        try:
            pause_s = self._act(silent) if silent else self._check()
        except (ExchangeError, CannotWatch) as error:
            retry_s = error.retry_after_s if isinstance(error, RateLimited) else 0.0
            return self._failed(str(error), retry_s)
        except Exception as error:
            # The thread's boundary: a dead guard is worse than one that tries again.
            log.exception("guard round failed", account=self.account)
            return self._failed(f"{type(error).__name__}: {error}")
        self._failures = 0
        return pause_s

    def _failed(self, why: str, retry_s: float = 0.0) -> float:
        self._set_standing(why)
        self._round_state.empty_lists = 0
        if not self._silent:
            return max(CHECK_AGAIN_S, retry_s)
        back_off_s: float = min(LONGEST_BACK_OFF_S, FIRST_BACK_OFF_S * 2**self._failures)
        self._failures = min(self._failures + 1, 10)
        return max(back_off_s, retry_s)

    def _check(self) -> float:
        """Look whether the key works and opens this account, so that it is known before it is needed."""
        self._round_state = _Round()
        self._learn(self._venue_opened().account_open_orders())
        return CHECK_S if self.standing == READY else CHECK_AGAIN_S

    def _act(self, silent: Mapping[str, Target]) -> float:
        names = frozenset(silent)
        if names != self._round_state.names:
            self._round_state = _Round(names=names, told=self._round_state.told & names)
        venue = self._venue_opened()
        listed = venue.account_open_orders()
        self._learn(listed)
        if self.standing != READY:
            return CHECK_AGAIN_S
        own = {name: [order for order in listed if t.watched.owns(order)] for name, t in silent.items()}
        left_alone = {name for name, orders in own.items() if self._lives(venue, orders, silent[name])}
        resting = {name: orders for name, orders in own.items() if orders and name not in left_alone}
        if not resting:
            return self._nothing_rests({name: t for name, t in silent.items() if name not in left_alone})
        self._round_state = _Round(names=names)
        pauses_s = [
            self._cancel(venue, silent[name], resting[name])
            for name in sorted(resting)
            # One by one, right before: whoever is back by now goes on undisturbed.
            if self._confirm(name)
        ]
        return max(pauses_s, default=WATCH_S)

    def _nothing_rests(self, silent: Mapping[str, Target]) -> float:
        """Tell, once, that two lists in a row showed nothing."""
        state = self._round_state
        state.empty_lists += 1
        if state.empty_lists < 2:
            return PAUSE_S
        for name in sorted(silent.keys() - state.told):
            state.told.add(name)
            self._tell(
                Act(event="guard_verified", watched=silent[name].watched, silence=silent[name].silence)
            )
        return WATCH_S

    def _cancel(self, venue: Venue, target: Target, orders: Sequence[OpenOrder]) -> float:
        """Cancel orders of one instance, and return how long to wait before the next look, seconds."""
        symbol = target.watched.symbol

        def cancel(order: OpenOrder) -> CancelOutcome | ExchangeError:
            try:
                return venue.cancel(symbol, order.order_id).outcome
            except ExchangeError as error:
                return error

        with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
            answers = dict(zip((o.order_id for o in orders), pool.map(cancel, orders), strict=True))
        surely = {CancelOutcome.CANCELLED, CancelOutcome.ALREADY_GONE}
        self._tell(
            Act(
                event="guard_acted",
                watched=target.watched,
                silence=target.silence,
                cancelled=tuple(i for i, answer in answers.items() if answer is CancelOutcome.CANCELLED),
                gone=tuple(i for i, answer in answers.items() if answer is CancelOutcome.ALREADY_GONE),
                unsure=tuple(i for i, answer in answers.items() if answer not in surely),
            )
        )
        limited_s = [a.retry_after_s for a in answers.values() if isinstance(a, RateLimited)]
        if limited_s:
            return max(PAUSE_S, *limited_s)
        failed = [answer for answer in answers.values() if isinstance(answer, ExchangeError)]
        if failed and len(failed) == len(answers):
            raise failed[0]
        return PAUSE_S

    def _lives(self, venue: Venue, orders: Sequence[OpenOrder], target: Target) -> bool:
        """Tell whether an order shows that the run goes on, out of this guard's sight.

        With the state server out of reach, here or everywhere: an order made later than anything that was
        authorised before can be accepted proves that somebody still asks it, so that the fault is ours.
        """
        if target.lost_for_s is None or not orders:
            return False
        now_ms = venue.clock.now_ms()
        window_ms = target.watched.window_ms + self._rules.fence_margin_ms
        youngest_ms = max(order.created_at_ms for order in orders)
        is_new = youngest_ms > now_ms - target.lost_for_s * 1000 + window_ms + CLOCK_SLACK_MS
        # One that is said to come from the future shows a clock that is wrong, and nothing else.
        if is_new and -CLOCK_SLACK_MS < now_ms - youngest_ms < self._rules.after_s * 1000:
            self._say(
                f"{target.watched.instance_id} still places orders: this guard is cut off from the state "
                "server, and leaves them for now"
            )
            return True
        return False

    def _venue_opened(self) -> Venue:
        if self._venue is None:
            self._venue, self._fingerprint = self._open_venue()
        return self._venue

    def _learn(self, listed: Sequence[OpenOrder]) -> None:
        """Find out whether the key opens the account: order ids are unique at an exchange."""
        if not self._is_proven(self._fingerprint):
            if not self._known & {order.order_id for order in listed}:
                self._set_standing(
                    f"key {self._fingerprint} is not the one that {self.account} trades with, and no list "
                    "made with it has shown an order of its instances yet: until then nothing is cancelled"
                )
                return
            self._prove(self._fingerprint)
        self._set_standing(READY)

    def _set_standing(self, standing: str) -> None:
        if standing != self.standing:
            self.standing = standing
            if standing == READY:
                log.info("account can be acted on", account=self.account, key=self._fingerprint)
            else:
                log.warning("account cannot be acted on", account=self.account, why=standing)

    def _say(self, sentence: str) -> None:
        if sentence != self._said:
            self._said = sentence
            log.warning("guard holds back", account=self.account, why=sentence)
