"""Everything the environment decides, read in one place and checked before use.

Only this module reads the environment (ruff bans `os.environ` elsewhere). Importing it reads nothing.
"""

from __future__ import annotations

import difflib
import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from pathlib import Path
from types import MappingProxyType
from urllib.parse import parse_qsl, urlsplit

from sentinel_url import is_sentinel, parse, without_secrets
from wording import said

DEFAULT_BROKER_URL = "redis://127.0.0.1:6379/0"
DEFAULT_SIMULATOR_URL = "http://127.0.0.1:8900"
#: Written by a running stack (`manage.py up`, `make demo`) into the run directory, mode 600.
LEDGER_FILE = "ledger.sqlite"
LEDGER_SCHEMES = ("sqlite", "postgresql", "postgres", "postgresql+psycopg")
#: What the file of a running stack says.
STACK_URLS = ("broker_url", "simulator_url", "ledger_url")
STACK_FILE = "stack.json"
#: In the directory of message keys: this host's private key and certificate, and a folder with the
#: certificates of all hosts whose messages are taken.
MESSAGE_KEY_FILE, MESSAGE_CERTIFICATE_FILE, TRUSTED_DIR = "key.pem", "cert.pem", "trusted"

BROKER_SCHEMES = ("redis", "rediss", "sentinel")
STATE_SCHEMES = ("redis", "rediss", "unix", "sentinel")
LOG_FORMATS = ("json", "console")
#: The catalogues of `cli/messages`, and English.
LANGUAGES = ("en", "zh-tw")
GUARD_ACTIONS = ("cancel", "stop")
SHORTEST_PASSWORD = 12
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
#: Known to the tests and checks, not to the product.
OTHER_VARIABLES = ("CLEANBOOK_REQUIRE_SERVICES", "CLEANBOOK_TEST_POSTGRES_URL")


