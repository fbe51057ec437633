"""Strategies of other packages, found by their entry points. One that is broken harms no other."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from market.instrument import MarketType
from strategies.base import AnyStrategy, Params, State, Strategy

#: The group of entry points; each leads to a `Strategy`, or to a tuple of them.
GROUP = "cleanbook.strategies"

#: What `metadata.strategy` may look like.
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")

#: Name in `metadata.strategy`, and market type: what must be unique.
_Key = tuple[str, MarketType]


class _Unusable(Exception):
    """Raised when what an entry point leads to cannot be used."""


@dataclass(frozen=True, kw_only=True)
class BrokenPlugin:
    """An entry point that cannot be used."""

    #: Its name; empty: the entry points as a whole cannot be read.
    entry_point: str
    #: Where it leads, module and name.
    value: str
    #: The package it belongs to, with its version.
    distribution: str
    reason: str
    #: What `metadata.strategy` may have meant by it.
    names: frozenset[str]

    def sentence(self) -> str:
        """Return what is wrong, and what to do."""
        if not self.entry_point:
            return f"the entry points {GROUP} cannot be read: {self.reason}"
        return (
            f"entry point {self.entry_point} = {self.value} of {self.distribution} cannot be used: "
            f"{self.reason}; correct that package, or uninstall it"
        )


@dataclass(frozen=True, kw_only=True)
class Plugins:
    """What other packages bring."""

    strategies: tuple[AnyStrategy, ...]
    broken: tuple[BrokenPlugin, ...]


@dataclass(frozen=True, kw_only=True)
class _Loaded:
    entry_point: EntryPoint
    strategies: tuple[AnyStrategy, ...]


@cache
def load_plugins(built_in: tuple[AnyStrategy, ...]) -> Plugins:
    """Return the strategies of other packages; they are imported once in the life of a process.

    A name and market type that one of `built_in` has, or that two entry points claim, belongs to no plugin:
    which one an instance runs must not depend on what else is installed.
    """
    loaded, broken = [], []
    try:
        found = sorted(entry_points(group=GROUP), key=lambda one: (one.name, one.value))
    except Exception as error:  # noqa: BLE001 - any installed package may have metadata that cannot be read
        found, broken = [], [_unreadable(error)]
    for entry_point in found:
        try:
            loaded.append(_Loaded(entry_point=entry_point, strategies=_strategies_of(entry_point)))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the module of a stranger may raise anything
            broken.append(_broken(entry_point, _said(error)))
    taken = {key: f"the built-in {strategy.title}" for strategy in built_in for key in _keys([strategy])}
    claims = Counter(key for one in loaded for key in _keys(one.strategies))
    usable: list[AnyStrategy] = []
    for one in loaded:
        clash = next((key for key in _keys(one.strategies) if key in taken or claims[key] > 1), None)
        if clash is None:
            usable += one.strategies
            continue
        name, kind = clash
        owner = taken.get(clash, "another entry point (or this one twice)")
        reason = f"{name} on {kind.value} belongs to {owner}: choose another config_name"
        broken.append(_broken(one.entry_point, reason, (strategy.config_name for strategy in one.strategies)))
    return Plugins(strategies=tuple(usable), broken=tuple(broken))


def _strategies_of(entry_point: EntryPoint) -> tuple[AnyStrategy, ...]:
    """Import and check what an entry point leads to."""
    value = entry_point.load()
    strategies = tuple(value) if isinstance(value, tuple | list) else (value,)
    if not strategies:
        raise _Unusable("it leads to no strategy")
    for strategy in strategies:
        _check(strategy)
    return strategies


def _check(strategy: object) -> None:
    """Raise `_Unusable` unless `strategy` is one that the runner can work with."""
    if not isinstance(strategy, Strategy):
        raise _Unusable(f"it leads to a {type(strategy).__name__}, not to a strategies.base.Strategy")
    name: object = strategy.config_name
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise _Unusable(f"config_name {name!r} must be of the form ^{_NAME.pattern}$")
    if not strategy.market_types or not all(isinstance(kind, MarketType) for kind in strategy.market_types):
        raise _Unusable(f"{name}: market_types must be a set of MarketType, not empty")
    for field, base in (("params", Params), ("state", State)):
        model = getattr(strategy, field)
        if not isinstance(model, type) or not issubclass(model, base):
            raise _Unusable(f"{name}: {field} must be a class derived from strategies.base.{base.__name__}")
    try:
        strategy.state()
    except ValueError as error:
        raise _Unusable(f"{name}: every field of its state needs a default: {error}") from error
    # Editors and error messages are made from it; one that has none would spoil everybody's.
    strategy.params.model_json_schema()


def _keys(strategies: Iterable[AnyStrategy]) -> Sequence[_Key]:
    return [(strategy.config_name, kind) for strategy in strategies for kind in sorted(strategy.market_types)]


def _said(error: BaseException) -> str:
    return str(error) if isinstance(error, _Unusable) else f"{type(error).__name__}: {error}"


def _broken(entry_point: EntryPoint, reason: str, names: Iterable[str] = ()) -> BrokenPlugin:
    package = entry_point.dist
    return BrokenPlugin(
        entry_point=entry_point.name,
        value=entry_point.value,
        distribution=f"{package.name} {package.version}" if package else "an unknown package",
        reason=reason,
        names=frozenset({entry_point.name, *names}),
    )


def _unreadable(error: Exception) -> BrokenPlugin:
    return BrokenPlugin(entry_point="", value="", distribution="", reason=_said(error), names=frozenset())
