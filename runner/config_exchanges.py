"""The section `exchange_config` of an instance's file, for each exchange whose files are understood."""

from __future__ import annotations

from typing import Literal, get_args
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from runner.config_models import SectionModel, Text
from runner.config_variables import Secret
from wording import said

_LOOPBACK_HOSTS = frozenset({"127.0.0.1", "::1", "localhost"})


class ExchangeConfig(SectionModel):
    """How to reach an exchange: what all of them share."""

    base_url: Text | None = Field(
        default=None, description="Scheme and host; null is the exchange's own address. Live instances only."
    )

    @field_validator("base_url")
    @classmethod
    def _is_safe(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            url = urlsplit(value)
            host, _ = url.hostname, url.port
        except ValueError:
            host = None
        if not host or url.username is not None or url.query or url.fragment:
            raise ValueError(said("must look like https://host[:port], without user or password"))
        if url.scheme != "https" and not (url.scheme == "http" and host in _LOOPBACK_HOSTS):
            raise ValueError(said("must begin with https:// (http:// only for this machine)"))
        return value.rstrip("/")


class BackpackExchange(ExchangeConfig):
    """Backpack."""

    api_key: Secret | None = Field(
        default=None, description="${NAME} of the variable with the public key, base64."
    )
    secret_key: Secret | None = Field(
        default=None, description="${NAME} of the variable with the secret, base64."
    )
    api_version: Literal["v1"] = Field(default="v1", description="Version of the exchange's interface.")
    window_ms: int = Field(
        default=5000,
        ge=1000,
        le=60_000,
        alias="default_window",
        description="How long after its signing the exchange may accept a request, milliseconds.",
    )


class AsterExchange(ExchangeConfig):
    """Aster."""

    api_key: Secret | None = None
    secret_key: Secret | None = None


class ParadexExchange(ExchangeConfig):
    """Paradex."""

    private_key: Secret | None = None
    account_address: Text | None = None


class LighterExchange(ExchangeConfig):
    """Lighter."""

    api_private_key: Secret | None = None
    account_index: int | None = None
    api_key_index: int | None = None
    chain_id: int | None = None
    verify_ssl: bool = True


class ApexExchange(ExchangeConfig):
    """ApeX."""

    api_key: Secret | None = None
    secret_key: Secret | None = None
    passphrase: Secret | None = None
    zk_seeds: Secret | None = None


class StandxExchange(ExchangeConfig):
    """StandX."""

    api_token: Secret | None = None
    signing_key: Secret | None = None
    session_id: Secret | None = None


#: Every exchange whose files are understood.
EXCHANGES: dict[str, type[ExchangeConfig]] = {
    "backpack": BackpackExchange,
    "aster": AsterExchange,
    "paradex": ParadexExchange,
    "lighter": LighterExchange,
    "apex": ApexExchange,
    "standx": StandxExchange,
}

#: Those that this version has an adapter for.
RUNNABLE_EXCHANGES = frozenset({"backpack"})

#: Keys of `exchange_config` that hold secrets, on any exchange.
SECRET_KEYS = frozenset(
    name
    for exchange in EXCHANGES.values()
    for name, field in exchange.model_fields.items()
    if Secret in get_args(field.annotation)
)
