"""`manage.py reload`: have running instances take their edited files, without a restart."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from cli.errors import explain
from cli.exit_codes import EPILOG, ExitCode
from cli.language import told, tr
from cli.names import require_known
from cli.options import debug_option, json_option, names_argument, output_for
from cli.output import Cell, Output
from cli.session import open_full_context, open_session, who
from runner.config import ConfigError, load_instance
from runner.config_change import ChangeRefused, ConfigChange, change_config
from state.connection import StateError

if TYPE_CHECKING:
    from runner.context import Context

COLUMNS = ("INSTANCE", "FIELD", "NOW", "NEW", "TAKES EFFECT")


@dataclass(frozen=True, kw_only=True)
class _Report:
    instance_id: str
    code: ExitCode
    message: str
    change: ConfigChange | None = None

    def as_json(self) -> dict[str, Any]:
        change = self.change
        return {
            "instance_id": self.instance_id,
            "message": self.message,
            "applied": change is not None and change.at_ms is not None,
            "takes_effect": change.takes_effect if change else "",
            "base_version": change.base_version if change else "",
            "version": change.version if change else "",
            "changed": [each.as_json() for each in change.changed] if change else [],
            "warnings": list(change.warnings) if change else [],
        }


@click.command(epilog=EPILOG)
@names_argument(required=True)
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@json_option
@debug_option
def reload(names: tuple[str, ...], dry_run: bool, as_json: bool, debug: bool) -> ExitCode:
    """Have running instances take their edited files from their next iteration on, which follows at once.

    What a run cannot change (where it trades, and what its strategy has built its state on) is named and
    refused, and then nothing of that instance is changed: restart it.

    \b
    Examples:
      manage.py reload bp_sol_01 --dry-run
      manage.py reload bp_sol_01
    """
    output = output_for(as_json)
    session = open_session()
    chosen = require_known(session, names)
    context = open_full_context(session.settings, debug=debug)
    reports = [_reload(context, name, dry_run=dry_run) for name in chosen]
    code = max(report.code for report in reports)
    if as_json:
        output.data({"exit_code": int(code), "instances": [report.as_json() for report in reports]})
        return code
    show_changes(output, [report.change for report in reports if report.change is not None])
    for report in reports:
        output.line(f"{report.instance_id}: {report.message}", "bad" if report.code else "good")
    return code


def _reload(context: Context, name: str, *, dry_run: bool) -> _Report:
    settings = context.settings
    try:
        config = load_instance(name, settings.config_dir, settings.environ).config
        change = change_config(context, config, by=who(), dry_run=dry_run)
    except ChangeRefused as error:
        return _Report(instance_id=name, code=ExitCode.FAILED, message=told(error).removeprefix(f"{name}: "))
    except (ConfigError, StateError) as error:
        failure = explain(error)
        return _Report(instance_id=name, code=failure.code, message=failure.message)
    return _Report(instance_id=name, code=ExitCode.DONE, message=_outcome(change), change=change)


def _outcome(change: ConfigChange) -> str:
    if not change.changed:
        return tr("its run has this configuration already")
    if change.at_ms is not None:
        return tr(
            "configuration {version} from the next iteration on (run {epoch})",
            version=change.version,
            epoch=change.epoch,
        )
    if change.needs_restart:
        return tr("takes a restart: manage.py restart {name}", name=change.instance_id)
    return tr("could be changed without a restart; nothing was changed")


def show_changes(output: Output, changes: Sequence[ConfigChange]) -> None:
    """Print the fields that differ in one table, and what is to be said of them."""
    rows = [
        [
            Cell(text=change.instance_id, style="name"),
            each.field,
            json.dumps(each.old, ensure_ascii=False),
            json.dumps(each.new, ensure_ascii=False),
            Cell(text=tr("restart"), style="warn") if each.needs_restart else tr("next iteration"),
        ]
        for change in changes
        for each in change.changed
    ]
    if rows:
        output.table(COLUMNS, rows)
    for change in changes:
        for warning in change.warnings:
            output.warn(f"{change.instance_id}: {told(warning)}")
