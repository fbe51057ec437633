"""Accounts: who may sign, what they hold, and what they pay."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

#: What a built-in account begins with: enough for every example.
BALANCES = {"USDC": "1000000", "SOL": "2000", "ETH": "200", "BTC": "20"}


@dataclass(kw_only=True)
class Position:
    """A perpetual position; the entry price is the average cost."""

    net: Decimal = Decimal(0)
    entry: Decimal = Decimal(0)
    realized: Decimal = Decimal(0)
    position_id: str = ""


@dataclass(kw_only=True)
class Account:
    """One account of the simulated exchange."""

    name: str
    #: Base64 of the ED25519 public key.
    public_key: str
    balances: dict[str, Decimal] = field(default_factory=dict)
    locked: dict[str, Decimal] = field(default_factory=dict)
    positions: dict[str, Position] = field(default_factory=dict)
    spot_maker_bps: Decimal = Decimal(8)
    spot_taker_bps: Decimal = Decimal(10)
    perp_maker_bps: Decimal = Decimal(2)
    perp_taker_bps: Decimal = Decimal(5)

    def available(self, asset: str) -> Decimal:
        """Return what is not held by open orders."""
        return self.balances.get(asset, Decimal(0)) - self.locked.get(asset, Decimal(0))

    def add(self, asset: str, amount: Decimal) -> None:
        """Change a balance."""
        self.balances[asset] = self.balances.get(asset, Decimal(0)) + amount

    def lock(self, asset: str, amount: Decimal) -> None:
        """Change what open orders hold; negative frees."""
        self.locked[asset] = self.locked.get(asset, Decimal(0)) + amount

    def fee_bps(self, *, perp: bool, maker: bool) -> Decimal:
        """Return the fee in basis points."""
        if perp:
            return self.perp_maker_bps if maker else self.perp_taker_bps
        return self.spot_maker_bps if maker else self.spot_taker_bps


def _public_key(seed_byte: int) -> str:
    key = Ed25519PrivateKey.from_private_bytes(bytes([seed_byte]) * 32)
    return base64.b64encode(key.public_key().public_bytes_raw()).decode()


def built_in() -> dict[str, Account]:
    """Return `demo` (private key 32 bytes of 0x01) and the third party `other` (0x02), by name."""
    return {
        name: Account(
            name=name,
            public_key=_public_key(seed),
            balances={asset: Decimal(amount) for asset, amount in BALANCES.items()},
        )
        for name, seed in (("demo", 1), ("other", 2))
    }


def load(path: Path) -> dict[str, Account]:
    """Return accounts from a JSON list of `{"name", "public_key", "balances", "..._bps"}`."""
    accounts = {}
    for item in json.loads(path.read_text(encoding="utf-8")):
        fees: dict[str, Any] = {
            key: Decimal(str(value)) for key, value in item.items() if key.endswith("_bps")
        }
        accounts[item["name"]] = Account(
            name=item["name"],
            public_key=item["public_key"],
            balances={k: Decimal(str(v)) for k, v in item.get("balances", BALANCES).items()},
            **fees,
        )
    return accounts
