"""Which account on which exchange an instance uses, and how to reach it."""

from __future__ import annotations

from dataclasses import dataclass, field

from exchanges.backpack.config import BASE_URL, Credentials
from runner.config import InstanceConfig
from runner.config_credentials import resolve_credentials, venue_url
from settings import Settings
from wording import said


class AnotherAccount(Exception):
    """Raised when the keys of this process open another account than the one a run trades on."""


@dataclass(frozen=True, kw_only=True)
class Access:
    """What opens a venue for an instance."""

    base_url: str
    credentials: Credentials = field(repr=False)
    #: Name of the account in keys and logs: the venue, and a short hash of the public key.
    account: str


def venue_name(config: InstanceConfig) -> str:
    """Return the name of the venue in keys and logs: accounts of two must not mix."""
    return config.metadata.exchange if config.live else f"{config.metadata.exchange}-simulated"


def market_venue(config: InstanceConfig) -> str:
    """Return the name under which market data is kept: the venue, and its address if that is another."""
    base_url = config.exchange_config.base_url
    is_usual = not config.live or base_url is None or base_url == BASE_URL
    return venue_name(config) if is_usual else f"{venue_name(config)}@{base_url}"


def access(config: InstanceConfig, settings: Settings) -> Access:
    """Return where `config` trades and as whom. Raises `ConfigError` when keys are not set."""
    credentials = resolve_credentials(config, settings.environ)
    return Access(
        base_url=venue_url(config, settings.simulator_url),
        credentials=credentials,
        account=f"{venue_name(config)}:{credentials.fingerprint}",
    )


def require_account(config: InstanceConfig, settings: Settings, account: str) -> None:
    """Raise `AnotherAccount` unless the keys set here open `account`, on which the run was started.

    On another account the run's slot may be another instance's, whose orders would be taken for its own; and
    a list of another account is no proof of anything.
    """
    found = access(config, settings).account
    if found != account:
        raise AnotherAccount(
            said(
                "{instance_id} runs on account {account}, but the keys in this environment open {found}; "
                "set the keys that it was started with, stop it, and change them then",
                instance_id=config.instance_id,
                account=account,
                found=found,
            )
        )
