"""From the JSON of a file to the sections of an instance, collecting everything that is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, TypeVar

from pydantic import BaseModel

from market.instrument import MarketType
from runner.config_errors import Problem, did_you_mean, shown
from runner.config_exchanges import (
    EXCHANGES,
    RUNNABLE_EXCHANGES,
    SECRET_KEYS,
    BackpackExchange,
    ExchangeConfig,
)
from runner.config_models import DaemonConfig, MetadataConfig, Pace, StopConfig, StrategyConfig, TopLevel
from runner.config_validation import Section, accepted_keys, validate_section
from runner.config_variables import SecretRef, expand, secret_names
from strategies.base import Params
from strategies.limits import Limits
from strategies.registry import BrokenStrategy, UnknownStrategy, all_strategies, find
from wording import said

M = TypeVar("M", bound=BaseModel)

_SECTIONS = ("metadata", "daemon_config", "exchange_config", "strategy_config", "stop", "limits")
_REQUIRED = ("metadata", "strategy_config")


@dataclass(kw_only=True)
class Sections:
    """The sections of a file. None: something is wrong with that one."""

    metadata: MetadataConfig | None
    exchange: ExchangeConfig | None
    strategy: StrategyConfig | None
    stop: StopConfig | None
    limits: Limits | None
    top: TopLevel | None


@dataclass(kw_only=True)
class Reading:
    """One pass over a file; `problems` and `warnings` fill up on the way."""

    content: Mapping[str, Any]
    #: Values of variables. None: the text was stored by us, and its variables are expanded already.
    environ: Mapping[str, str] | None
    #: The name of the file, which the instance must have; None leaves it to the text.
    instance_id: str | None
    problems: list[Problem] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def sections(self) -> Sections:
        """Return every section that is in order."""
        top = self._top()
        exchange_given = self._object("exchange_config")
        secrets = secret_names(exchange_given, SECRET_KEYS)

        metadata_given = self._object("metadata")
        metadata_values = self._expanded("metadata", metadata_given, secrets)
        if self.instance_id is not None:
            metadata_values.setdefault("instance_id", self.instance_id)
        self._check_instance_id(metadata_values, metadata_given)
        metadata = self._valid("metadata", MetadataConfig, metadata_values, metadata_given)

        self._daemon(secrets)
        exchange = self._exchange(metadata_values.get("exchange"), exchange_given, secrets)
        strategy = self._strategy(metadata_values)
        stop_given = self._object("stop")
        stop = self._valid("stop", StopConfig, stop_given, stop_given)
        limits_given = self._object("limits")
        limits = self._valid("limits", Limits, limits_given, limits_given)
        found = Sections(
            metadata=metadata, exchange=exchange, strategy=strategy, stop=stop, limits=limits, top=top
        )
        self._check_together(found)
        return found

    def _said(self, key: str) -> str:
        """Return a key of the metadata as it stands in the file."""
        return shown(self._object("metadata").get(key))

    def _add(self, path: str, message: str) -> None:
        self.problems.append(Problem(path=path, message=message))

    def _top(self) -> TopLevel | None:
        values = {key: value for key, value in self.content.items() if key not in (*_SECTIONS, "$schema")}
        if "bot_args" in values:
            self._add("$", said("is of the old flat form (bot_args); docs/configuration.md shows the layout"))
        section = Section(path="$", given=values, also_known=_SECTIONS)
        top, problems = validate_section(TopLevel, values, section)
        self.problems += problems
        if self.environ is not None and "live" not in self.content:
            self.warnings.append(
                said(
                    'live is not set, so this instance trades on the simulated exchange; "live": true '
                    "trades with real money"
                )
            )
        return top

    def _object(self, name: str) -> Mapping[str, Any]:
        if name not in self.content:
            if name in _REQUIRED:
                self._add(f"$.{name}", said("is missing; must be an object { … }"))
            return {}
        value = self.content[name]
        if not isinstance(value, dict):
            self._add(f"$.{name}", said("must be an object { … }"))
            return {}
        return value

    def _expanded(self, name: str, given: Mapping[str, Any], secrets: frozenset[str]) -> dict[str, Any]:
        values = dict(given)
        if self.environ is None:
            return values
        for key, value in given.items():
            # Secrets stay as they are: their model keeps the variable's name.
            if not (name == "exchange_config" and key in SECRET_KEYS):
                values[key] = expand(
                    value, self.environ, path=f"$.{name}.{key}", secrets=secrets, problems=self.problems
                )
        return values

    def _valid(
        self,
        name: str,
        model: type[M],
        values: Mapping[str, Any],
        given: Mapping[str, Any],
        *,
        also_known: tuple[str, ...] = (),
        elsewhere: Mapping[str, str] | None = None,
    ) -> M | None:
        if name in _REQUIRED and not isinstance(self.content.get(name), dict):
            return None  # Said already; a list of its missing keys would add nothing.
        path = f"$.{name}"
        section = Section(
            path=path,
            given=given,
            hidden=SECRET_KEYS if name == "exchange_config" else (),
            told=[problem.path.removeprefix(f"{path}.").split("[")[0] for problem in self.problems],
            also_known=also_known,
            elsewhere=elsewhere or {},
        )
        result, problems = validate_section(model, values, section)
        self.problems += problems
        return result

    def _check_instance_id(self, values: Mapping[str, Any], given: Mapping[str, Any]) -> None:
        is_unset = any(problem.path == "$.metadata.instance_id" for problem in self.problems)
        if self.instance_id is not None and values["instance_id"] != self.instance_id and not is_unset:
            message = said(
                'is {given}; must be "{instance_id}", like the file',
                given=shown(given.get("instance_id")),
                instance_id=self.instance_id,
            )
            self._add("$.metadata.instance_id", message)

    def _daemon(self, secrets: frozenset[str]) -> None:
        given = self._object("daemon_config")
        values = self._expanded("daemon_config", given, secrets)
        self._valid("daemon_config", DaemonConfig, values, given)
        named = ", ".join(key for key in given if key in DaemonConfig.model_fields)
        if named:
            self.warnings.append(
                said(
                    "daemon_config has no effect, because instances are tasks here, not processes: {named}",
                    named=named,
                )
            )

    def _exchange(
        self, name: object, given: Mapping[str, Any], secrets: frozenset[str]
    ) -> ExchangeConfig | None:
        values = self._expanded("exchange_config", given, secrets)
        if not isinstance(name, str):
            return None
        if name not in EXCHANGES:
            if not any(problem.path == "$.metadata.exchange" for problem in self.problems):
                known = did_you_mean(name, EXCHANGES)
                self._add(
                    "$.metadata.exchange",
                    said("no exchange is called {name}{known}", name=self._said("exchange"), known=known),
                )
            return None
        if name not in RUNNABLE_EXCHANGES:
            self.warnings.append(
                said("this version cannot trade on {name} yet: the file is only checked", name=name)
            )
        model = EXCHANGES[name]
        others = {
            key: said("it belongs to {other}", other=other)
            for other, its in EXCHANGES.items()
            for key in accepted_keys(its)
            if key not in accepted_keys(model)
        }
        return self._valid("exchange_config", model, values, given, elsewhere=others)

    def _strategy(self, metadata: Mapping[str, Any]) -> StrategyConfig | None:
        given = self._object("strategy_config")
        pace_keys = tuple(accepted_keys(Pace))
        self._refuse_variables(given)
        pace = self._valid(
            "strategy_config", Pace, {key: given[key] for key in pace_keys if key in given}, given
        )
        model = self._params_model(metadata)
        if model is None:
            return None
        self.warnings += [
            said("strategy_config.{key} has no effect: {why}", key=key, why=why)
            for key, why in model.inert.items()
            if key in given
        ]
        own = {key: value for key, value in given.items() if key not in (*pace_keys, *model.inert)}
        unknown = [key for key in own if key not in accepted_keys(model)]
        # Asked for only then: it imports the strategies of every other package.
        others = {key: _owners()[key] for key in unknown if key in _owners()}
        params = self._valid("strategy_config", model, own, given, also_known=pace_keys, elsewhere=others)
        return None if pace is None or params is None else StrategyConfig(pace=pace, params=params)

    def _refuse_variables(self, given: Mapping[str, Any]) -> None:
        for key, value in given.items():
            if isinstance(value, str) and "${" in value:
                self._add(
                    f"$.strategy_config.{key}",
                    said("is {value}; variables are not expanded here", value=shown(value)),
                )

    def _params_model(self, metadata: Mapping[str, Any]) -> type[Params] | None:
        """Return the model of the parameters of the strategy that the metadata name."""
        name = metadata.get("strategy")
        if not isinstance(name, str) or metadata.get("market_type") not in list(MarketType):
            return None  # Said by the model of the metadata.
        market_type = MarketType(metadata["market_type"])
        try:
            return find(name, market_type).params
        except BrokenStrategy as broken:
            self._add("$.metadata.strategy", said("is {name}: {broken}", name=shown(name), broken=broken))
            return None
        except UnknownStrategy as unknown:
            pairs = unknown.known
        markets = sorted(kind.value for other, kind in pairs if other == name)
        if markets:
            near = did_you_mean(name, (other for other, kind in pairs if kind is market_type))
            self._add(
                "$.metadata.strategy",
                said(
                    "{name} runs on {markets} markets, not on {market}{near}",
                    name=shown(name),
                    markets=" and ".join(markets),
                    market=market_type.value,
                    near=near,
                ),
            )
        else:
            known = did_you_mean(name, (other for other, _ in pairs))
            self._add(
                "$.metadata.strategy",
                said("no strategy is called {name}{known}", name=self._said("strategy"), known=known),
            )
        return None

    def _check_together(self, found: Sections) -> None:
        """Find contradictions between sections."""
        top, stop, exchange = found.top, found.stop, found.exchange
        if stop is not None and stop.position == "close":
            if found.metadata is not None and found.metadata.market_type is MarketType.SPOT:
                self._add("$.stop.position", said('is "close"; a spot instance has no position to close'))
            elif top is not None and not top.exclusive_symbol:
                self._add(
                    "$.stop.position",
                    said(
                        'is "close", which closes the whole account\'s position in the symbol; set '
                        '"exclusive_symbol": true when nothing else trades it'
                    ),
                )
        if (
            self.environ is not None
            and top is not None
            and top.live
            and isinstance(exchange, BackpackExchange)
        ):
            for key in ("api_key", "secret_key"):
                self._check_set(key, getattr(exchange, key), self.environ)

    def _check_set(self, key: str, reference: SecretRef | None, environ: Mapping[str, str]) -> None:
        path = f"$.exchange_config.{key}"
        if reference is None:
            self._add(
                path,
                said(
                    "is missing; a live instance needs it: write {form}, where NAME is the environment "
                    "variable that holds it",
                    form='"${NAME}"',
                ),
            )
        elif not environ.get(reference.variable, "").strip():
            self._add(
                path,
                said(
                    "environment variable {variable} is not set; a live instance needs it",
                    variable=reference.variable,
                ),
            )


@cache
def _owners() -> Mapping[str, str]:
    """Return where each strategy parameter belongs, in words."""
    owners: dict[str, list[str]] = {}
    for strategy in all_strategies():
        for kind in strategy.market_types:
            for key in accepted_keys(strategy.params):
                owners.setdefault(key, []).append(f"{strategy.config_name} on {kind.value}")
    return {
        key: said("it belongs to {names}", names=", ".join(dict.fromkeys(names)))
        for key, names in owners.items()
    }
