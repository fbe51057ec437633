"""An instance's configuration: `config/active/<instance>.json`, read, checked, and kept as canonical JSON.

`load_instance` reads a file and raises one `ConfigError` with everything that is wrong in it. At `start`
the configuration is stored with `InstanceConfig.to_json`, without secrets, and iterations read it back
with `InstanceConfig.from_json`.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, SerializeAsAny

from market.instrument import MarketType
from runner.config_errors import ConfigError, Problem, shown
from runner.config_exchanges import RUNNABLE_EXCHANGES, ExchangeConfig
from runner.config_models import INSTANCE_ID_PATTERN, MetadataConfig, StopConfig, StrategyConfig
from runner.config_parse import Reading
from runner.config_text import parse_json
from strategies.limits import Limits
from wording import said

__all__ = [
    "ConfigError",
    "InstanceConfig",
    "LoadedConfig",
    "Problem",
    "instance_ids",
    "load_instance",
    "read_layout",
    "version_of",
]

#: Instances that the message about a missing file names.
_LISTED = 20


class InstanceConfig(BaseModel):
    """What one instance is, where it trades and how. Holds names of variables, never secrets."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    metadata: MetadataConfig
    exchange_config: SerializeAsAny[ExchangeConfig]
    strategy_config: StrategyConfig
    #: False: trades on the simulated exchange.
    live: bool = False
    stop: StopConfig = StopConfig()
    #: What holds whatever the strategy decides.
    limits: Limits = Limits()
    #: True: nothing and nobody else trades this symbol with this account.
    exclusive_symbol: bool = False

    @property
    def instance_id(self) -> str:
        """Return the name of the instance."""
        return self.metadata.instance_id

    @property
    def market_type(self) -> MarketType:
        """Return the kind of market."""
        return self.metadata.market_type

    @property
    def runnable(self) -> bool:
        """Return whether this version has an adapter for the exchange; if not, the file is only checked."""
        return self.metadata.exchange in RUNNABLE_EXCHANGES

    def to_json(self) -> str:
        """Return the canonical form, in the file's layout: defaults written out, secrets by reference."""
        strategy = self.strategy_config
        layout = {
            "metadata": self.metadata.model_dump(mode="json"),
            "exchange_config": self.exchange_config.model_dump(mode="json", by_alias=True),
            "strategy_config": {
                **strategy.params.model_dump(mode="json"),
                **strategy.pace.model_dump(mode="json", by_alias=True),
            },
            "live": self.live,
            "stop": self.stop.model_dump(mode="json"),
            "limits": self.limits.model_dump(mode="json"),
            "exclusive_symbol": self.exclusive_symbol,
        }
        return json.dumps(layout, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> InstanceConfig:
        """Return what `to_json` wrote. Raises `ConfigError` when this version does not understand it."""
        return _read(text, "the stored configuration", environ=None, instance_id=None)[0]


@dataclass(frozen=True, kw_only=True)
class LoadedConfig:
    """A file that can be used, and what its owner should know."""

    config: InstanceConfig
    warnings: tuple[str, ...]
    path: Path


def load_instance(instance_id: str, config_dir: Path, environ: Mapping[str, str]) -> LoadedConfig:
    """Return the configuration of `instance_id`, from `<config_dir>/<instance_id>.json`.

    `environ` gives the values of variables; for a live instance it must hold the exchange's keys.
    Raises `ConfigError`.
    """
    if not re.fullmatch(INSTANCE_ID_PATTERN.strip("^$"), instance_id):
        message = said(
            "is no instance id: up to 64 letters, digits, _ and -, the first one a letter or a digit"
        )
        raise ConfigError("instance id", [Problem(path=shown(instance_id), message=message)])
    path = config_dir / f"{instance_id}.json"
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(str(path), [_missing(instance_id, config_dir)]) from None
    except UnicodeDecodeError as error:
        message = said("is no UTF-8 text (byte {start}); save it as UTF-8", start=error.start)
        raise ConfigError(str(path), [Problem(path=said("file"), message=message)]) from None
    except OSError as error:
        raise ConfigError(
            str(path),
            [Problem(path=said("file"), message=said("cannot be read: {error}", error=error.strerror))],
        ) from error
    config, warnings = _read(text, str(path), environ=environ, instance_id=instance_id)
    return LoadedConfig(config=config, warnings=warnings, path=path)


def read_layout(text: str, instance_id: str, environ: Mapping[str, str]) -> InstanceConfig:
    """Return the configuration in `text`, which is JSON in the layout of a file. Raises `ConfigError`."""
    return _read(text, f"the configuration of {instance_id}", environ=environ, instance_id=instance_id)[0]


def instance_ids(config_dir: Path) -> tuple[str, ...]:
    """Return the names of the instances that have a file, sorted."""
    names = (path.stem for path in config_dir.glob("*.json"))
    return tuple(sorted(name for name in names if re.fullmatch(INSTANCE_ID_PATTERN.strip("^$"), name)))


def version_of(config: InstanceConfig) -> str:
    """Return a short name of exactly this configuration: another one has another."""
    return version_of_text(config.to_json())


def version_of_text(canonical: str) -> str:
    """Return the version of the configuration that `to_json` wrote as `canonical`, whichever release did."""
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def _missing(instance_id: str, config_dir: Path) -> Problem:
    if not config_dir.is_dir():
        return Problem(
            path=said("file"),
            message=said("there is no folder {folder}; CLEANBOOK_CONFIG_DIR names it", folder=config_dir),
        )
    known = instance_ids(config_dir)
    if not known:
        return Problem(
            path=said("file"),
            message=said("does not exist; {folder} has no instance file", folder=config_dir),
        )
    near = difflib.get_close_matches(instance_id, known, n=1)
    names = ", ".join(known[:_LISTED]) + (", …" if len(known) > _LISTED else "")
    if near:
        message = said('does not exist; did you mean "{name}"? There is: {names}', name=near[0], names=names)
    else:
        message = said("does not exist; there is: {names}", names=names)
    return Problem(
        path=said("file"),
        message=message,
    )


def _read(
    text: str, source: str, *, environ: Mapping[str, str] | None, instance_id: str | None
) -> tuple[InstanceConfig, tuple[str, ...]]:
    reading = Reading(content=parse_json(text, source), environ=environ, instance_id=instance_id)
    found = reading.sections()
    if (
        reading.problems
        or found.metadata is None
        or found.exchange is None
        or found.strategy is None
        or found.stop is None
        or found.limits is None
        or found.top is None
    ):
        raise ConfigError(source, reading.problems)
    config = InstanceConfig(
        metadata=found.metadata,
        exchange_config=found.exchange,
        strategy_config=found.strategy,
        live=found.top.live,
        stop=found.stop,
        limits=found.limits,
        exclusive_symbol=found.top.exclusive_symbol,
    )
    return config, tuple(reading.warnings)