class SettingsError(Exception):
    """Raised when an environment variable cannot be used; names it, its value and what is allowed."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How this process is set up. Broker and state URLs do not print: they hold passwords."""

    #: Where Celery's messages go.
    broker_url: str = field(default=DEFAULT_BROKER_URL, repr=False)
    #: Where the lifecycle state lives; the broker's server unless `STATE_URL` says otherwise.
    state_url: str = field(default=DEFAULT_BROKER_URL, repr=False)
    #: One `<instance>.json` per instance.
    config_dir: Path = Path("config/active")
    #: Rules of the alerts; without this file there are none.
    alerts_file: Path = Path("config/alerts.toml")
    #: Data, logs and `stack.json` of an embedded stack; ignored by git.
    run_dir: Path = Path(".run")
    #: Base URL of the simulated exchange.
    simulator_url: str = DEFAULT_SIMULATOR_URL
    #: An iteration owns its instance for this long; afterwards another may take over.
    lease_ms: int = 8000
    #: After this an iteration is interrupted and ends in good order.
    iterate_soft_limit_s: float = 6.0
    #: After this an iteration's process is killed.
    iterate_hard_limit_s: float = 10.0
    #: After this a cleanup notes what is left and schedules itself again.
    cleanup_soft_limit_s: float = 30.0
    cleanup_hard_limit_s: float = 40.0
    #: A cleanup owns its instance for this long, and renews it as it goes.
    cleanup_lease_ms: int = 6000
    #: How often each worker looks for work that got lost.
    sweep_interval_s: float = 0.5
    #: How long something may be overdue before the sweep publishes it again.
    sweep_grace_ms: int = 1000
    #: Added to a request's window: nobody documents where in its path the venue checks it.
    fence_margin_ms: int = 1000
    #: No instance may have a longer window. So long, and the margin, is waited where a state that was lost
    #: does not say how long its requests can arrive. Lower it only while nothing runs with a longer one.
    longest_window_ms: int = 60_000
    #: The broker delivers an unacknowledged message again after this; longer countdowns are split into hops.
    visibility_timeout_s: int = 180
    #: Iterations have so many queues, divided by account, so that a worker can be for some accounts only.
    iterate_queues: int = 1
    #: This many failed iterations in a row lead to a stop with cleanup.
    max_consecutive_errors: int = 20
    #: Requests that all instances of an account may make together. Backpack allows 2000, VIPs more.
    requests_per_minute: int = 1800
    #: Database of orders, fills and profit, `ledger.sqlite` in `run_dir`; several hosts share a PostgreSQL.
    ledger_url: str = field(default=f"sqlite:///.run/{LEDGER_FILE}", repr=False)
    #: Orders and fills older than this are folded into sums, events and snapshots are dropped.
    ledger_keep_days: int = 400
    ledger_keep_events_days: int = 90
    #: After this long without a sign of life the guard cancels an instance's orders.
    guard_after_s: float = 30.0
    #: `cancel` (a run that comes back goes on) or `stop` (it is also stopped, and waits for a human).
    guard_action: str = "cancel"
    #: Directory with the keys that sign task messages; None: they are not signed.
    message_key_dir: Path | None = None
    #: What is known of the state server and it does not tell: `always` (it forgets nothing that it has
    #: confirmed), or `unsure` (it may, and is traded on all the same). Empty: by its own settings.
    state_durability: str = ""
    #: Where the HTTP API and the dashboard listen.
    web_host: str = "127.0.0.1"
    web_port: int = 8700
    #: What people log in with; empty: the one in `web-password` in `run_dir`, made at the first start.
    web_password: str = field(default="", repr=False)
    #: The address that browsers use, where that is a proxy's; with https the cookie is sent over TLS only.
    web_url: str = ""
    #: Addresses of proxies that are believed for whom they speak (``X-Forwarded-For``).
    web_proxies: tuple[str, ...] = ()
    #: A login lasts this long.
    web_session_hours: float = 12.0
    #: `json` (one object per line) or `console` (for people).
    log_format: str = "json"
    log_level: str = "INFO"
    #: What people are spoken to in; the command line looks for it by itself, since errors happen before.
    language: str = "en"
    #: Where the processes of this host leave their counts; `metrics` in `run_dir`.
    metrics_dir: Path = Path(".run/metrics")
    #: Instances that have series of their own in `/metrics`; 0: none has.
    metrics_instances: int = 500
    #: The environment these settings were read from, for `${VAR}` in instance files. Holds secrets.
    environ: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)


