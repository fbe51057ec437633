"""The feed process: takes its share of the accounts, listens to each, and gives them up when it ends."""

from __future__ import annotations

import math
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence

import redis
import structlog

from exchanges.errors import ExchangeError
from feed.account import AccountFeed
from feed.bookkeeper import Bookkeeper
from feed.markets import Markets
from feed.reconciler import Reconciler
from feed.telling import Teller
from feed.watched import Connect, Watch, WatchedAccount
from ledger.errors import LedgerUnavailable
from ledger.queries import OrderRecord, open_orders
from state.bookings import BookingQueue
from state.client_ids import slot_owner
from state.events import Events
from state.feeds import LEASE_MS, FeedProcess, Feeds
from state.hearing import Hearing
from state.instances import Instances
from state.market_data import MarketData
from state.own_fills import OwnFills
from state.scripts import Scripts

log = structlog.get_logger(__name__)

#: How often leases are prolonged and silence is noticed.
ROUND_S = 0.25
#: How often everything watched is read anew when no event says that something has changed.
READ_AGAIN_S = 5.0
#: Most of its time that goes into reading it, however many start: of thousands of instances one reading takes
#: as long as a round, and each start among thousands would ask for one.
READING_SHARE = 0.2
#: An account that cannot be opened is tried again after this long.
TRY_AGAIN_S = 5.0
#: An account that nobody has held for this long is taken by whoever can, whatever its share.
LEFT_OVER_S = 2.0
#: Time for the accounts to end in, and for the bookkeeper after them.
STOP_S = 1.0
BOOKKEEPER_S = 0.3


