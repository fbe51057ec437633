"""`python -m simulator`: the simulated exchange as a process of its own."""

from __future__ import annotations

import argparse
import asyncio
import itertools
import math
import signal
import sys
import time
from contextlib import suppress
from decimal import Decimal
from functools import partial
from pathlib import Path

from aiohttp import web

from simulator import accounts, tape
from simulator.engine import Engine
from simulator.exchange import Exchange
from simulator.faults import Faults
from simulator.flow import SyntheticFlow, run_synthetic
from simulator.funding import Funding, run_hourly
from simulator.journal import Journal
from simulator.markets import MARKETS
from simulator.order_request import parse_order
from simulator.rate_limit import RateLimit
from simulator.server import create_app
from simulator.signature import KeyRing
from simulator.stepping import Stepper
from simulator.stream_connection import StreamOptions
from simulator.stream_faults import StreamFaults
from simulator.streams import Streams

#: How far from the start price the third party's own orders rest, as multiples.
OTHERS = (("Bid", Decimal("0.9")), ("Ask", Decimal("1.1")))


def main() -> int:
    """Run until SIGTERM or SIGINT; return the exit code."""
    options = _parser().parse_args()
    try:
        asyncio.run(_serve(options))
    except (OSError, tape.TapeError, ValueError) as error:
        print(f"simulator: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m simulator", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=_port, default=8900, help="0 takes a free one")
    parser.add_argument("--port-file", type=Path, help="the port is written here once it listens")
    parser.add_argument("--accounts", type=Path, help="JSON list of further accounts")
    parser.add_argument("--flow", choices=("synthetic", "still", "none", "manual"), default="synthetic")
    parser.add_argument(
        "--partial-percent", type=_percent, default=0, help="moves over an order that only take a part of it"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tape", type=Path, help="a recorded stream dump, plain or .gz")
    parser.add_argument("--tape-symbol", choices=sorted(MARKETS), help="market the tape is mapped to")
    parser.add_argument("--speed", type=_speed, default=1.0, help="how many times faster the market moves")
    parser.add_argument("--journal", type=Path, help="append-only JSON lines")
    parser.add_argument("--rate-per-min", type=_above_zero, default=2000, help="per account")
    parser.add_argument("--latency-ms", type=_from_zero, default=0, help="added to every request")
    parser.add_argument("--cancel-202-ms", type=_from_zero, help="cancels answer 202, happen this later")
    parser.add_argument(
        "--cancel-202", dest="cancel_202_ms", action="store_const", const=50, help="the same with 50 ms"
    )
    parser.add_argument("--taker-hold-ms", type=_from_zero, default=0, help="delay of what may take")
    parser.add_argument("--post-only-answer", choices=("refuse", "expire"), default="refuse")
    parser.add_argument("--window-check", choices=("engine", "gateway"), default="engine")
    parser.add_argument("--client-id-text", choices=("accept", "refuse"), default="accept")
    parser.add_argument("--ping-s", type=_seconds, default=60.0, help="between pings of a stream")
    parser.add_argument("--pong-timeout-s", type=_seconds, default=120.0, help="an unanswered ping ends it")
    parser.add_argument("--funding", choices=("hourly", "off"), default="off")
    return parser


def _from_zero(text: str) -> int:
    return _number(text, int(text), at_least=0)


def _above_zero(text: str) -> int:
    return _number(text, int(text), at_least=1)


def _port(text: str) -> int:
    if int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text} is no port")
    return _number(text, int(text), at_least=0)


def _number(text: str, number: int, *, at_least: int) -> int:
    if number < at_least:
        raise argparse.ArgumentTypeError(f"{text} is below {at_least}")
    return number


def _percent(text: str) -> int:
    if int(text) > 100:
        raise argparse.ArgumentTypeError(f"{text} is above 100")
    return _number(text, int(text), at_least=0)


def _speed(text: str) -> float:
    if not 0 < float(text) < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is no speed above 0")
    return float(text)


def _seconds(text: str) -> float:
    if not 0 < float(text) < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is no time above 0")
    return float(text)


