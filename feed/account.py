"""Listen to one account: its stream is read by one thread, its histories by another."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterable, Sequence

import redis
import structlog

from exchanges.errors import ExchangeError, StreamClosed
from exchanges.stream import BookChange, OrderUpdate, Pulse, StreamEvent, StreamRefused
from feed.backoff import Backoff
from feed.markets import Markets, StreamFrozen
from feed.moves import Moves
from feed.reconciler import Reconciler
from feed.silence import Silence
from feed.telling import Teller
from feed.watched import Connections, WatchedAccount
from metrics import families
from state.hearing import Hearing
from state.own_fills import OwnFills

log = structlog.get_logger(__name__)

#: A symbol with trades has a ticker once a second: nothing for so long behind the first is a dead stream.
FROZEN_S = 5.0
#: One that has had none for so long has no trades: until then, a connection that brings none is dead, too.
BEATS_FOR_S = 300.0
#: Without any ticker the exchange is pinged this often, and an answer has to come within as long again.
PING_S = 5.0
#: Longest wait for a message.
IDLE_S = 0.1
#: Wait while a change is still to be kept.
BUSY_S = 0.02
#: That something is heard is noted at most this often.
NOTE_EVERY_S = 0.25
#: A connection that has worked for this long ends the back-off.
STEADY_S = 5.0
STREAMING = "streaming"
#: What the loss of a stream is counted as; the first that fits.
LOST_BY: tuple[tuple[type[Exception], str], ...] = (
    (StreamFrozen, "frozen"),
    (StreamClosed, "closed"),
    (ExchangeError, "exchange"),
    (redis.RedisError, "state"),
)


class AccountFeed:
    """A running account. `watch` may be called by another thread at any time."""

    def __init__(
        self,
        watched: WatchedAccount,
        connections: Connections,
        markets: Markets,
        teller: Teller,
        reconciler: Reconciler,
        own_fills: OwnFills,
        hearing: Hearing,
    ) -> None:
        self._watched = watched
        self._connections = connections
        self._markets = markets
        self._teller = teller
        self._reconciler = reconciler
        self._own_fills = own_fills
        self._hearing = hearing
        self._token = secrets.token_hex(8)
        self._silence = Silence()
        self._moves = Moves()
        self._backoff = Backoff()
        self._is_changed = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"feed {watched.account}", daemon=True)
        self._heard_s = self._pinged_s = self._noted_s = 0.0
        #: Exchange time of the newest market data that is not noted yet, ms.
        self._newest_ms: int | None = None
        #: The symbols that are subscribed to.
        self._followed: frozenset[str] = frozenset()
        #: When a ticker or a mark price of each came last, which does once a second, monotonic seconds.
        self._beats_s: dict[str, float] = {}
        #: Markets that the reconciler was asked to find out about.
        self._asked_for: frozenset[str] = frozenset()
        #: How the stream stands, a word or two.
        self.standing = "connecting"

    @property
    def watched(self) -> WatchedAccount:
        """Return what is listened to."""
        return self._watched

    def start(self) -> None:
        """Begin."""
        self.watch(self._watched)
        self._thread.start()
        self._reconciler.start()

    def watch(self, watched: WatchedAccount) -> None:
        """Listen to this from now on."""
        self._teller.watch(watched)
        self._watched = watched
        self._is_changed.set()

    def stop(self) -> None:
        """Ask both threads to end, and close the connection."""
        self._ended.set()
        self._is_changed.set()
        self._reconciler.stop()
        self._connections.stream.close()
        self._markets.close()

    def join(self, timeout_s: float) -> None:
        """Wait until both threads have ended, at the latest for `timeout_s`."""
        deadline_s = time.monotonic() + timeout_s
        self._thread.join(timeout_s)
        self._reconciler.join(max(0.0, deadline_s - time.monotonic()))

    def notice_silence(self) -> None:
        """Wake whoever has to look for itself, since nothing has been heard of its symbol for too long.

        For a thread that reads no stream. Raises `redis.RedisError`.
        """
        self._wake(self._silence.begun(self._watched.instances, time.monotonic()), "silent")

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                self._listen()
            except Exception as error:  # noqa: BLE001 - the thread's boundary: nobody else would listen
                if self._ended.is_set():
                    break
                self._note_loss(error)
                self._ended.wait(self._backoff.next_s())
        self._hide_books()
        self._connections.stream.close()

    def _note_loss(self, error: Exception) -> None:
        self.standing = "reconnecting"
        families.FEED_RECONNECTS.add(next((name for kind, name in LOST_BY if isinstance(error, kind)), ""))
        expected = isinstance(error, (ExchangeError, redis.RedisError))
        log.warning(
            "stream lost",
            account=self._watched.account,
            error=f"{type(error).__name__}: {error}",
            exc_info=not expected,
        )
        if isinstance(error, redis.RedisError):
            # What it took last may be lost with it.
            self._teller.forget_told()
        self._hide_books()

    def distrust(self) -> None:
        """Tell everything of late again: the state server may have lost what it took last."""
        self._teller.forget_told()
        if self.standing == STREAMING:
            self._hearing.begin(self._watched.account, self._token)
        self._reconciler.ask()

    @property
    def is_alive(self) -> bool:
        """Tell whether both threads run."""
        return self._thread.is_alive() and self._reconciler.is_alive

    def _hide_books(self) -> None:
        """Take away what nobody follows any longer: the exchange's own word is better than an old one."""
        try:
            self._hearing.interrupt(self._watched.account, self._token)
            self._markets.restart()
        except redis.RedisError as error:
            log.info("books not taken away, they grow old", account=self._watched.account, error=str(error))

    def _listen(self) -> None:
        """Read the stream until it ends. Raises `ExchangeError`, `redis.RedisError`."""
        stream = self._connections.stream
        stream.open()
        self._newest_ms, self._followed = None, frozenset()
        opened_s = self._heard_s = self._pinged_s = time.monotonic()
        self._is_changed.set()
        # Behind the subscription: what happened before it is in the histories, what happens now is told.
        self._reconciler.ask()
        self._hearing.begin(self._watched.account, self._token)
        self.standing = STREAMING
        log.info("stream open", account=self._watched.account, symbols=len(self._watched.symbols))
        is_busy, unreadable = False, stream.unreadable_messages
        while not self._ended.is_set():
            if self._is_changed.is_set():
                self._is_changed.clear()
                self._follow_changes()
            self._take(stream.receive(BUSY_S if is_busy else IDLE_S))
            if stream.unreadable_messages != unreadable:
                # It may have been a fill.
                unreadable = stream.unreadable_messages
                self._hearing.begin(self._watched.account, self._token)
                self._reconciler.ask()
            is_busy = self._markets.work()
            now_s = time.monotonic()
            # Behind the books that were kept: an iteration that comes at once reads them.
            self._moves.seen(self._markets.kept)
            self._wake(self._moves.due(now_s), "price moved")
            self._check_life(now_s)
            self._note_life(now_s)
            if now_s - opened_s > STEADY_S:
                self._backoff.reset()

    def _follow_changes(self) -> None:
        symbols = self._watched.symbols
        self._silence.watch(symbols, time.monotonic())
        self._moves.watch(self._watched.instances)
        self._markets.watch(symbols)
        self._connections.stream.watch(symbols)
        if not symbols & self._followed:
            # Only a symbol of which the exchange will tell something can show that it no longer does.
            self._heard_s = time.monotonic()
        self._followed = symbols
        self._beats_s = {symbol: at_s for symbol, at_s in self._beats_s.items() if symbol in symbols}

    def _take(self, events: Sequence[StreamEvent]) -> None:
        # Fills first: somebody waits for them.
        updates = [event for event in events if isinstance(event, OrderUpdate)]
        if updates:
            _count_lag(updates[0].at_ms, "orders")
            self._teller.tell_updates(updates)
            unknown = self._teller.unknown_symbols()
            if unknown - self._asked_for:
                self._reconciler.ask()
            self._asked_for = unknown
        for event in events:
            if isinstance(event, BookChange):
                _count_lag(event.at_ms, "book")
                self._markets.take(event)
            if isinstance(event, Pulse):
                if event.symbol in self._followed:
                    self._beats_s[event.symbol] = time.monotonic()
                if event.mark_price is not None:
                    self._markets.take_mark(event.symbol, event.mark_price)
            if isinstance(event, BookChange | Pulse):
                self._heard_s, self._newest_ms = time.monotonic(), event.at_ms
                self._wake(self._silence.heard(event.symbol, self._heard_s), "heard again")
            elif isinstance(event, StreamRefused):
                # Perhaps the subscription to own fills: without that there is no point in listening.
                self._connections.venue.clock.invalidate()
                raise StreamClosed(f"the exchange refused a subscription: {event.code} {event.message}")

    def _wake(self, instance_ids: Iterable[str], why: str) -> None:
        for instance_id in instance_ids:
            result = self._own_fills.wake(instance_id)
            log.info("market data", instance=instance_id, why=why, wake_up=result)

    def _note_life(self, now_s: float) -> None:
        """Note until when all is told that this stream brings, behind what it has brought.

        By the exchange's own time of it: what comes late may have a fill behind it that is not here yet.
        """
        if self._newest_ms is None or now_s - self._noted_s < NOTE_EVERY_S:
            return
        exchange_ms = self._connections.venue.clock.known_ms()
        if exchange_ms is not None:
            lag_ms = max(0, exchange_ms - self._newest_ms)
            self._hearing.go_on(self._watched.account, self._token, lag_ms=lag_ms)
        self._noted_s, self._newest_ms = now_s, None

    def _check_life(self, now_s: float) -> None:
        """Raise `StreamFrozen` when a connection stands over which nothing comes."""
        # Also those of the connection before: what ails the exchange may outlast a reconnection.
        if any(now_s - at_s < BEATS_FOR_S for at_s in self._beats_s.values()):
            if now_s - self._heard_s > FROZEN_S:
                raise StreamFrozen(f"no market data for {FROZEN_S:g} s")
            return
        # Where nobody has traded for a day silence says nothing, and a reconnection would only make a gap.
        heard_s = max(self._connections.stream.last_heard_s, self._heard_s)
        if now_s - heard_s > 2 * PING_S:
            raise StreamFrozen(f"no answer to a ping for {PING_S:g} s")
        if now_s - max(heard_s, self._pinged_s) > PING_S:
            self._pinged_s = now_s
            self._connections.stream.ping()


def _count_lag(at_ms: int, stream: str) -> None:
    # By this host's clock: to ask for the exchange's would cost a request now and then.
    families.FEED_LAG_S.observe(max(0.0, time.time() - at_ms / 1000), stream)
