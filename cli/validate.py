"""`manage.py validate` and `manage.py schema`: instance files, checked and described."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from cli.exit_codes import EPILOG, ExitCode
from cli.language import padded, told, tr
from cli.names import complete_instance, configured
from cli.options import debug_option, json_option, output_for
from cli.output import Output
from runner.config import ConfigError, load_instance
from settings import Settings, load


@click.command(epilog=EPILOG)
@click.argument("targets", nargs=-1, metavar="[NAME|FILE]...", shell_complete=complete_instance)
@json_option
@debug_option
def validate(targets: tuple[str, ...], as_json: bool, debug: bool) -> ExitCode:
    """Check instance files, by name or path; all of them when none is named. Needs no server.

    \b
    Examples:
      manage.py validate
      manage.py validate bp_sol_01
      manage.py validate drafts/bp_sol_02.json --json
    """
    output = output_for(as_json)
    settings = load()
    chosen = targets or configured(settings.config_dir)
    reports = [_report(settings, target) for target in chosen]
    code = ExitCode.DONE if all(report["ok"] for report in reports) else ExitCode.BAD_USAGE
    if as_json:
        output.data({"exit_code": int(code), "files": reports})
    else:
        for report in reports:
            _show(output, report)
    if not chosen:
        output.say(tr("no instance files in {folder}", folder=settings.config_dir))
    return code


@click.command(epilog=EPILOG)
@json_option
@debug_option
def schema(as_json: bool, debug: bool) -> ExitCode:
    """Print the JSON Schema of instance files, for editors.

    \b
    Examples:
      manage.py schema > config/instance.schema.json
    """
    from runner.config_schema import json_schema

    # The schema is the one JSON object either way; --json is accepted as everywhere.
    click.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))
    return ExitCode.DONE


def _report(settings: Settings, target: str) -> dict[str, Any]:
    path = Path(target)
    is_file = path.suffix == ".json" or len(path.parts) > 1
    name, folder = (path.stem, path.parent) if is_file else (target, settings.config_dir)
    report: dict[str, Any] = {"target": target, "ok": True, "warnings": [], "problems": []}
    try:
        report["warnings"] = [told(each) for each in load_instance(name, folder, settings.environ).warnings]
    except ConfigError as error:
        report["ok"] = False
        report["problems"] = [
            {"path": told(each.path), "message": told(each.message)} for each in error.problems
        ]
    return report


def _show(output: Output, report: dict[str, Any]) -> None:
    target = report["target"]
    count = len(report["problems"])
    if report["ok"]:
        output.line(f"{padded(tr('ok'), 6)}{target}", "good")
    else:
        problems = tr("1 problem") if count == 1 else tr("{count} problems", count=count)
        output.line(f"{padded(tr('wrong'), 6)}{target}: {problems}", "bad")
    for problem in report["problems"]:
        output.line(f"        {problem['path']}: {problem['message']}")
    for warning in report["warnings"]:
        output.line(f"        {tr('warning: {text}', text=warning)}", "warn")
