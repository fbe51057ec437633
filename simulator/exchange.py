"""The pieces of one running exchange, as request handlers find them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from simulator.engine import Engine
from simulator.faults import Faults
from simulator.flow import SyntheticFlow
from simulator.funding import Funding
from simulator.journal import Journal
from simulator.rate_limit import RateLimit
from simulator.signature import KeyRing
from simulator.stepping import Stepper
from simulator.streams import Streams


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """Engine, witness, faults and limits."""

    now_ms: Callable[[], int]
    engine: Engine
    keys: KeyRing
    journal: Journal
    faults: Faults
    rate_limit: RateLimit
    latency_ms: int
    cancel_202_ms: int | None
    taker_hold_ms: int
    #: True: a request is late by when it arrived, False: by when it is processed.
    window_check_on_arrival: bool
    #: True: a client order id in a body has to be a number.
    strict_client_ids: bool
    streams: Streams
    funding: Funding
    flow: SyntheticFlow | None
    #: None: the outside market moves by itself, or not at all.
    stepper: Stepper | None = None


EXCHANGE: web.AppKey[Exchange] = web.AppKey("exchange", Exchange)
