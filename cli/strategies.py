"""`manage.py strategies`: what instances can run, with every parameter."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from typing import Any

import click

from cli.errors import CliError
from cli.exit_codes import EPILOG, ExitCode
from cli.language import told, tr, width, wrapped
from cli.options import debug_option, json_option, output_for
from cli.output import Cell, Output
from cli.parameter_markdown import parameters_markdown
from cli.parameters import Parameter, parameters_of
from runner.config_errors import did_you_mean
from strategies.base import AnyStrategy
from strategies.registry import STRATEGIES, all_strategies, broken_strategies

COLUMNS = ("NAME", "TITLE", "MARKETS", "WHAT IT DOES")
PARAMETER_COLUMNS = ("PARAMETER", "TYPE", "RANGE", "DEFAULT", "OLDER NAMES", "MEANING")
#: The last column of a table is not made narrower than this.
_NARROWEST = 40


@click.command(epilog=EPILOG)
@click.argument("name", required=False)
@click.option("--all", "of_all", is_flag=True, help="Show the parameters of every strategy.")
@click.option("--markdown", "as_markdown", is_flag=True, help="Print the tables of parameters as Markdown.")
@json_option
@debug_option
def strategies(name: str | None, of_all: bool, as_markdown: bool, as_json: bool, debug: bool) -> ExitCode:
    """List the strategies, those of other packages included; with a NAME, show its parameters.

    NAME is what stands in metadata.strategy, or the title. Parameters go into strategy_config of an
    instance file, beside interval and duration, which every strategy has. A package whose strategy cannot be
    used is a warning; the others are not concerned.

    \b
    Examples:
      manage.py strategies
      manage.py strategies maker_hedge
      manage.py strategies --all --json
      manage.py strategies perp_grid --markdown
    """
    output = output_for(as_json)
    if as_markdown and as_json:
        raise click.UsageError(tr("--markdown and --json are two forms of the same: choose one"))
    chosen = _chosen(name)
    for plugin in broken_strategies():
        output.warn(told(plugin.sentence()))
    if as_json:
        output.data({"exit_code": 0, "strategies": [_as_json(one) for one in chosen], "broken": _broken()})
    elif as_markdown:
        output.line("\n\n".join(parameters_markdown(strategy) for strategy in chosen))
    elif name is None and not of_all:
        _show_list(output, chosen)
    else:
        for number, strategy in enumerate(chosen):
            if number:
                output.line()
            _show_parameters(output, strategy)
    return ExitCode.DONE


def _chosen(name: str | None) -> tuple[AnyStrategy, ...]:
    known = all_strategies()
    if name is None:
        return known
    found = tuple(one for one in known if name.lower() in (one.config_name, one.title.lower()))
    if found:
        return found
    for plugin in broken_strategies():
        if name in plugin.names:
            raise CliError(told(plugin.sentence()))
    names = (given for one in known for given in (one.config_name, one.title))
    text = tr("no strategy is called {name}{hint}", name=repr(name), hint=told(did_you_mean(name, names)))
    raise CliError(text, ExitCode.BAD_USAGE)


def _show_list(output: Output, chosen: Sequence[AnyStrategy]) -> None:
    rows = [(one.config_name, one.title, _markets(one), tr(one.summary)) for one in chosen]
    _show_table(output, COLUMNS, rows)
    output.say(tr("manage.py strategies NAME shows the parameters"), "dim")


def _show_parameters(output: Output, strategy: AnyStrategy) -> None:
    head = tr(
        "{name}: {title}, on {markets}",
        name=strategy.config_name,
        title=strategy.title,
        markets=_markets(strategy),
    )
    output.line(head, "name")
    if strategy.summary:
        output.line(tr(strategy.summary))
    rows = [_row(parameter) for parameter in parameters_of(strategy.params)]
    # A column without any entry only takes room.
    kept = [index for index in range(len(PARAMETER_COLUMNS)) if any(row[index] for row in rows)]
    _show_table(
        output, [PARAMETER_COLUMNS[index] for index in kept], [[row[index] for index in kept] for row in rows]
    )
    if strategy.params.inert:
        names = ", ".join(strategy.params.inert)
        output.line(tr("Let pass without effect, from older files: {names}", names=names), "dim")


def _row(parameter: Parameter) -> tuple[str, ...]:
    return (
        parameter.name,
        parameter.type_words,
        parameter.range_words,
        parameter.default_words,
        ", ".join(parameter.older_names),
        tr(parameter.description) if parameter.description else "",
    )


def _show_table(output: Output, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table whose first column is a name and whose last one is a sentence, wrapped on a terminal."""
    last = 0
    if sys.stdout.isatty():
        others = sum(
            max(width(text) for text in column) + 2
            for column in zip(*(row[:-1] for row in (list(map(tr, columns)), *rows)), strict=True)
        )
        last = max(_NARROWEST, shutil.get_terminal_size().columns - others)
    lines: list[list[str | Cell]] = []
    for *cells, sentence in rows:
        parts = wrapped(sentence, last) if last else [sentence]
        lines.append([Cell(text=cells[0], style="name"), *cells[1:], *(parts[:1] or [""])])
        lines += [[*[""] * len(cells), part] for part in parts[1:]]
    output.table(columns, lines)


def _markets(strategy: AnyStrategy) -> str:
    return ", ".join(tr(str(kind)) for kind in sorted(strategy.market_types))


def _as_json(strategy: AnyStrategy) -> dict[str, Any]:
    return {
        "strategy": strategy.config_name,
        "title": strategy.title,
        "market_types": sorted(str(kind) for kind in strategy.market_types),
        "summary": strategy.summary,
        "built_in": strategy in STRATEGIES,
        "parameters": [parameter.as_json() for parameter in parameters_of(strategy.params)],
        "inert": dict(strategy.params.inert),
    }


def _broken() -> list[dict[str, str]]:
    return [
        {
            "entry_point": plugin.entry_point,
            "value": plugin.value,
            "package": plugin.distribution,
            "reason": plugin.reason,
        }
        for plugin in broken_strategies()
    ]
