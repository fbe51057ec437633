"""An iteration in which nothing can have changed but the market: it asks the exchange for nothing.

What the last look at the exchange showed still holds as long as a feed has listened since then without a
break and has heard nothing of the account that could change it. Good enough to find that nothing has to be
done. Whatever would be done is decided anew, on a look at the exchange of now: nothing is ever sent, or
stopped, on the word of a feed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal

from pydantic import TypeAdapter

from exchanges.errors import ExchangeError
from exchanges.registry import Venue
from market.snapshot import Snapshot
from runner.access import market_venue
from runner.config import InstanceConfig
from runner.context import Context
from runner.daily import advance_daily
from runner.gathering import Held, freshness_of, make_snapshot
from runner.limiting import cut_names, limited_plan
from runner.loaded import LoadedInstance
from runner.lookups import Standing
from state.hearing import Heard, read_place
from state.leases import Lease, Place
from state.market_data import StreamedBook, streamed_book
from strategies.base import Decision, State

#: A look is good for so long, whatever is heard: a stream may have lost something that nobody misses.
#: A little over a minute, so that who comes every half minute gains by it, too.
LONGEST_CALM_MS = 65_000
#: A stream from which nothing has come for so long may be dead. Each symbol is heard of once a second.
MOST_SILENCE_MS = 2_500
#: What happens while a stream is being opened may be missing from it.
OPENING_MS = 3_000
#: What a stream has told may be missing from the exchange's lists, and from what is held, for so long.
ANSWERS_LAG_MS = 2_000
#: A mark price may be this old; it comes once a second.
MOST_MARK_AGE_MS = 3_000


@dataclass(frozen=True, kw_only=True)
class Look:
    """What a look at the exchange showed, apart from what the books have of it."""

    #: State server's time when it began, ms.
    at_ms: int
    held: Held


_LOOK: TypeAdapter[Look] = TypeAdapter(Look)


def look_json(standing: Standing, held: Held) -> str:
    """Return what is saved of a look that has just been taken."""
    return _LOOK.dump_json(Look(at_ms=standing.now_ms, held=held)).decode()


@dataclass(frozen=True, kw_only=True)
class NothingToDo:
    """What an iteration leaves that had nothing to do."""

    state_json: str
    daily_json: str


def find_nothing_to_do(
    context: Context, lease: Lease, instance: LoadedInstance, venue: Venue, standing: Standing, state: State
) -> NothingToDo | None:
    """Return what to save if it is known without asking that nothing has to be done, else None.

    Then `standing` is as it was, and the exchange has to be asked.
    """
    snapshot = recall(context, lease, instance, venue, standing)
    if snapshot is None:
        return None
    daily_json, daily_reason = advance_daily(lease, instance.limits, snapshot)
    decision: Decision[State] = instance.strategy.decide(snapshot, state, instance.params)
    limited = limited_plan(instance, snapshot, decision, standing.books.placed_at_ms)
    would_act = limited.plan.cancels or limited.plan.places or limited.taker
    would_tell = daily_reason or decision.stop_reason or cut_names(limited.cuts) != standing.books.cuts
    if would_act or would_tell:
        return None
    standing.books.book_at_ms = standing.now_ms
    return NothingToDo(state_json=decision.state.model_dump_json(), daily_json=daily_json)


def recall(
    context: Context, lease: Lease, instance: LoadedInstance, venue: Venue, standing: Standing
) -> Snapshot | None:
    """Return the snapshot of now if nothing but the market can have changed since the last look, else None.

    `standing` only gets its instrument, which is the same after any look.
    """
    if not lease.look_json or lease.is_paused:
        return None
    try:
        look = _LOOK.validate_json(lease.look_json)
    except ValueError:
        return None  # another version's: one look later it is ours
    if not _is_settled(standing, look):
        return None
    market, heard = _read_around(context, lease, instance)
    if not market or heard is None or not _nothing_heard(heard, look, standing.now_ms):
        return None
    streamed = streamed_book(instance.config.metadata.symbol, market)
    if streamed is None or not _shows_now(streamed, heard):
        return None
    try:
        freshness = freshness_of(instance, venue, standing)
        instrument = context.venues.instrument(instance.config)
    except ExchangeError:
        return None  # whoever asks the exchange knows what an error of it takes
    if not freshness.allows(streamed):
        return None
    held = _with_mark(look.held, streamed, standing.now_ms)
    if held is None:
        return None
    standing.instrument = instrument
    return make_snapshot(
        instrument,
        standing,
        held,
        streamed.book,
        exclusive_symbol=instance.config.exclusive_symbol,
    )


def _read_around(
    context: Context, lease: Lease, instance: LoadedInstance
) -> tuple[tuple[str | None, ...], Heard | None]:
    """Return the market, and what was heard of the account; neither where the run is elsewhere by now.

    They come with the claim. A process that has not had the instance before knows too late where it trades,
    and reads them now: where a worker has died or was restarted, these are all of its instances at once.
    """
    place = place_of(instance.config, lease.account)
    if lease.place is None:
        return read_place(context.client, place, lease.instance_id)
    return (lease.market, lease.heard) if lease.place == place else ((), None)


def _is_settled(standing: Standing, look: Look) -> bool:
    """Tell whether the books had no open question at that look, and nothing of ours has changed since."""
    books = standing.books
    nothing_may_arrive = not standing.intents and standing.fence_ms <= standing.now_ms
    nothing_is_owed = not (books.over or books.strangers_since_ms)
    # Else that difference would be believed after a time, though only the look may have been too early.
    held_as_counted = books.carried is None or books.carried.differs_since_ms is None
    orders_are_known = all(order.is_settled and not order.missing_since_ms for order in books.orders.values())
    return (
        nothing_may_arrive
        and nothing_is_owed
        and held_as_counted
        and orders_are_known
        and books.own_changed_at_ms < look.at_ms
        and 0 <= standing.now_ms - look.at_ms <= LONGEST_CALM_MS
    )


def _nothing_heard(heard: Heard, look: Look, now_ms: int) -> bool:
    """Tell whether one stream has stood since before the look, and has brought nothing that matters."""
    is_unbroken = 0 < heard.since_ms <= look.at_ms - OPENING_MS
    # What is of the future was written by a clock that has been set back since, and says nothing of now.
    is_alive = 0 <= now_ms - heard.heard_ms <= MOST_SILENCE_MS
    return is_unbroken and is_alive and max(heard.filled_ms, heard.touched_ms) < look.at_ms - ANSWERS_LAG_MS


def _shows_now(streamed: StreamedBook, heard: Heard) -> bool:
    """Tell whether a book is newer than what was heard of orders: an older one shows them as they were."""
    return streamed.received_at_ms >= max(heard.filled_ms, heard.touched_ms)


def _with_mark(held: Held, streamed: StreamedBook, now_ms: int) -> Held | None:
    """Return what was held at the price of now; None where the exchange names a price that is not known."""
    if held.position is None or not held.position.mark_price:
        return held
    if streamed.mark_price is None or now_ms - streamed.marked_at_ms > MOST_MARK_AGE_MS:
        return None
    moved = (streamed.mark_price - held.position.mark_price) * held.position.net_quantity
    # Zero is no figure: whoever needs one works it out from the entry price.
    shown = held.position.unrealized_pnl
    position = replace(
        held.position, mark_price=streamed.mark_price, unrealized_pnl=shown + moved if shown else Decimal(0)
    )
    return replace(held, position=position)


def place_of(config: InstanceConfig, account: str) -> Place:
    """Return where a run of `config` on `account` trades."""
    return Place(venue=market_venue(config), symbol=config.metadata.symbol, account=account)


def known_place(instance_id: str) -> Place | None:
    """Return where this process saw the instance trade last; it may be another run's by now."""
    return _places.get(instance_id)


def remember_place(lease: Lease, config: InstanceConfig) -> None:
    """Let the next claim of the instance read what is known of where it trades."""
    _places[lease.instance_id] = place_of(config, lease.account)


#: By instance id. Only what to read beside a claim: what is read is held against the run's own place.
_places: dict[str, Place] = {}
