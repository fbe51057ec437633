"""`manage.py orders`: the orders of an instance, as the ledger has been told of them."""

from __future__ import annotations

from typing import Any

import click

from cli.amounts import as_told, exact, print_table
from cli.exit_codes import LEDGER_EPILOG
from cli.language import tr
from cli.ledger_access import open_books, require_instances
from cli.ledger_options import (
    csv_option,
    instance_argument,
    limit_option,
    one_line,
    refuse_both,
    run_option,
    say_cut,
    tell_rows,
)
from cli.options import debug_option, json_option, output_for
from cli.output import Cell, Output, iso
from cli.when import since_option
from ledger import queries
from ledger.queries import OrderRecord
from market.orders import role_name

COLUMNS = (
    *("UPDATED", "SYMBOL", "SIDE", "PRICE", "QUANTITY", "EXECUTED", "STATUS", "ROLE", "LEVEL", "RUN"),
    *("ORDER", "REASON"),
)
NUMBERS = ("PRICE", "QUANTITY", "EXECUTED", "LEVEL", "RUN")
FIELDS = (
    *("updated_at", "created_at", "account", "instance_id", "epoch", "symbol", "order_id"),
    *("client_order_id", "level", "role", "side", "price", "quantity", "executed", "status", "reason"),
)
STATUS_STYLES = {"new": "name", "partially_filled": "name", "filled": "good", "trigger_failed": "bad"}


@click.command(epilog=LEDGER_EPILOG)
@instance_argument
@limit_option
@since_option
@click.option("--open", "open_only", is_flag=True, help="Only orders that rest, as far as was told.")
@run_option
@csv_option
@json_option
@debug_option
def orders(
    name: str,
    limit: int,
    since_ms: int | None,
    open_only: bool,
    epoch: int | None,
    as_csv: bool,
    as_json: bool,
    debug: bool,
) -> int:
    """Show the orders of an instance with their last known state, newest first.

    The state is what was told to the ledger; only the exchange knows what rests on it now.

    \b
    Examples:
      manage.py orders bp_sol_01
      manage.py orders bp_sol_01 --open
      manage.py orders bp_sol_01 --run 3 --since 2h --json
      manage.py orders bp_sol_01 --limit 1000 --csv > orders.csv
    """
    refuse_both(as_json=as_json, as_csv=as_csv)
    output = output_for(as_json)
    with open_books(output, debug=debug) as books:
        (name,) = require_instances(books, [name])
        found = queries.orders(
            books.ledger, name, limit=limit + 1, since_ms=since_ms, open_only=open_only, epoch=epoch
        )
        rows = [_fields(order) for order in found[:limit]]
        code = tell_rows(
            output,
            books,
            what="orders",
            rows=rows,
            columns=FIELDS,
            as_csv=as_csv,
            more={"has_more": len(found) > limit},
            show=lambda: _show(output, found[:limit]),
        )
    say_cut(output, "orders", limit=limit, is_cut=len(found) > limit)
    return code


def _show(output: Output, found: tuple[OrderRecord, ...]) -> None:
    print_table(output, COLUMNS, [_row(order) for order in found], NUMBERS)


def _row(order: OrderRecord) -> list[str | Cell]:
    return [
        str(iso(order.updated_at_ms)),
        order.symbol,
        tr(str(order.side)),
        tr("market") if order.price is None else as_told(order.price),
        as_told(order.quantity),
        as_told(order.executed),
        Cell(text=tr(str(order.status)), style=STATUS_STYLES.get(order.status, "")),
        tr(role_name(order.role) or "-"),
        "-" if order.level is None else str(order.level),
        str(order.epoch or "-"),
        order.order_id,
        one_line(order.reason),
    ]


def _fields(order: OrderRecord) -> dict[str, Any]:
    return {
        "updated_at": iso(order.updated_at_ms),
        "created_at": iso(order.created_at_ms or None),
        "account": order.account,
        "instance_id": order.instance_id,
        "epoch": order.epoch,
        "symbol": order.symbol,
        "order_id": order.order_id,
        "client_order_id": order.client_order_id,
        "level": order.level,
        "role": role_name(order.role),
        "side": str(order.side),
        "price": exact(order.price),
        "quantity": exact(order.quantity),
        "executed": exact(order.executed),
        "status": str(order.status),
        "reason": order.reason,
    }
