"""`manage.py strategies`: what instances can run, with every parameter."""

from __future__ import annotations

from typing import Any

import click

from cli.exit_codes import EPILOG, ExitCode
from cli.options import debug_option, json_option, output_for
from strategies.base import AnyStrategy
from strategies.registry import STRATEGIES


@click.command(epilog=EPILOG)
@json_option
@debug_option
def strategies(as_json: bool, debug: bool) -> ExitCode:
    """List the strategies and their parameters (`strategy_config` of an instance file).

    \b
    Examples:
      manage.py strategies
    """
    output = output_for(as_json)
    if as_json:
        output.data({"exit_code": 0, "strategies": [_as_json(strategy) for strategy in STRATEGIES]})
        return ExitCode.DONE
    for strategy in STRATEGIES:
        value = _as_json(strategy)
        output.line(
            f"{value['strategy']}: {value['title']}, on {' and '.join(value['market_types'])}", "name"
        )
        for parameter in value["parameters"]:
            default = "required" if parameter["required"] else f"default {parameter['default']}"
            output.line(f"  {parameter['name']:<24}{default:<20}{parameter['description']}")
    return ExitCode.DONE


def _as_json(strategy: AnyStrategy) -> dict[str, Any]:
    return {
        "strategy": strategy.config_name,
        "title": strategy.title,
        "market_types": sorted(str(kind) for kind in strategy.market_types),
        "parameters": [
            {
                "name": name,
                "required": info.is_required(),
                "default": None if info.is_required() or info.default is None else str(info.default),
                "description": info.description or "",
            }
            for name, info in strategy.params.model_fields.items()
        ],
    }
