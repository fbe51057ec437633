"""An instance's configuration as an iteration needs it, kept by version in each process."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, cast

from pydantic_core import from_json

from runner.books import Books
from runner.config import InstanceConfig, version_of_text
from runner.config_exchanges import BackpackExchange
from runner.config_models import OrdersOnStop, PositionOnStop
from state.connection import StateError
from state.stop_policy import StopPolicy
from strategies.base import AnyStrategy, Params, State
from strategies.limits import Limits
from strategies.registry import find

if TYPE_CHECKING:
    # Only for the type: who looks at books does not wait for the clients of the exchanges.
    from runner.context import Context

#: Of an exchange whose configuration names none.
DEFAULT_WINDOW_MS = 5_000


class StateUnreadable(StateError):
    """Raised when a strategy's saved state does not fit this version; it is never reset silently."""


class StateDamaged(StateUnreadable):
    """Raised when what was saved of a run is missing or is no JSON of ours at all: no version can go on."""


@dataclass(frozen=True, kw_only=True)
class LoadedInstance:
    """Configuration, strategy and parameters of one run."""

    config: InstanceConfig
    strategy: AnyStrategy
    params: Params
    interval_ms: int
    #: None: runs until stopped.
    duration_ms: int | None
    #: How long after its signing the exchange may accept a request.
    window_ms: int
    refresh_tolerance_bps: Decimal
    stop_policy: StopPolicy
    limits: Limits

    def parse_state(self, text: str) -> State:
        """Return the strategy's state; a fresh one when there is none yet. Raises `StateUnreadable`."""
        if not text:
            return cast("State", self.strategy.state())
        _require_json(text, f"state of {self.strategy.title}")
        try:
            state = cast("State", self.strategy.state.model_validate_json(text))
        except ValueError as error:
            raise StateUnreadable(
                f"the saved state of {self.strategy.title} does not fit this version: {error}"
            ) from error
        known = self.strategy.state().version
        if state.version != known:
            raise StateUnreadable(
                f"the saved state of {self.strategy.title} has layout {state.version}, this version knows "
                f"{known}: run the version that wrote it, or stop the instance and start it anew"
            )
        return state


def parse_books(text: str) -> Books:
    """Return the books of a run; empty ones when there are none yet. Raises `StateUnreadable`."""
    if not text:
        return Books()
    _require_json(text, "books of the run")
    try:
        books = Books.model_validate_json(text)
    except ValueError as error:
        raise StateUnreadable(f"the saved books of the run do not fit this version: {error}") from error
    if books.version != Books().version:
        raise StateUnreadable(
            f"the saved books of the run have layout {books.version}, this version knows {Books().version}: "
            "run the version that wrote them, or stop the instance and start it anew"
        )
    return books


def _require_json(text: str, what: str) -> None:
    try:
        if isinstance(from_json(text), dict):
            return
    except ValueError:
        pass
    raise StateDamaged(f"the saved {what} is damaged: it begins with {text[:40]!r}")


def from_config(config: InstanceConfig) -> LoadedInstance:
    """Return the loaded form of a configuration. Raises `UnknownStrategy` when this version lacks it."""
    exchange = config.exchange_config
    params = config.strategy_config.params
    strategy = find(config.metadata.strategy, config.market_type)
    return LoadedInstance(
        config=config,
        strategy=strategy,
        params=params,
        interval_ms=config.strategy_config.interval_ms,
        duration_ms=config.strategy_config.duration_ms,
        window_ms=exchange.window_ms if isinstance(exchange, BackpackExchange) else DEFAULT_WINDOW_MS,
        refresh_tolerance_bps=params.refresh_tolerance_bps,
        stop_policy=StopPolicy(
            cancel_orders=config.stop.orders is OrdersOnStop.CANCEL,
            close_position=config.stop.position is PositionOnStop.CLOSE,
        ),
        limits=config.limits,
    )


def load_running(context: Context, instance_id: str, version: str, *, epoch: int) -> LoadedInstance:
    """Return the configuration of run `epoch`; each version is parsed once.

    It is `version`, or the one that the run was given since that was read. Raises `StateError`.
    """
    known = _known.get(instance_id)
    if known is None or known[0] != version:
        by_now = context.changes.config_of_run(instance_id)
        text = by_now.config_json
        if not text:
            raise StateDamaged(f"{instance_id}: the configuration of its run is missing in the state server")
        _require_json(text, "configuration of the run")
        kept = version_of_text(text)
        if kept != version and (by_now.epoch, by_now.version) != (epoch, kept):
            # A task that slept through a stop and a start: remembered, it would trade the wrong market later.
            raise StateError(f"{instance_id}: the configuration kept by now is another run's")
        known = (kept, from_config(InstanceConfig.from_json(text)))
        _known[instance_id] = known
    return known[1]


#: Instance id to the version last parsed by this process. A pure function's memory, not shared state.
_known: dict[str, tuple[str, LoadedInstance]] = {}
