"""An instance that is watched, and how its account is reached."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from exchanges.backpack.config import DEMO_CREDENTIALS, Credentials
from market.orders import OpenOrder
from state.client_ids import owns
from state.heartbeats import Heartbeat
from state.stop_policy import StopPolicy

#: Of an exchange whose configuration names none.
DEFAULT_WINDOW_MS = 5_000


class CannotWatch(Exception):
    """Raised when an instance's configuration does not say how to reach its account, or keys are missing."""


@dataclass(frozen=True, kw_only=True)
class Watched:
    """What has to be known of a run to cancel its orders when nothing else is left. Holds no secret."""

    instance_id: str
    epoch: int
    #: Beginning of its client order ids.
    slot: int
    account: str
    config_version: str
    exchange: str
    symbol: str
    #: None is the exchange's own address.
    base_url: str | None
    #: False: the simulated exchange, as its demo account.
    live: bool
    #: Environment variables that hold the keys of a live account.
    api_key_variable: str
    secret_key_variable: str
    #: How long after its signing the exchange may accept a request.
    window_ms: int
    #: The configuration's own wish for a stop.
    close_position: bool

    def owns(self, order: OpenOrder) -> bool:
        """Tell whether an order is one of this instance, by its client order id and symbol."""
        return order.symbol == self.symbol and owns(self.slot, order.client_order_id)

    @property
    def stop_policy(self) -> StopPolicy:
        """Return what a stop does that is asked for on behalf of this run."""
        return StopPolicy(cancel_orders=True, close_position=self.close_position)


def watched(beat: Heartbeat, config_json: str, simulator_url: str) -> Watched:
    """Return what to know of a run, from its record and stored configuration. Raises `CannotWatch`."""
    try:
        layout = json.loads(config_json)
        exchange, live = layout["exchange_config"], bool(layout["live"])
        return Watched(
            instance_id=beat.instance_id,
            epoch=beat.pulse.epoch,
            slot=beat.slot,
            account=beat.account,
            config_version=beat.config_version,
            exchange=str(layout["metadata"]["exchange"]),
            symbol=str(layout["metadata"]["symbol"]),
            base_url=exchange.get("base_url") if live else simulator_url,
            live=live,
            api_key_variable=_variable(exchange.get("api_key")),
            secret_key_variable=_variable(exchange.get("secret_key")),
            window_ms=int(exchange.get("default_window", DEFAULT_WINDOW_MS)),
            close_position=layout.get("stop", {}).get("position") == "close",
        )
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise CannotWatch(
            f"its stored configuration cannot be read ({type(error).__name__}: {error})"
        ) from error


def credentials(one: Watched, environ: Mapping[str, str]) -> Credentials:
    """Return the keys for an instance's account from this process's own environment. Raises `CannotWatch`."""
    if not one.live:
        return DEMO_CREDENTIALS
    names = (one.api_key_variable, one.secret_key_variable)
    missing = [name or "(none is named)" for name in names if not environ.get(name, "").strip()]
    if missing:
        raise CannotWatch(f"no keys for account {one.account}: {' and '.join(missing)} not set in the guard")
    return Credentials(api_key=environ[names[0]].strip(), secret_key=environ[names[1]].strip())


def _variable(reference: str | None) -> str:
    """Return ``NAME`` of ``${NAME}``, empty for none."""
    return "" if reference is None else reference.removeprefix("${").removesuffix("}")