def environment() -> Mapping[str, str]:
    """Return the process environment, read-only: for `${VAR}` in configs and for child processes."""
    return MappingProxyType(dict(os.environ))


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """Return the settings from `environ` (default: the process environment).

    Without `BROKER_URL`, the addresses come from the stack that runs in this checkout, if one does.
    Raises `SettingsError` for a value that cannot be used and for an unknown `CLEANBOOK_*` variable.
    """
    source = environment() if environ is None else environ
    read = _Reader(source)
    read.refuse_unknown()
    run_dir = read.path("CLEANBOOK_RUN_DIR", Settings.run_dir)
    stack = {} if source.get("BROKER_URL") else running_stack(run_dir / STACK_FILE)
    broker_url = read.url("BROKER_URL", stack.get("broker_url", DEFAULT_BROKER_URL), BROKER_SCHEMES)
    simulator_default = stack.get("simulator_url", DEFAULT_SIMULATOR_URL)
    settings = Settings(
        broker_url=broker_url,
        state_url=read.url("STATE_URL", broker_url, STATE_SCHEMES),
        config_dir=read.path("CLEANBOOK_CONFIG_DIR", Settings.config_dir),
        alerts_file=read.path("CLEANBOOK_ALERTS_FILE", Settings.alerts_file),
        run_dir=run_dir,
        simulator_url=read.url("CLEANBOOK_SIMULATOR_URL", simulator_default, ("http", "https")).rstrip("/"),
        lease_ms=read.whole("CLEANBOOK_LEASE_MS", Settings.lease_ms, 500, 600_000),
        iterate_soft_limit_s=read.number(
            "CLEANBOOK_ITERATE_SOFT_LIMIT_S", Settings.iterate_soft_limit_s, 0.2, 300
        ),
        iterate_hard_limit_s=read.number(
            "CLEANBOOK_ITERATE_HARD_LIMIT_S", Settings.iterate_hard_limit_s, 0.5, 600
        ),
        cleanup_soft_limit_s=read.number(
            "CLEANBOOK_CLEANUP_SOFT_LIMIT_S", Settings.cleanup_soft_limit_s, 1, 600
        ),
        cleanup_hard_limit_s=read.number(
            "CLEANBOOK_CLEANUP_HARD_LIMIT_S", Settings.cleanup_hard_limit_s, 2, 900
        ),
        cleanup_lease_ms=read.whole("CLEANBOOK_CLEANUP_LEASE_MS", Settings.cleanup_lease_ms, 500, 600_000),
        sweep_interval_s=read.number("CLEANBOOK_SWEEP_INTERVAL_S", Settings.sweep_interval_s, 0.05, 60),
        sweep_grace_ms=read.whole("CLEANBOOK_SWEEP_GRACE_MS", Settings.sweep_grace_ms, 50, 60_000),
        fence_margin_ms=read.whole("CLEANBOOK_FENCE_MARGIN_MS", Settings.fence_margin_ms, 0, 60_000),
        longest_window_ms=read.whole("CLEANBOOK_LONGEST_WINDOW_MS", Settings.longest_window_ms, 1000, 60_000),
        visibility_timeout_s=read.whole(
            "CLEANBOOK_VISIBILITY_TIMEOUT_S", Settings.visibility_timeout_s, 3, 86_400
        ),
        iterate_queues=read.whole("CLEANBOOK_ITERATE_QUEUES", Settings.iterate_queues, 1, 256),
        max_consecutive_errors=read.whole(
            "CLEANBOOK_MAX_CONSECUTIVE_ERRORS", Settings.max_consecutive_errors, 1, 1000
        ),
        requests_per_minute=read.whole(
            "CLEANBOOK_REQUESTS_PER_MINUTE", Settings.requests_per_minute, 60, 10_000_000
        ),
        ledger_url=read.url(
            "CLEANBOOK_LEDGER_URL",
            stack.get("ledger_url", f"sqlite:///{run_dir / LEDGER_FILE}"),
            LEDGER_SCHEMES,
        ),
        ledger_keep_days=read.whole("CLEANBOOK_LEDGER_KEEP_DAYS", Settings.ledger_keep_days, 2, 36_500),
        ledger_keep_events_days=read.whole(
            "CLEANBOOK_LEDGER_KEEP_EVENTS_DAYS", Settings.ledger_keep_events_days, 2, 36_500
        ),
        guard_after_s=read.number("CLEANBOOK_GUARD_AFTER_S", math.nan, 2, 3600),
        guard_action=read.one_of("CLEANBOOK_GUARD_ACTION", Settings.guard_action, GUARD_ACTIONS),
        message_key_dir=read.path("CLEANBOOK_MESSAGE_KEY_DIR", Path())
        if read.text("CLEANBOOK_MESSAGE_KEY_DIR")
        else None,
        state_durability=read.one_of("CLEANBOOK_STATE_DURABILITY", "", ("", "always", "unsure")),
        web_host=read.host("CLEANBOOK_WEB_HOST", Settings.web_host),
        web_port=read.whole("CLEANBOOK_WEB_PORT", Settings.web_port, 1, 65_535),
        web_password=read.password("CLEANBOOK_WEB_PASSWORD"),
        web_url=read.web_url("CLEANBOOK_WEB_URL"),
        web_proxies=read.addresses("CLEANBOOK_WEB_PROXIES"),
        web_session_hours=read.number("CLEANBOOK_WEB_SESSION_HOURS", Settings.web_session_hours, 0.1, 720),
        language=read.one_of(
            "CLEANBOOK_LANG", Settings.language, LANGUAGES, fold=lambda name: name.replace("_", "-").lower()
        ),
        log_format=read.one_of("CLEANBOOK_LOG_FORMAT", Settings.log_format, LOG_FORMATS),
        metrics_dir=read.path("CLEANBOOK_METRICS_DIR", run_dir / "metrics"),
        metrics_instances=read.whole("CLEANBOOK_METRICS_INSTANCES", Settings.metrics_instances, 0, 100_000),
        log_level=read.one_of("CLEANBOOK_LOG_LEVEL", Settings.log_level, LOG_LEVELS, fold=str.upper),
        environ=MappingProxyType(dict(source)),
    )
    if math.isnan(settings.guard_after_s):
        # Patient enough for whatever leases were chosen.
        patience_s = max(Settings.guard_after_s, 2 * _longest_quiet_s(settings))
        settings = replace(settings, guard_after_s=patience_s)
    _check_together(settings)
    return settings