class FeedService:
    """Runs until `end`. Several processes share the accounts; each one's name has to be its own."""

    def __init__(
        self,
        name: str,
        client: redis.Redis,
        *,
        watch: Watch,
        connect: Connect,
        can_open: Callable[[str], bool],
        bookkeeper: Bookkeeper,
    ) -> None:
        """Nothing begins yet. `can_open` tells whether the keys of an account are here, and asks nobody."""
        self._name = name
        self._client = client
        scripts = Scripts(client)
        self._feeds = Feeds(client, scripts)
        self._own_fills = OwnFills(client, scripts)
        self._hearing = Hearing(scripts)
        self._market_data = MarketData(client, scripts)
        self._instances = Instances(client, scripts)
        self._events = Events(client)
        self._watch = watch
        self._connect = connect
        self._can_open = can_open
        self._bookkeeper = bookkeeper
        self._token = secrets.token_hex(8)
        self._running: dict[str, AccountFeed] = {}
        #: Accounts that could not be opened, to when they are tried again, monotonic seconds.
        self._broken: dict[str, float] = {}
        self._watched: Mapping[str, WatchedAccount] = {}
        #: When everything watched is read anew at the latest, and at the earliest, monotonic seconds.
        self._read_again_s = self._rest_until_s = -math.inf
        self._last_event = "$"
        self._server_run_id = ""
        #: Accounts that nobody holds, to since when, monotonic seconds.
        self._free_since_s: dict[str, float] = {}
        self._ended = threading.Event()

    def end(self) -> None:
        """Ask for the end. For a signal handler."""
        self._ended.set()

    def run(self) -> None:
        """Work until `end` is called."""
        self._bookkeeper.start()
        is_failing = False
        try:
            while not self._ended.is_set():
                try:
                    self._round()
                except Exception as error:
                    # The process's boundary: what one record or one account does must not end the others.
                    if not is_failing:
                        expected = isinstance(error, redis.RedisError)
                        text = f"{type(error).__name__}: {error}"
                        log.warning("round failed, trying on", error=text, exc_info=not expected)
                    is_failing = True
                    self._ended.wait(ROUND_S)
                else:
                    if is_failing:
                        log.info("rounds work again")
                        self._distrust_server()
                    is_failing = False
        finally:
            self._close()

    def _round(self) -> None:
        self._read_watched()
        self._keep_leases()
        self._take_share()
        for feed in self._running.values():
            feed.notice_silence()
        self._feeds.heartbeat(
            self._name,
            {account: feed.standing for account, feed in self._running.items()},
            at_ms=self._instances.now_ms(),
            cannot_open=[account for account in self._watched if not self._can_open(account)],
        )
        self._wait_for_change()

    def _read_watched(self) -> None:
        begun_s = time.monotonic()
        if begun_s < self._read_again_s:
            return
        self._watched = self._watch()
        read_s = time.monotonic()
        self._rest_until_s = read_s + (read_s - begun_s) * (1 / READING_SHARE - 1)
        self._read_again_s = max(read_s + READ_AGAIN_S, self._rest_until_s)
        self._look_at_server()
        for account, feed in self._running.items():
            if account in self._watched and self._watched[account] != feed.watched:
                feed.watch(self._watched[account])

    def _look_at_server(self) -> None:
        """Notice a restart of the state server that broke no connection in use: it may have lost a second."""
        run_id = str(self._client.info("server")["run_id"])
        if self._server_run_id and run_id != self._server_run_id:
            log.warning("state server was restarted, everything of late is told again")
            self._distrust_server()
        self._server_run_id = run_id

    def _distrust_server(self) -> None:
        for feed in self._running.values():
            feed.distrust()

    def _wait_for_change(self) -> None:
        """Wait a round, or until an instance starts or stops: its streams are wanted at once."""
        if self._last_event == "$":
            self._last_event = self._events.last_id()
        begun_s = time.monotonic()
        events = self._events.read(self._last_event, block_ms=int(ROUND_S * 1000))
        if events:
            self._last_event = events[-1].stream_id
        if any(event.event in {"started", "stop_requested", "finished"} for event in events):
            self._read_again_s = self._rest_until_s
        if events and begun_s < self._read_again_s:
            # Steps of cleanups, or starts close behind each other: no reason to go round faster.
            now_s = time.monotonic()
            self._ended.wait(max(0.0, min(begun_s + ROUND_S, self._read_again_s) - now_s))

    def _keep_leases(self) -> None:
        for account, feed in list(self._running.items()):
            if account not in self._watched:
                self._stop([account], "nothing of it runs any more")
            elif not feed.is_alive:
                self._stop([account], "its threads have ended")
            elif not self._feeds.hold(account, self._token):
                self._stop([account], "another process has it", release=False)

    def _take_share(self) -> None:
        """Take free accounts up to our share; of one that stays free, nobody else seems to have the keys."""
        processes = self._feeds.processes(now_ms=self._instances.now_ms())
        others = [process for process in processes if process.name != self._name]
        share = math.ceil(len(self._watched) / (len(others) + 1))
        if len(self._running) > share:
            self._give_up_one([process for process in others if len(process.accounts) < share])
        now_s = time.monotonic()
        free = [account for account in self._watched if account not in self._running]
        self._free_since_s = {a: self._free_since_s.get(a, now_s) for a in free}
        for account in free:
            is_over_share = len(self._running) >= share
            is_left_over = now_s - self._free_since_s[account] > LEFT_OVER_S
            is_resting = now_s < self._broken.get(account, -math.inf)
            if is_resting or (is_over_share and not is_left_over) or not self._can_open(account):
                continue
            if self._feeds.hold(account, self._token):
                self._start(self._watched[account])
            else:
                del self._free_since_s[account]

    def _give_up_one(self, others: Sequence[FeedProcess]) -> None:
        """Give up an account that one of `others` has the keys of, one at a time."""
        for account in self._running:
            if any(account not in process.cannot_open for process in others):
                self._stop([account], "others have less")
                return

    def _start(self, watched: WatchedAccount) -> None:
        account = watched.account
        try:
            connections = self._connect(account)
        except Exception as error:  # noqa: BLE001 - one account's keys must not stop the others
            log.error("account not listened to", account=account, error=f"{type(error).__name__}: {error}")
            self._broken[account] = time.monotonic() + TRY_AGAIN_S
            self._feeds.release(account, self._token)
            return
        self._broken.pop(account, None)
        teller = Teller(account, self._own_fills, lambda slot: slot_owner(self._client, account, slot))
        markets = Markets(watched.venue_name, connections.venue, self._market_data)
        reconciler = Reconciler(
            lambda: self._running[account].watched if account in self._running else watched,
            connections.venue,
            self._feeds,
            teller,
            lambda: self._believed_open(account),
            self._instances.now_ms,
            BookingQueue(self._client).length,
        )
        feed = AccountFeed(watched, connections, markets, teller, reconciler, self._own_fills, self._hearing)
        self._running[account] = feed
        log.info("account taken", account=account, instances=len(watched.instances), feed=self._name)
        feed.start()

    def _believed_open(self, account: str) -> tuple[OrderRecord, ...]:
        ledger = self._bookkeeper.ledger
        if ledger is None:
            raise LedgerUnavailable("the ledger is not open yet")
        return open_orders(ledger, account)

    def _stop(self, accounts: list[str], why: str, *, release: bool = True) -> None:
        feeds = [self._running.pop(account) for account in accounts]
        for feed in feeds:
            feed.stop()
        deadline_s = time.monotonic() + STOP_S
        for feed in feeds:
            feed.join(max(0.0, deadline_s - time.monotonic()))
        for account in accounts:
            if release:
                self._feeds.release(account, self._token)
            log.info("account given up", account=account, why=why, feed=self._name)

    def _close(self) -> None:
        self._bookkeeper.stop()
        try:
            self._stop(list(self._running), "the process ends")
            self._feeds.forget(self._name)
        except (redis.RedisError, ExchangeError) as error:
            log.info("leases not released, they end by themselves", lease_ms=LEASE_MS, error=str(error))
        self._bookkeeper.join(BOOKKEEPER_S)