class Clock:
    """The wall clock, which does not go back: histories are in the order of their times."""

    def __init__(self) -> None:
        self._last_us = 0

    def now_us(self) -> int:
        """Return the time since the epoch, µs."""
        self._last_us = max(self._last_us, time.time_ns() // 1000)
        return self._last_us

    def now_ms(self) -> int:
        """Return the time since the epoch, ms."""
        return self.now_us() // 1000


def _exchange(options: argparse.Namespace) -> Exchange:
    clock = Clock()
    now_ms = clock.now_ms
    known = accounts.load(options.accounts) if options.accounts else accounts.built_in()
    journal = Journal(clock.now_us, options.journal)
    engine = Engine(now_ms, journal, known, post_only_expires=options.post_only_answer == "expire")
    # Also with a tape: the markets the tape does not move have a touch all the same.
    flow = None if options.flow == "none" else SyntheticFlow(engine, options.seed, options.partial_percent)
    if options.tape:
        _player(engine, options).play(tape.first_quote(options.tape))
    exchange = Exchange(
        now_ms=now_ms,
        engine=engine,
        keys=KeyRing(known.values()),
        journal=journal,
        faults=Faults(options.seed),
        rate_limit=RateLimit(now_ms, options.rate_per_min),
        latency_ms=options.latency_ms,
        cancel_202_ms=options.cancel_202_ms,
        taker_hold_ms=options.taker_hold_ms,
        window_check_on_arrival=options.window_check == "gateway",
        strict_client_ids=options.client_id_text == "refuse",
        streams=Streams(
            engine,
            clock.now_us,
            StreamFaults(options.seed, journal),
            StreamOptions(ping_s=options.ping_s, pong_timeout_s=options.pong_timeout_s),
        ),
        funding=Funding(engine, journal),
        flow=flow,
        stepper=_stepper(engine, flow, options),
    )
    _place_others(exchange)
    return exchange


def _player(engine: Engine, options: argparse.Namespace) -> tape.TapePlayer:
    symbol = options.tape_symbol or tape.default_symbol(options.tape)
    return tape.TapePlayer(engine, MARKETS[symbol])


def _stepper(engine: Engine, flow: SyntheticFlow | None, options: argparse.Namespace) -> Stepper | None:
    if options.flow != "manual" or flow is None:
        return None
    if not options.tape:
        return Stepper(itertools.repeat(flow.step))
    player = _player(engine, options)
    return Stepper(partial(player.play, event) for event in tape.read(options.tape))


def _place_others(exchange: Exchange) -> None:
    for market in MARKETS.values():
        for side, factor in OTHERS:
            # A tape may be far from where the market begins.
            middle = exchange.engine.books[market.symbol].mid or market.start_price
            price = middle * factor // market.tick * market.tick
            body = {
                "symbol": market.symbol,
                "side": side,
                "orderType": "Limit",
                "price": str(price),
                "quantity": str(market.min_quantity * 10),
            }
            exchange.engine.place(
                exchange.engine.accounts["other"],
                parse_order(body),
                signed_at_ms=exchange.now_ms(),
                window_ms=None,
            )


async def _serve(options: argparse.Namespace) -> None:
    exchange = _exchange(options)
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    runner = web.AppRunner(create_app(exchange), access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    site = web.TCPSite(runner, options.host, options.port)
    await site.start()
    port = int(runner.addresses[0][1])
    flow = asyncio.create_task(_flow(exchange, options))
    funding = asyncio.create_task(_funding(exchange, options))
    if options.port_file:
        temporary = options.port_file.with_suffix(".tmp")
        temporary.write_text(str(port), encoding="utf-8")
        temporary.replace(options.port_file)
    print(f"simulated exchange on http://{options.host}:{port}", flush=True)
    stopped = asyncio.create_task(ended.wait())
    await asyncio.wait({flow, stopped}, return_when=asyncio.FIRST_COMPLETED)
    if flow.done() and flow.exception():
        stopped.cancel()
    else:
        await stopped
    flow.cancel()
    funding.cancel()
    await runner.cleanup()
    exchange.journal.close()
    with suppress(asyncio.CancelledError):
        await flow
    with suppress(asyncio.CancelledError):
        await funding


async def _funding(exchange: Exchange, options: argparse.Namespace) -> None:
    if options.funding == "hourly":
        await run_hourly(exchange.funding, exchange.now_ms)


async def _flow(exchange: Exchange, options: argparse.Namespace) -> None:
    if exchange.stepper is not None:
        return
    if options.tape:
        await tape.run_tape(_player(exchange.engine, options), tape.read(options.tape), options.speed)
    elif options.flow == "synthetic" and exchange.flow is not None:
        await run_synthetic(exchange.flow, options.speed)


if __name__ == "__main__":
    sys.exit(main())
