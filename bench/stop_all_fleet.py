"""Instances that run and have their orders on the book, put there without a worker."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bench.maker_file import maker_file
from runner.access import access
from runner.config import load_instance, version_of
from runner.context import open_context
from runner.iteration import run_iteration
from settings import Settings
from state.client_ids import allocate_slot
from state.server import server_report

ORDERS = 6
#: Instances of an account take these by turns, with so much in each order.
MARKETS = {"SOL_USDC": "0.01", "ETH_USDC": "0.001", "BTC_USDC": "0.0001"}
#: Nothing is due before all are stopped.
INTERVAL_S = 3600
#: Threads that play the first iterations.
PLAYERS = 8
#: Their keys begin with this byte, which no built-in account has.
FIRST_SEED = 16


class NotPlaced(RuntimeError):
    """Raised when the orders do not stand as they should; the figures would mean nothing."""


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """So many accounts with so many instances each."""

    accounts: int
    instances: int

    @property
    def names(self) -> tuple[str, ...]:
        """Return every instance, neighbours on different accounts."""
        return tuple(f"all_{number:04}" for number in range(self.instances))

    def keys(self) -> dict[str, str]:
        """Return the environment variables with every account's keys."""
        pairs = [(number, _key(number)) for number in range(self.accounts)]
        return dict(
            chain.from_iterable(
                (
                    (f"BENCH_KEY_{number}", _text(key.public_key().public_bytes_raw())),
                    (f"BENCH_SECRET_{number}", _text(key.private_bytes_raw())),
                )
                for number, key in pairs
            )
        )

    def write_accounts(self, path: Path) -> None:
        """Write what the simulated exchange has to know."""
        rich = {"USDC": "100000000", "SOL": "200000", "ETH": "20000", "BTC": "2000"}
        accounts = [
            {"name": f"bench{number}", "public_key": self.keys()[f"BENCH_KEY_{number}"], "balances": rich}
            for number in range(self.accounts)
        ]
        path.write_text(json.dumps(accounts), encoding="utf-8")

    def write_files(self, config_dir: Path, simulator_url: str) -> None:
        """Write every instance's file. They are live, since only then is there more than one account."""
        config_dir.mkdir(exist_ok=True)
        for number, name in enumerate(self.names):
            account = number % self.accounts
            symbol = list(MARKETS)[number // self.accounts % len(MARKETS)]
            content = maker_file(
                name, symbol=symbol, orders=ORDERS, interval_s=INTERVAL_S, quantity=MARKETS[symbol]
            )
            content["live"] = True
            content["exchange_config"] = {
                "base_url": simulator_url,
                "api_key": f"${{BENCH_KEY_{account}}}",
                "secret_key": f"${{BENCH_SECRET_{account}}}",
            }
            (config_dir / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")

    def place(self, settings: Settings) -> None:
        """Begin every run and play its first iteration here. Raises `NotPlaced`."""
        shares = [self.names[first::PLAYERS] for first in range(PLAYERS)]
        with ThreadPoolExecutor(PLAYERS) as pool:
            tuple(pool.map(lambda share: _play(settings, share), shares))


def _play(settings: Settings, names: Sequence[str]) -> None:
    # Connections to exchanges are not shared between threads.
    context = open_context(settings)
    keeps = server_report(context.client).keeps
    for name in names:
        config = load_instance(name, settings.config_dir, settings.environ).config
        account = access(config, settings).account
        started = context.instances.start(
            name,
            config_version=version_of(config),
            config_json=config.to_json(),
            slot=allocate_slot(context.scripts, account, name),
            account=account,
            by="bench",
            keeps=keeps,
        )
        # What it wants to have published is dropped: it is not due before all are stopped.
        run_iteration(context, name, epoch=started.epoch, tick=0, own_task_id="bench")
        record = context.instances.read(name)
        if record is None or record.tick != 1 or record.errors:
            raise NotPlaced(f"the first iteration of {name} did not work: {record}")


def _key(number: int) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes([FIRST_SEED + number]) * 32)


def _text(key: bytes) -> str:
    return base64.b64encode(key).decode()
