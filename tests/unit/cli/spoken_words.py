"""What is told to people: every message of the command line, with the words that are given in variables."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from string import Formatter

import click
import pytest
from pydantic import BaseModel

from cli import (
    apply,
    events,
    fills,
    guard_checks,
    inventory,
    ledger_status,
    list_instances,
    orders,
    parameter_markdown,
    parameters,
    pnl,
    proof,
    receipt,
    receipt_view,
    reload,
    spoken,
    strategies,
    top_view,
    web,
)
from cli.checks import Level
from cli.commands import COMMANDS
from cli.language import LANGUAGES
from cli.main import run
from cli.top_reading import ORDERS
from ledger import schema
from ledger.export import Exported
from market.instrument import MarketType
from market.orders import OrderStatus, Role, Side
from runner import config_exchanges, config_models
from runner.apply_plan import Action
from runner.pausing import Withdrawal
from runner.receipt import Result
from runner.starting import CALLED_OFF
from runner.stop_progress import STEPS
from state.record import Phase
from strategies.limits import Limits
from strategies.registry import STRATEGIES

ROOT = Path(__file__).parents[3]

CLI = ROOT / "cli"
OTHERS = [language for language in LANGUAGES if language != "en"]
#: What `tr` is given in a variable, with where it is from.
WORDS = {
    *(word for command in COMMANDS.values() for word in (command.section, command.summary)),
    *(str(phase) for phase in Phase),
    *("paused", "never started", "damaged"),
    *("live", "simulated"),
    *("ok", "changed", "invalid", "missing", inventory.FILE_DIFFERS),
    *(str(result) for result in Result),
    *(str(level) for level in Level),
    *STEPS.values(),
    *("stop requested", "cleanup claimed", "stopped", "not clean yet"),
    *receipt_view.FLIGHT_ENDS.values(),
    *receipt_view.FATES.values(),
    *receipt_view.DETAILS,
    proof.NOBODY_KNOWS,
    CALLED_OFF,
    *list_instances.COLUMNS,
    *top_view.COLUMNS,
    *receipt.COLUMNS,
    *reload.COLUMNS,
    *apply.COLUMNS,
    *(str(action) for action in Action),
    *(str(Withdrawal.STOPPED), str(Withdrawal.RESUMED)),
    *ORDERS,
    *events.COLUMNS,
    *events.NAMES,
    *fills.COLUMNS,
    *orders.COLUMNS,
    *(column for columns in (("VENUE",), pnl.FIGURES, *pnl.HEADS.values()) for column in columns),
    guard_checks.ADVICE,
    *(*pnl.SOURCES.values(), pnl.NOBODY),
    *ledger_status.COLUMNS,
    *ledger_status.REJECTED_COLUMNS,
    *(table.name for table in schema.metadata.sorted_tables if table.name not in ledger_status.INTERNAL),
    *("order", "fill", "snapshot", "event"),
    *strategies.COLUMNS,
    *strategies.PARAMETER_COLUMNS,
    *parameter_markdown.COLUMNS,
    *web.COLUMNS,
    *(str(side) for side in Side),
    *(str(status) for status in OrderStatus),
    *(role.name.lower() for role in Role),
    *(str(kind) for kind in MarketType),
    *(str(what) for what in Exported),
    *(
        info.description
        for model in (*vars(config_models).values(), *vars(config_exchanges).values(), Limits)
        if isinstance(model, type) and issubclass(model, BaseModel)
        for info in model.model_fields.values()
        if info.description
    ),
    *(strategy.summary for strategy in STRATEGIES),
    *(
        word
        for strategy in STRATEGIES
        for each in parameters.parameters_of(strategy.params)
        for word in (each.type, each.description)
        if word
    ),
}


#: Who says what people are told.
SPEAKERS = ("tr", "said")
#: Folders that speak to nobody, or in a catalogue of their own.
SILENT = frozenset({"tests", "bench", "simulator", "website", "docs", "build"})


@dataclass(frozen=True, kw_only=True)
class Marked:
    """A message where it is used."""

    where: str
    message: str
    values: frozenset[str]


def marked() -> Iterator[Marked]:
    for path in sorted(ROOT.rglob("*.py")):
        folder = path.relative_to(ROOT).parts[0]
        if folder in SILENT or folder.startswith("."):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and _name(node) in SPEAKERS):
                continue
            if isinstance(node.args[0], ast.Constant):
                yield Marked(
                    where=f"{path.name}:{node.lineno}",
                    message=str(node.args[0].value),
                    values=frozenset(str(keyword.arg) for keyword in node.keywords),
                )


def _name(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else ""


def places(message: str) -> frozenset[str]:
    """Return the places for values; braces that are none, as in ``${NAME}``, stand in texts without any."""
    try:
        return frozenset(name for _, name, _, _ in Formatter().parse(message) if name is not None)
    except ValueError:
        return frozenset()


MARKED = tuple(marked())
#: Where click has the errors that a command line can meet.
CLICK_ERRORS = ("exceptions.py", "parser.py", "types.py")


def words_of_click(*files: str) -> set[str]:
    """Return what click looks up, in some of its files; all of them where none is named."""
    found = set()
    for path in Path(click.__file__).parent.glob("*.py"):
        if files and path.name not in files:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                count = {"_": 1, "ngettext": 2}.get(node.func.id, 0)
                found |= {str(each.value) for each in node.args[:count] if isinstance(each, ast.Constant)}
    return found


def words_of_help(monkeypatch: pytest.MonkeyPatch, *command: str) -> set[str]:
    """Return what the help of a command looks up, but for its examples."""
    asked: set[str] = set()

    def look_up(message: str) -> str:
        asked.add(message)
        return message

    with monkeypatch.context() as patch:
        patch.setattr(spoken, "tr", look_up)
        assert run([*command, "--help"]) == 0
    return {message for message in asked if "manage.py " not in message or message.endswith(".")}


#: Two words, one after the other: not an option, an address, or a setting of a server.
_SENTENCE = re.compile(r"(?<![-/_.=\w])[A-Za-z]{2,}[,;:]? [a-z]{2,}\b")
#: Commands to type, and what programs read.
_FOR_PROGRAMS = re.compile(
    r"(manage\.py|celery|journalctl|chmod 600) [^;:,]*"
    r"|<!-- parameters of .*|maxmemory-policy noeviction|bold (red|yellow)|page (up|down)"
)
#: Calls whose words are looked up elsewhere: help by its page, logs by nobody.
_OTHERS = frozenset({"option", "argument", "LazyCommand", "debug", "info", "warning", "error", "_option"})
#: A server's settings, a page of help, what a process says before it is one, that there is no such language.
_NOT_TOLD = frozenset({"valkey.py", "exit_codes.py", "child.py", "language.py"})


def literals() -> Iterator[Marked]:
    """Yield what reads like a sentence in `cli`, and is neither looked up nor a docstring."""
    for path in sorted(CLI.rglob("*.py")):
        if path.name in _NOT_TOLD:
            continue
        tree = ast.parse(path.read_text())
        skipped = set(_looked_up(tree))
        for node in ast.walk(tree):
            if id(node) in skipped:
                continue
            text = ""
            if isinstance(node, ast.JoinedStr):
                skipped |= {id(part) for part in node.values if isinstance(part, ast.Constant)}
                parts = (part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
                text = "".join(map(str, parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                text = node.value
            if _SENTENCE.search(_FOR_PROGRAMS.sub("", text)):
                yield Marked(
                    where=f"{path.name}:{getattr(node, 'lineno', 0)}", message=text, values=frozenset()
                )


def _looked_up(tree: ast.Module) -> Iterator[int]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else _name(node)
            if called in _OTHERS or called in SPEAKERS:
                yield from (id(each) for given in (*node.args, *node.keywords) for each in ast.walk(given))
        elif isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr):
                yield id(first.value)
