"""Where an instance trades and as whom, decided at the last moment and kept nowhere."""

from __future__ import annotations

from collections.abc import Mapping

from exchanges.backpack.config import BASE_URL, DEMO_CREDENTIALS, Credentials
from runner.config import ConfigError, InstanceConfig, Problem
from runner.config_exchanges import BackpackExchange
from runner.config_variables import SecretRef
from wording import said

DEMO_API_KEY = DEMO_CREDENTIALS.api_key
DEMO_SECRET_KEY = DEMO_CREDENTIALS.secret_key


def venue_url(config: InstanceConfig, simulator_url: str) -> str:
    """Return the exchange's address: for an instance that is not live always the simulator's."""
    if not config.live:
        return simulator_url
    return config.exchange_config.base_url or BASE_URL


def resolve_credentials(config: InstanceConfig, environ: Mapping[str, str]) -> Credentials:
    """Return the keys that `config` refers to.

    An instance that is not live always trades as the simulator's demo account.
    Raises `ConfigError` that names each variable that is not set.
    """
    exchange = config.exchange_config
    if not isinstance(exchange, BackpackExchange):
        message = said("this version cannot trade on {exchange} yet", exchange=config.metadata.exchange)
        raise ConfigError(config.instance_id, [Problem(path="$.metadata.exchange", message=message)])
    if not config.live:
        # Nothing signed with real keys leaves this machine while only simulated money is at stake.
        return DEMO_CREDENTIALS
    api_key = _value(exchange.api_key, environ)
    secret_key = _value(exchange.secret_key, environ)
    if api_key and secret_key:
        return Credentials(api_key=api_key, secret_key=secret_key)
    problems = [
        Problem(path=f"$.exchange_config.{key}", message=_unset(reference))
        for key, reference, value in (
            ("api_key", exchange.api_key, api_key),
            ("secret_key", exchange.secret_key, secret_key),
        )
        if not value
    ]
    raise ConfigError(config.instance_id, problems)


def _value(reference: SecretRef | None, environ: Mapping[str, str]) -> str:
    return "" if reference is None else environ.get(reference.variable, "").strip()


def _unset(reference: SecretRef | None) -> str:
    if reference is None:
        return said("is missing; write ${NAME} of an environment variable")
    return said("the environment variable {variable} is not set", variable=reference.variable)
