"""Accounts: who may sign, what they hold, and what they pay."""

from __future__ import annotations

import base64
import json
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

#: What a built-in account begins with: enough for every example.
BALANCES = {"USDC": "1000000", "SOL": "2000", "ETH": "200", "BTC": "20"}
PUBLIC_KEY_BYTES = 32
#: Changes kept of each position, for answers that lag.
CHANGES_KEPT = 10_000
FEES = frozenset({"spot_maker_bps", "spot_taker_bps", "perp_maker_bps", "perp_taker_bps"})


#: What a position was before; the figures held until the time beside them, ms.
PositionBefore = tuple[int, Decimal, Decimal, Decimal, str]


@dataclass(kw_only=True)
class Position:
    """A perpetual position; the entry price is the average cost."""

    net: Decimal = Decimal(0)
    entry: Decimal = Decimal(0)
    realized: Decimal = Decimal(0)
    position_id: str = ""
    #: Funding received (positive) or paid since it was opened.
    funding: Decimal = Decimal(0)
    _before: deque[PositionBefore] = field(default_factory=lambda: deque(maxlen=CHANGES_KEPT), repr=False)

    def remember(self, at_ms: int) -> None:
        """Keep what it is until now, before it changes."""
        self._before.append((at_ms, self.net, self.entry, self.realized, self.position_id))

    def as_at(self, at_ms: int) -> Position:
        """Return what it was at a time, or as long ago as is known."""
        then = (0, self.net, self.entry, self.realized, self.position_id)
        for before in reversed(self._before):
            if before[0] <= at_ms:
                break
            then = before
        _, net, entry, realized, position_id = then
        return Position(
            net=net, entry=entry, realized=realized, position_id=position_id, funding=self.funding
        )


@dataclass(kw_only=True)
class Account:
    """One account of the simulated exchange."""

    name: str
    #: Base64 of the ED25519 public key.
    public_key: str
    #: Further keys that open it.
    more_keys: tuple[str, ...] = ()
    balances: dict[str, Decimal] = field(default_factory=dict)
    locked: dict[str, Decimal] = field(default_factory=dict)
    positions: dict[str, Position] = field(default_factory=dict)
    spot_maker_bps: Decimal = Decimal(8)
    spot_taker_bps: Decimal = Decimal(10)
    perp_maker_bps: Decimal = Decimal(2)
    perp_taker_bps: Decimal = Decimal(5)
    #: What `PATCH /api/v1/account` sets: this one decides the margin, the switches are only shown.
    leverage_limit: Decimal = Decimal(20)
    switches: dict[str, bool] = field(
        default_factory=lambda: {"autoBorrowSettlements": True, "autoLend": False, "autoRepayBorrows": True}
    )
    user_id: int = 1
    #: Called with the account and an asset at every change of a balance, or of what orders hold of it.
    on_change: Callable[[Account, str], None] | None = field(default=None, repr=False)

    def available(self, asset: str) -> Decimal:
        """Return what is not held by open orders."""
        return self.balances.get(asset, Decimal(0)) - self.locked.get(asset, Decimal(0))

    def net(self, symbol: str) -> Decimal:
        """Return the position in a perpetual, signed; zero when there is none."""
        position = self.positions.get(symbol)
        return position.net if position else Decimal(0)

    def add(self, asset: str, amount: Decimal) -> None:
        """Change a balance."""
        self.balances[asset] = self.balances.get(asset, Decimal(0)) + amount
        self._changed(asset)

    def lock(self, asset: str, amount: Decimal) -> None:
        """Change what open orders hold; negative frees."""
        self.locked[asset] = self.locked.get(asset, Decimal(0)) + amount
        self._changed(asset)

    def _changed(self, asset: str) -> None:
        if self.on_change is not None:
            self.on_change(self, asset)

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
            balances=_balances(BALANCES),
            user_id=seed,
        )
        for name, seed in (("demo", 1), ("other", 2))
    }


class AccountsError(ValueError):
    """Raised when a file of accounts is not understood; names what is wrong."""


def load(path: Path) -> dict[str, Account]:
    """Return the built-in accounts together with those of a JSON list of `{"name", "public_key", ...}`.

    `more_keys` (further public keys), `balances` (by asset) and the fees (`spot_maker_bps`, …) are optional;
    one that is named like a built-in account changes that one. Raises `AccountsError`, `OSError`.
    """
    accounts = built_in()
    try:
        for item in json.loads(path.read_text(encoding="utf-8"), parse_float=Decimal):
            _merge(accounts, dict(item))
    except (ValueError, KeyError, TypeError, AttributeError, InvalidOperation) as error:
        raise AccountsError(f"{path}: expected a list of accounts: {error!r}") from error
    return accounts


def _merge(accounts: dict[str, Account], item: dict[str, Any]) -> None:
    name = item.pop("name")
    account = accounts.get(name) or Account(
        name=name, public_key=item["public_key"], balances=_balances(BALANCES), user_id=len(accounts) + 1
    )
    account.public_key = item.pop("public_key", account.public_key)
    account.more_keys = tuple(item.pop("more_keys", account.more_keys))
    for key in (account.public_key, *account.more_keys):
        if len(base64.b64decode(key, validate=True)) != PUBLIC_KEY_BYTES:
            raise ValueError(f"{name}: a public key is the base64 of {PUBLIC_KEY_BYTES} bytes")
    if "balances" in item:
        account.balances = _balances(item.pop("balances"))
    for field_name, value in item.items():
        if field_name not in FEES:
            raise ValueError(f"{name}: unknown field {field_name!r}")
        setattr(account, field_name, Decimal(str(value)))
    accounts[name] = account


def _balances(amounts: Mapping[str, Any]) -> dict[str, Decimal]:
    return {asset: Decimal(str(amount)) for asset, amount in amounts.items()}
