"""Whatever happens, balances and positions are what the fills say, and nothing is held without an order."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.accounts import BALANCES, Account
from simulator.errors import Refusal
from simulator.orders import Fill
from tests.unit.simulator.small_exchange import PERP, SPOT, SmallExchange

Action = tuple[str, str, str, int, int, str]

actions = st.lists(
    st.tuples(
        st.sampled_from(["limit", "limit", "limit", "market", "cancel", "trade", "quote"]),
        st.sampled_from(["demo", "other"]),
        st.sampled_from(["Bid", "Ask"]),
        st.integers(95, 105),
        st.integers(1, 900),
        st.sampled_from(["GTC", "IOC", "FOK", "postOnly", "reduceOnly", "RejectMaker", "RejectBoth"]),
    ),
    max_size=40,
)


def act(exchange: SmallExchange, symbol: str, action: Action) -> None:
    kind, name, side, price, quantity, option = action
    account = exchange.engine.accounts[name]
    if kind == "cancel":
        for order in exchange.engine.resting.of_account(account, symbol)[:1]:
            exchange.engine.cancel(order)
    elif kind == "trade":
        exchange.trade(str(price), str(quantity), sells=side == "Ask", symbol=symbol)
    elif kind == "quote":
        exchange.show(str(price), str(price + 1), symbol=symbol)
    else:
        with suppress(Refusal):
            exchange.place(
                account,
                side,
                None if kind == "market" else str(price),
                str(quantity),
                symbol=symbol,
                **_fields(kind, option),
            )


def _fields(kind: str, option: str) -> dict[str, object]:
    if option in {"postOnly", "reduceOnly"}:
        return {option: True} if kind == "limit" or option == "reduceOnly" else {}
    if option.startswith("Reject"):
        return {"selfTradePrevention": option}
    return {"timeInForce": option}


def _sum(values: Iterable[Decimal]) -> Decimal:
    return sum(values, Decimal(0))


def _fees(fills: Iterable[Fill], asset: str) -> Decimal:
    return _sum(fill.fee for fill in fills if fill.fee_asset == asset)


def _bought(fills: Iterable[Fill]) -> Decimal:
    return _sum(fill.quantity if fill.order.wanted.buys else -fill.quantity for fill in fills)


def _paid(fills: Iterable[Fill]) -> Decimal:
    return _sum(fill.price * (fill.quantity if fill.order.wanted.buys else -fill.quantity) for fill in fills)


def _executed_as_filled(exchange: SmallExchange, account: Account) -> bool:
    engine = exchange.engine
    return all(
        order.executed
        == _sum(fill.quantity for fill in engine.fills.rows(account.name) if fill.order is order)
        for order in engine.orders.rows(account.name)
    )


@given(actions)
def test_spot_balances_are_what_the_fills_say_and_never_negative(chosen: list[Action]) -> None:
    exchange = SmallExchange()
    for action in chosen:
        act(exchange, SPOT, action)
        for account in (exchange.demo, exchange.other):
            resting = exchange.engine.resting.of_account(account)
            held = {
                "USDC": _sum(o.price * o.remaining for o in resting if o.wanted.buys),
                "SOL": _sum(o.remaining for o in resting if not o.wanted.buys),
            }
            for asset, amount in held.items():
                assert account.locked.get(asset, Decimal(0)) == amount
                assert account.available(asset) >= 0
    for account in (exchange.demo, exchange.other):
        fills = exchange.engine.fills.rows(account.name)
        changes = {asset: account.balances[asset] - Decimal(BALANCES[asset]) for asset in ("SOL", "USDC")}
        assert changes["SOL"] == _bought(fills) - _fees(fills, "SOL")
        assert changes["USDC"] == -_paid(fills) - _fees(fills, "USDC")
        assert _executed_as_filled(exchange, account)


@given(actions)
def test_positions_are_what_the_fills_say_and_reduce_only_never_opens_one(chosen: list[Action]) -> None:
    exchange = SmallExchange()
    # The margin is not what this is about.
    for account in (exchange.demo, exchange.other):
        account.leverage_limit = Decimal(1000)
    for action in chosen:
        before = {account.name: account.net(PERP) for account in (exchange.demo, exchange.other)}
        counts = {name: len(exchange.engine.fills.rows(name)) for name in before}
        act(exchange, PERP, action)
        for account in (exchange.demo, exchange.other):
            net = before[account.name]
            for fill in exchange.engine.fills.rows(account.name)[counts[account.name] :]:
                after = net + (fill.quantity if fill.order.wanted.buys else -fill.quantity)
                if fill.order.wanted.reduce_only:
                    assert abs(after) < abs(net)
                    assert after * net >= 0
                net = after
            assert account.net(PERP) == net
    for account in (exchange.demo, exchange.other):
        fills = exchange.engine.fills.rows(account.name)
        position = account.positions.get(PERP)
        realized, entry = (position.realized, position.entry) if position else (Decimal(0), Decimal(0))
        change = account.balances["USDC"] - Decimal(BALANCES["USDC"])
        assert abs(change - realized + _fees(fills, "USDC")) < Decimal("1e-9")
        # Profit so far is money received less money paid, with what is held valued at its cost.
        assert abs(realized - (account.net(PERP) * entry - _paid(fills))) < Decimal("1e-9")
        assert _executed_as_filled(exchange, account)


@settings(max_examples=30)
@given(actions)
def test_the_same_commands_leave_the_same_journal(chosen: list[Action]) -> None:
    def journal() -> list[str]:
        exchange = SmallExchange()
        for action in chosen:
            act(exchange, SPOT, action)
            act(exchange, PERP, action)
        return exchange.journal.lines_since(0)

    assert journal() == journal()
