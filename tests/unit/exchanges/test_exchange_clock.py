"""The estimate of the exchange's clock errs to the early side, whatever the network does."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from exchanges import clock
from exchanges.clock import ExchangeClock, StoreClockReading
from exchanges.errors import Unavailable

START_MS = 1_750_000_000_000


@dataclass
class World:
    """True time, and an exchange that is `delay_s` away in each direction."""

    true_s: float = 100.0
    out_s: float = 0.0
    back_s: float = 0.0
    #: Exchange seconds per second of our monotonic clock.
    rate: float = 1.0
    down: bool = False
    asked: int = 0
    delays: list[float] = field(default_factory=list)

    def monotonic(self) -> float:
        return self.true_s

    def truth_ms(self, at_s: float | None = None) -> float:
        return START_MS + (self.true_s if at_s is None else at_s) * 1000 * self.rate

    def ask(self) -> int:
        self.asked += 1
        if self.down:
            raise Unavailable("down")
        self.true_s += self.delays.pop(0) if self.delays else self.out_s
        stamped = int(self.truth_ms())
        self.true_s += self.back_s
        return stamped

    def clock(self) -> ExchangeClock:
        return ExchangeClock(self.ask, monotonic=self.monotonic)


delays = st.floats(0, 0.45)
PPM = 1e-6


@given(out_s=delays, back_s=delays, age_s=st.floats(0, 59), ppm=st.floats(-500, 500))
def test_now_is_never_later_than_the_truth_and_at_most_a_trip_and_the_drift_early(
    out_s: float, back_s: float, age_s: float, ppm: float
) -> None:
    world = World(true_s=0.0, out_s=out_s, back_s=back_s, rate=1 + ppm * PPM)
    exchange_clock = world.clock()
    exchange_clock.now_ms()
    world.true_s += age_s
    now_ms = exchange_clock.now_ms()
    assert world.asked == 1
    assert now_ms <= world.truth_ms() + 1e-3  # floating point of the test's own sums
    assert now_ms >= world.truth_ms() - back_s * 1000 - age_s * 1.001 - 3


@given(
    out_s=delays,
    back_s=delays,
    store_out_s=delays,
    store_back_s=delays,
    store_offset_ms=st.floats(-5_000, 5_000),
    later_s=st.floats(-2, 30),
    ppm=st.floats(-500, 500),
    store_ppm=st.floats(-490, 490),
)
@example(0, 0, 0, 0, 0, 30, -490, 490)
@example(0, 0, 0, 0, 0.9, 0, 0, 0)
def test_a_signing_time_is_never_later_than_its_authorisation(
    out_s: float,
    back_s: float,
    store_out_s: float,
    store_back_s: float,
    store_offset_ms: float,
    later_s: float,
    ppm: float,
    store_ppm: float,
) -> None:
    def store_clock_ms(at_s: float) -> int:
        return int(START_MS + at_s * 1000 * (1 + store_ppm * PPM) + store_offset_ms)

    world = World(true_s=50.0, out_s=out_s, back_s=back_s, rate=1 + ppm * PPM)
    exchange_clock = world.clock()
    exchange_clock.now_ms()
    before_s = world.true_s
    world.true_s += store_out_s
    store_read_s = world.true_s
    store_ms = store_clock_ms(store_read_s)
    world.true_s += store_back_s
    authorised_s = store_read_s + later_s
    authorised_at_ms = store_clock_ms(authorised_s)
    reading = StoreClockReading(store_ms=store_ms, monotonic_s=before_s)
    world.true_s = max(world.true_s, authorised_s)

    signed_ms = exchange_clock.signing_time_ms(authorised_at_ms, reading)

    assert signed_ms <= world.truth_ms(authorised_s) + 1e-3
    slack_ms = (back_s + store_out_s) * 1000 + abs(later_s) * 2 + 6
    assert signed_ms >= world.truth_ms(authorised_s) - slack_ms


def test_a_reading_of_the_store_that_was_cut_to_its_millisecond_does_not_make_a_signature_later() -> None:
    world = World(true_s=0.0)
    exchange_clock = world.clock()
    exchange_clock.now_ms()
    # The store authorised at its 5000.0, when ours was at 0.3 ms, and was read at its 5000.9, ours at 1.2 ms.
    reading = StoreClockReading(store_ms=5000, monotonic_s=0.0012)
    assert exchange_clock.signing_time_ms(5000, reading) <= START_MS + 0.3


@given(slow_s=st.floats(1, 2.9), asked_share=st.floats(0, 1))
def test_a_slow_exchange_has_a_clock_too_and_it_is_not_late(slow_s: float, asked_share: float) -> None:
    # A stop must end while the exchange takes seconds for an answer, which is when people stop.
    world = World(out_s=slow_s * asked_share, back_s=slow_s * (1 - asked_share))
    now_ms = world.clock().now_ms()
    assert world.asked == 1
    assert world.truth_ms() - slow_s * 1000 - 3 <= now_ms <= world.truth_ms() + 1e-3


@pytest.mark.parametrize("jump_ms", [500, 30_000, 3_600_000])
def test_a_step_of_the_store_clock_before_an_authorisation_makes_no_signature_later(jump_ms: int) -> None:
    # Given a reading, after which the store's clock is stepped, or this machine slept
    world = World()
    exchange_clock = world.clock()
    exchange_clock.now_ms()
    reading = StoreClockReading(store_ms=START_MS, monotonic_s=world.true_s)
    world.true_s += 0.1
    signed_ms = exchange_clock.signing_time_ms(START_MS + 100 + jump_ms, reading)
    # Then the request is not signed with a time that has not come: it would be acceptable so much longer
    assert signed_ms <= world.truth_ms()


def test_a_measurement_is_replaced_after_a_minute_and_not_before() -> None:
    world = World()
    exchange_clock = world.clock()
    exchange_clock.now_ms()
    world.true_s += clock.REFRESH_S - 1
    exchange_clock.now_ms()
    assert world.asked == 1
    world.true_s += 2
    exchange_clock.now_ms()
    assert world.asked == 2


def test_an_expired_request_makes_it_measure_again() -> None:
    world = World()
    exchange_clock = world.clock()
    exchange_clock.now_ms()
    exchange_clock.invalidate()
    exchange_clock.now_ms()
    exchange_clock.now_ms()
    assert world.asked == 2


def test_an_old_measurement_serves_while_the_exchange_does_not_answer_but_not_for_ever() -> None:
    world = World()
    exchange_clock = world.clock()
    exchange_clock.now_ms()
    world.down = True
    world.true_s += 300
    assert world.truth_ms() - 200 < exchange_clock.now_ms() <= world.truth_ms()
    world.true_s += 301
    with pytest.raises(Unavailable):
        exchange_clock.now_ms()


def test_what_is_known_is_told_without_asking() -> None:
    world = World()
    exchange_clock = world.clock()
    assert exchange_clock.known_ms() is None
    exchange_clock.now_ms()
    world.true_s += clock.MAX_AGE_S + 1
    assert exchange_clock.known_ms() is None
    exchange_clock.now_ms()
    world.true_s += clock.REFRESH_S + 1
    exchange_clock.invalidate()
    found = exchange_clock.known_ms()
    assert found is not None
    assert 0 <= world.truth_ms() - found <= 100
    assert world.asked == 2
