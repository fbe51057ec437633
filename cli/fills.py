"""`manage.py fills`: the executions of an instance's orders."""

from __future__ import annotations

from typing import Any

import click

from cli.amounts import as_told, exact, money, print_table
from cli.exit_codes import LEDGER_EPILOG
from cli.language import tr
from cli.ledger_access import open_books, require_instances
from cli.ledger_options import (
    csv_option,
    instance_argument,
    limit_option,
    refuse_both,
    run_option,
    say_cut,
    tell_rows,
)
from cli.options import debug_option, json_option, output_for
from cli.output import Cell, Output, iso
from cli.when import since_option
from ledger import queries
from ledger.queries import FillRecord
from market.orders import role_name

COLUMNS = (
    *("FILLED", "SYMBOL", "SIDE", "PRICE", "QUANTITY", "VALUE", "FEE", "IN", "LIQUIDITY", "ROLE", "LEVEL"),
    *("RUN", "ORDER", "TRADE"),
)
NUMBERS = ("PRICE", "QUANTITY", "VALUE", "FEE", "LEVEL", "RUN")
FIELDS = (
    *("filled_at", "account", "instance_id", "epoch", "symbol", "market_type", "base_asset", "quote_asset"),
    *("order_id", "trade_id", "client_order_id", "level", "role", "side", "price", "quantity"),
    *("fee", "fee_asset", "is_maker", "is_system", "source"),
)


@click.command(epilog=LEDGER_EPILOG)
@instance_argument
@limit_option
@since_option
@run_option
@csv_option
@json_option
@debug_option
def fills(
    name: str,
    limit: int,
    since_ms: int | None,
    epoch: int | None,
    as_csv: bool,
    as_json: bool,
    debug: bool,
) -> int:
    """Show the fills of an instance, newest first.

    VALUE is price times quantity, in the quote asset. A negative FEE is a rebate. "system" marks what
    the exchange did of its own accord, such as a liquidation.

    \b
    Examples:
      manage.py fills bp_sol_01
      manage.py fills bp_sol_01 --since 3d --limit 500
      manage.py fills bp_sol_01 --run 3 --json
      manage.py fills bp_sol_01 --since 2026-03-01 --limit 100000 --csv > fills.csv
    """
    refuse_both(as_json=as_json, as_csv=as_csv)
    output = output_for(as_json)
    with open_books(output, debug=debug) as books:
        (name,) = require_instances(books, [name])
        found = queries.fills(books.ledger, name, limit=limit + 1, since_ms=since_ms, epoch=epoch)
        code = tell_rows(
            output,
            books,
            what="fills",
            rows=[_fields(fill) for fill in found[:limit]],
            columns=FIELDS,
            as_csv=as_csv,
            more={"has_more": len(found) > limit},
            show=lambda: _show(output, found[:limit]),
        )
    say_cut(output, "fills", limit=limit, is_cut=len(found) > limit)
    return code


def _show(output: Output, found: tuple[FillRecord, ...]) -> None:
    print_table(output, COLUMNS, [_row(fill) for fill in found], NUMBERS)


def _row(fill: FillRecord) -> list[str | Cell]:
    liquidity = tr("maker") if fill.is_maker else tr("taker")
    return [
        str(iso(fill.filled_at_ms)),
        fill.symbol,
        tr(str(fill.side)),
        as_told(fill.price),
        as_told(fill.quantity),
        money(fill.price * fill.quantity),
        as_told(fill.fee),
        fill.fee_asset,
        Cell(text=f"{liquidity}{tr(', ')}{tr('system')}", style="warn") if fill.is_system else liquidity,
        tr(role_name(fill.role) or "-"),
        "-" if fill.level is None else str(fill.level),
        str(fill.epoch or "-"),
        fill.order_id,
        fill.trade_id,
    ]


def _fields(fill: FillRecord) -> dict[str, Any]:
    return {
        "filled_at": iso(fill.filled_at_ms),
        "account": fill.account,
        "instance_id": fill.instance_id,
        "epoch": fill.epoch,
        "symbol": fill.symbol,
        "market_type": fill.market_type,
        "base_asset": fill.base_asset,
        "quote_asset": fill.quote_asset,
        "order_id": fill.order_id,
        "trade_id": fill.trade_id,
        "client_order_id": fill.client_order_id,
        "level": fill.level,
        "role": role_name(fill.role),
        "side": str(fill.side),
        "price": exact(fill.price),
        "quantity": exact(fill.quantity),
        "fee": exact(fill.fee),
        "fee_asset": fill.fee_asset,
        "is_maker": fill.is_maker,
        "is_system": fill.is_system,
        "source": fill.source,
    }
