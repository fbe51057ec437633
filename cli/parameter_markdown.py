"""The parameters of a strategy as a Markdown table, for a page of documentation."""

from __future__ import annotations

from cli.language import tr
from cli.parameters import Parameter, parameters_of
from strategies.base import AnyStrategy

COLUMNS = ("parameter", "type", "range", "default", "meaning", "older names")


def parameters_markdown(strategy: AnyStrategy) -> str:
    """Return a comment that names the strategy, the table, and the keys that are let pass.

    There is no line break at the end. A page that holds this text can be compared with it.
    """
    markets = " and ".join(sorted(kind.value for kind in strategy.market_types))
    rows = [tuple(map(tr, COLUMNS)), *(_row(parameter) for parameter in parameters_of(strategy.params))]
    # A column without any entry only takes room.
    kept = [index for index in range(len(COLUMNS)) if any(row[index] for row in rows[1:])]
    head, *lines = (f"| {' | '.join(row[index] for index in kept)} |" for row in rows)
    title = f"<!-- parameters of {strategy.config_name} on {markets} -->"
    text = [title, head, "|---" * len(kept) + "|", *lines]
    if strategy.params.inert:
        names = ", ".join(f"`{name}`" for name in strategy.params.inert)
        text += ["", tr("Let pass without effect, from older files: {names}", names=names) + tr(".")]
    return "\n".join(text)


def _row(parameter: Parameter) -> tuple[str, ...]:
    choices = ", ".join(f'`"{choice}"`' for choice in parameter.choices)
    default = parameter.default_words
    if parameter.default is not None and parameter.choices:
        default = f'"{default}"'
    cells = (
        f"`{parameter.name}`",
        (choices or tr(parameter.type)) + (", `null`" if parameter.nullable else ""),
        parameter.range_words.replace(">=", "≥").replace("<=", "≤"),
        default if parameter.required else f"`{default}`",
        tr(parameter.description) if parameter.description else "",
        ", ".join(f"`{name}`" for name in parameter.older_names),
    )
    return tuple(cell.replace("|", "\\|").replace("\n", " ") for cell in cells)
