"""`manage.py new`: a new instance file from a template, sized against the market as it is."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from cli.amounts import money
from cli.errors import CliError, explain
from cli.exit_codes import EPILOG, ExitCode
from cli.language import padded, told, tr
from cli.options import debug_option, json_option, output_for
from cli.output import Output
from cli.session import open_full_context
from runner.config import read_layout
from runner.config_edit import write_file
from runner.config_errors import ConfigError
from runner.lifecycle import StartRefused
from runner.sizing import Sizing, sizing
from runner.templates import from_template, template_names, with_value
from settings import load

if TYPE_CHECKING:
    from runner.context import Context


def _complete_template(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    return [CompletionItem(name) for name in template_names() if name.startswith(incomplete)]


@click.command(epilog=EPILOG)
@click.argument("name")
@click.option(
    "--template", metavar="NAME", shell_complete=_complete_template, help="What to begin with; asked for."
)
@click.option("--symbol", metavar="SYMBOL", default="", help="Market; the template's where none is given.")
@click.option("--live", is_flag=True, help="Real orders with real money; without, the simulated exchange.")
@click.option(
    "--set",
    "values",
    multiple=True,
    metavar="KEY=VALUE",
    help="A parameter, or limits.KEY=VALUE; repeatable.",
)
@click.option("--yes", is_flag=True, help="Ask nothing: what is not given is the template's.")
@click.option("--dry-run", is_flag=True, help="Show the sizing, and write nothing.")
@json_option
@debug_option
def new(
    name: str,
    template: str | None,
    symbol: str,
    live: bool,
    values: tuple[str, ...],
    yes: bool,
    dry_run: bool,
    as_json: bool,
    debug: bool,
) -> ExitCode:
    """Write the file of a new instance: from a template, with the limits of its market, and sized.

    Asks for parameters one by one where there is a terminal. Shows tick, step and smallest order of the
    market, what the first orders come to, the worst case if a whole side is filled, the margin or coins
    needed, and the spread that pays for the fees. The file is written only when it is valid and the strategy
    would start with it. Nothing is started.

    \b
    Examples:
      manage.py new bp_sol_02
      manage.py new bp_eth_01 --template market_maker_perp --symbol ETH_USDC_PERP --set quantity=0.02 --yes
    """
    output = output_for(as_json)
    settings = load()
    path = settings.config_dir / f"{name}.json"
    if path.exists():
        raise CliError(
            tr("{file} exists; edit it, and manage.py reload {name} takes it", file=path, name=name),
            ExitCode.BAD_USAGE,
        )
    asks = not (yes or as_json) and sys.stdin.isatty()
    template = template or (_ask_template() if asks else None)
    if template is None:
        raise CliError(
            tr("--template is needed; there is: {names}", names=", ".join(template_names())),
            ExitCode.BAD_USAGE,
        )
    layout = from_template(template, name, symbol=symbol, live=live)
    if asks and not symbol:
        given = click.prompt(tr("symbol"), default=layout["metadata"]["symbol"], err=True)
        layout = with_value(layout, "metadata.symbol", json.dumps(given))
    for value in values:
        place, equals, text = value.partition("=")
        if not equals:
            raise click.UsageError(tr("--set {value}: write KEY=VALUE", value=repr(value)))
        layout = with_value(layout, place.strip(), text.strip())
    context = open_full_context(settings, debug=debug)
    found = _sized(context, layout, name)
    if asks:
        layout, found = _ask_parameters(context, output, layout, name, found)
    code = ExitCode.BAD_USAGE if found.problems else ExitCode.DONE
    if not as_json:
        _show(output, found)
    if code is ExitCode.DONE and not dry_run:
        _write(path, layout)
    _tell(output, path, layout, found, code, is_written=code is ExitCode.DONE and not dry_run)
    return code


def _sized(context: Context, layout: dict[str, Any], name: str) -> Sizing:
    return sizing(context, read_layout(json.dumps(layout), name, context.settings.environ))


def _ask_template() -> str:
    return str(click.prompt(tr("template"), type=click.Choice(template_names()), err=True))


def _ask_parameters(
    context: Context, output: Output, layout: dict[str, Any], name: str, found: Sizing
) -> tuple[dict[str, Any], Sizing]:
    """Ask for each parameter that the template has; show what it comes to, until the user likes it."""
    while True:
        _show(output, found)
        output.say(tr("Enter keeps what stands in brackets."))
        asked = layout
        for key, value in layout["strategy_config"].items():
            shown = value if isinstance(value, str) else json.dumps(value)
            asked = with_value(asked, key, click.prompt(f"  {key}", default=shown, err=True))
        try:
            found = _sized(context, asked, name)
        except (ConfigError, StartRefused) as error:
            output.say(explain(error).message, "bad")
            continue
        layout = asked
        if found.problems:
            for problem in found.problems:
                output.say(tr("problem: {text}", text=told(problem)), "bad")
        elif click.confirm(tr("Good so?"), default=True, err=True):
            return layout, found


def _write(path: Path, layout: dict[str, Any]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, layout)
    except OSError as error:
        raise CliError(tr("{file} cannot be written: {error}", file=path, error=error.strerror)) from error


def _tell(
    output: Output,
    path: Path,
    layout: dict[str, Any],
    found: Sizing,
    code: ExitCode,
    *,
    is_written: bool,
) -> None:
    if output.as_json:
        output.data(
            {
                "exit_code": int(code),
                "file": str(path),
                "written": is_written,
                "config": layout,
                "sizing": _as_json(found),
            }
        )
        return
    for problem in found.problems:
        output.say(tr("problem: {text}", text=told(problem)), "bad")
    for warning in found.warnings:
        output.warn(told(warning))
    if is_written:
        output.line(tr("{file} is written; manage.py start {name} begins", file=path, name=path.stem), "good")
    else:
        output.say(tr("{file} is not written", file=path))


def _show(output: Output, found: Sizing) -> None:
    for name, text in _lines(found):
        output.line(f"  {padded(name, 22)}{text}")


def _lines(found: Sizing) -> Iterator[tuple[str, str]]:
    rules = found.instrument
    yield tr("market"), tr("{symbol} at {price}", symbol=rules.symbol, price=_plain(found.mid))
    yield tr("tick, step"), f"{rules.tick_size:f} {rules.quote_asset}, {rules.step_size:f} {rules.base_asset}"
    worth = (
        ""
        if found.min_notional is None
        else tr(", about {value}", value=f"{money(found.min_notional)} {rules.quote_asset}")
    )
    yield tr("smallest order"), f"{rules.min_quantity:f} {rules.base_asset}{worth}"
    yield tr("first orders"), tr("{bids} bids, {asks} asks", bids=found.bids, asks=found.asks)
    worst = tr(
        "long {longest} or short {shortest} {asset}",
        longest=f"{found.longest:f}",
        shortest=f"{-found.shortest:f}",
        asset=rules.base_asset,
    )
    if found.exposure is not None:
        worst += tr(", at most {value}", value=f"{money(found.exposure)} {rules.quote_asset}")
    yield tr("worst case"), worst
    for need in found.needs:
        yield (
            tr("needs {asset}", asset=need.asset),
            tr(
                "{needed} of {available} available",
                needed=money(need.needed),
                available=money(need.available),
            ),
        )
    if found.maker_fee_bps is not None and found.break_even_bps is not None:
        wide = (
            ""
            if found.round_bps is None
            else tr(", the innermost is {width} bps wide", width=f"{found.round_bps:.2f}")
        )
        yield (
            tr("fees"),
            tr(
                "{fee} bps a fill: a round breaks even at {even} bps",
                fee=f"{found.maker_fee_bps:f}",
                even=f"{found.break_even_bps:f}",
            )
            + wide,
        )


def _plain(amount: Decimal | None) -> str:
    return "?" if amount is None else f"{amount:f}"


def _as_json(found: Sizing) -> dict[str, Any]:
    rules = found.instrument

    def text(amount: Decimal | None) -> str | None:
        return None if amount is None else f"{amount:f}"

    return {
        "symbol": rules.symbol,
        "mid": text(found.mid),
        "tick_size": text(rules.tick_size),
        "step_size": text(rules.step_size),
        "min_quantity": text(rules.min_quantity),
        "min_notional": text(found.min_notional),
        "bids": found.bids,
        "asks": found.asks,
        "longest": text(found.longest),
        "shortest": text(found.shortest),
        "exposure": text(found.exposure),
        "needs": [
            {"asset": each.asset, "needed": text(each.needed), "available": text(each.available)}
            for each in found.needs
        ],
        "maker_fee_bps": text(found.maker_fee_bps),
        "break_even_bps": text(found.break_even_bps),
        "round_bps": text(found.round_bps),
        "problems": list(found.problems),
        "warnings": list(found.warnings),
    }