def tls_options(url: str) -> dict[str, str]:
    """Return what a URL with TLS says about its certificates, empty for other URLs."""
    if is_sentinel(url):
        return dict(parse(url).tls)
    parts = urlsplit(url)
    if parts.scheme != "rediss":
        return {}
    return {name: value for name, value in parse_qsl(parts.query) if name.startswith("ssl_")}


def redacted(url: str) -> str:
    """Return `url` with every password replaced by stars, fit for a log or a screen."""
    return without_secrets(url)


def running_stack(path: Path) -> dict[str, str]:
    """Return `STACK_URLS` of the stack that wrote `path`, empty if none is alive.

    A file of another user is not trusted; one whose process is gone is left over from a kill.
    """
    try:
        if path.stat().st_uid != os.getuid():
            return {}
        content = json.loads(path.read_text(encoding="utf-8"))
        os.kill(int(content["pid"]), 0)
        return {name: str(content[name]) for name in STACK_URLS if content.get(name)}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


class _Reader:
    """Reads variables one by one; an empty value counts as unset."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._known: list[str] = []

    def refuse_unknown(self) -> None:
        """Raise for a misspelt variable, which would otherwise have no effect without a word."""
        for name in sorted(self._environ):
            if name.startswith("CLEANBOOK_") and name not in VARIABLES + OTHER_VARIABLES:
                near = difflib.get_close_matches(name, VARIABLES, n=1)
                hint = (
                    said("did you mean {near}?", near=near[0])
                    if near
                    else said("known are {names}", names=", ".join(VARIABLES))
                )
                raise SettingsError(
                    said("{name} is not a variable of Cleanbook; {hint}", name=name, hint=hint)
                )

    def text(self, name: str) -> str | None:
        return self._environ.get(name, "").strip() or None

    def path(self, name: str, default: Path) -> Path:
        value = self.text(name)
        return default if value is None else Path(value).expanduser()

    def one_of(
        self, name: str, default: str, allowed: tuple[str, ...], fold: Callable[[str], str] = str.lower
    ) -> str:
        value = fold(self.text(name) or default)
        if value not in allowed:
            raise SettingsError(
                said(
                    "{name} is {value}; allowed are {allowed}",
                    name=name,
                    value=repr(value),
                    allowed=", ".join(filter(None, allowed)),
                )
            )
        return value

    def url(self, name: str, default: str, schemes: tuple[str, ...]) -> str:
        value = self.text(name) or default
        allowed = ", ".join(f"{scheme}://" for scheme in schemes)
        try:
            parts = urlsplit(value)
            valid = parts.scheme in schemes and (
                is_sentinel(value) or (bool(parts.hostname or parts.path) and parts.port != 0)
            )
        except ValueError:  # a port that is no number, brackets that do not close
            valid = False
        if not valid:
            raise SettingsError(
                said(
                    "{name} is {value}; it must be a URL that begins with {allowed}",
                    name=name,
                    value=repr(redacted(value)),
                    allowed=allowed,
                )
            )
        if is_sentinel(value):
            try:
                parse(value)
            except ValueError as error:
                raise SettingsError(
                    said("{name} is {value}: {error}", name=name, value=repr(redacted(value)), error=error)
                ) from error
        if tls_options(value).get("ssl_cert_reqs", "required") != "required":
            raise SettingsError(
                said(
                    "{name} is {value}: with ssl_cert_reqs other than `required` anybody on the way could "
                    "take the server's place and get its password; use ssl_ca_certs for your own authority",
                    name=name,
                    value=repr(redacted(value)),
                )
            )
        return value

    def password(self, name: str) -> str:
        value = self.text(name) or ""
        if value and len(value) < SHORTEST_PASSWORD:
            raise SettingsError(
                said(
                    "{name} is too short: it needs at least {count} characters; unset, one is made",
                    name=name,
                    count=SHORTEST_PASSWORD,
                )
            )
        return value

    def web_url(self, name: str) -> str:
        value = self.text(name)
        if value is None:
            return ""
        url = self.url(name, value, ("http", "https")).rstrip("/")
        parts = urlsplit(url)
        if not parts.hostname or parts.path or parts.query or parts.username is not None:
            raise SettingsError(
                said(
                    "{name} is {value}; it must be like https://bots.example.org",
                    name=name,
                    value=repr(redacted(value)),
                )
            )
        return url

    def host(self, name: str, default: str) -> str:
        value = self.text(name) or default
        if value != "localhost" and not _is_address(value):
            raise SettingsError(
                said(
                    "{name} is {value}; it must be an IP address of this machine, or localhost",
                    name=name,
                    value=repr(value),
                )
            )
        return value

    def addresses(self, name: str) -> tuple[str, ...]:
        value = self.text(name) or ""
        found = tuple(part.strip() for part in value.split(",") if part.strip())
        if not all(_is_address(each) for each in found):
            raise SettingsError(
                said(
                    "{name} is {value}; it must be IP addresses, comma separated",
                    name=name,
                    value=repr(value),
                )
            )
        return found

    def whole(self, name: str, default: int, low: int, high: int) -> int:
        value = self.text(name)
        if value is None:
            return default
        try:
            number = int(value)
        except ValueError:
            number = low - 1
        if not low <= number <= high:
            raise SettingsError(
                said(
                    "{name} is {value}; it must be a whole number from {low} to {high}",
                    name=name,
                    value=repr(value),
                    low=low,
                    high=high,
                )
            )
        return number

    def number(self, name: str, default: float, low: float, high: float) -> float:
        value = self.text(name)
        if value is None:
            return default
        try:
            number = float(value)
        except ValueError:
            number = low - 1
        if not low <= number <= high:  # also refuses nan
            raise SettingsError(
                said(
                    "{name} is {value}; it must be a number from {low} to {high}",
                    name=name,
                    value=repr(value),
                    low=f"{low:g}",
                    high=f"{high:g}",
                )
            )
        return number


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


#: Every variable of ours, for the check of misspelt ones and for documentation.
VARIABLES = (
    "CLEANBOOK_CONFIG_DIR",
    "CLEANBOOK_ALERTS_FILE",
    "CLEANBOOK_RUN_DIR",
    "CLEANBOOK_SIMULATOR_URL",
    "CLEANBOOK_LEASE_MS",
    "CLEANBOOK_ITERATE_SOFT_LIMIT_S",
    "CLEANBOOK_ITERATE_HARD_LIMIT_S",
    "CLEANBOOK_CLEANUP_SOFT_LIMIT_S",
    "CLEANBOOK_CLEANUP_HARD_LIMIT_S",
    "CLEANBOOK_CLEANUP_LEASE_MS",
    "CLEANBOOK_SWEEP_INTERVAL_S",
    "CLEANBOOK_SWEEP_GRACE_MS",
    "CLEANBOOK_FENCE_MARGIN_MS",
    "CLEANBOOK_LONGEST_WINDOW_MS",
    "CLEANBOOK_VISIBILITY_TIMEOUT_S",
    "CLEANBOOK_ITERATE_QUEUES",
    "CLEANBOOK_MAX_CONSECUTIVE_ERRORS",
    "CLEANBOOK_REQUESTS_PER_MINUTE",
    "CLEANBOOK_LEDGER_URL",
    "CLEANBOOK_LEDGER_KEEP_DAYS",
    "CLEANBOOK_LEDGER_KEEP_EVENTS_DAYS",
    "CLEANBOOK_GUARD_AFTER_S",
    "CLEANBOOK_GUARD_ACTION",
    "CLEANBOOK_MESSAGE_KEY_DIR",
    "CLEANBOOK_STATE_DURABILITY",
    "CLEANBOOK_WEB_HOST",
    "CLEANBOOK_WEB_PORT",
    "CLEANBOOK_WEB_PASSWORD",
    "CLEANBOOK_WEB_URL",
    "CLEANBOOK_WEB_PROXIES",
    "CLEANBOOK_WEB_SESSION_HOURS",
    "CLEANBOOK_LANG",
    "CLEANBOOK_LOG_FORMAT",
    "CLEANBOOK_LOG_LEVEL",
    "CLEANBOOK_METRICS_DIR",
    "CLEANBOOK_METRICS_INSTANCES",
)


def _longest_quiet_s(settings: Settings) -> float:
    """Return how long an instance may say nothing while everything is well, or repairs itself."""
    lease_ms = max(settings.lease_ms, settings.cleanup_lease_ms)
    return (lease_ms + settings.sweep_grace_ms) / 1000 + settings.sweep_interval_s


def _check_together(settings: Settings) -> None:
    """Raise where two values that are fine alone contradict each other."""

    def require_longer(name: str, value_s: float, other: str, other_s: float, reason: str) -> None:
        if value_s <= other_s:
            raise SettingsError(
                said(
                    "{name} is {value_s} s; it must be longer than {other} ({other_s} s): {reason}",
                    name=name,
                    value_s=f"{value_s:g}",
                    other=other,
                    other_s=f"{other_s:g}",
                    reason=reason,
                )
            )

    if settings.state_durability == "always" and is_sentinel(settings.state_url):
        raise SettingsError(
            said(
                "CLEANBOOK_STATE_DURABILITY is 'always', and STATE_URL leads to Sentinels: a replica that "
                "takes over may lack what was confirmed, whatever is on disks; unset it"
            )
        )
    iterate_s, cleanup_s = settings.iterate_soft_limit_s, settings.cleanup_soft_limit_s
    time_to_end = said("the soft limit must leave time to end in good order")
    require_longer(
        "CLEANBOOK_ITERATE_HARD_LIMIT_S",
        settings.iterate_hard_limit_s,
        "CLEANBOOK_ITERATE_SOFT_LIMIT_S",
        iterate_s,
        time_to_end,
    )
    require_longer(
        "CLEANBOOK_CLEANUP_HARD_LIMIT_S",
        settings.cleanup_hard_limit_s,
        "CLEANBOOK_CLEANUP_SOFT_LIMIT_S",
        cleanup_s,
        time_to_end,
    )
    require_longer(
        "CLEANBOOK_LEASE_MS",
        settings.lease_ms / 1000,
        "CLEANBOOK_ITERATE_SOFT_LIMIT_S",
        iterate_s,
        said("an iteration that may still run must own its instance"),
    )
    # A countdown takes up to a third of the visibility timeout, the task may take the rest.
    require_longer(
        "CLEANBOOK_VISIBILITY_TIMEOUT_S",
        settings.visibility_timeout_s,
        said("1.5 times the longest hard limit"),
        1.5 * max(settings.iterate_hard_limit_s, settings.cleanup_hard_limit_s),
        said("or the broker delivers a task again while it runs"),
    )
    require_longer(
        "CLEANBOOK_GUARD_AFTER_S",
        settings.guard_after_s,
        said("the longest lease with sweep and grace behind it"),
        _longest_quiet_s(settings),
        said("or the guard cancels for an instance that only repairs itself"),
    )
