"""The entry: commands that are imported when used, and one boundary from errors to exit codes."""

from __future__ import annotations

import difflib
import importlib
import sys
import traceback
from collections.abc import Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import NoReturn

import click
from click.shell_completion import CompletionItem

from cli.commands import COMMANDS
from cli.errors import explain
from cli.exit_codes import EPILOG, ExitCode
from cli.language import ENGLISH, LANGUAGES, language_in, tr, use
from cli.options import output_for
from cli.spoken import SpokenContext
from cli.version import show_version
from cores import forbid_core_dumps
from settings import environment


class LazyGroup(click.Group):
    """A group that imports a command when it is called, so that `stop` waits for nothing else."""

    context_class = SpokenContext

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command."""
        if cmd_name not in COMMANDS:
            return None
        module, name = COMMANDS[cmd_name].path.split(":")
        command = getattr(importlib.import_module(module), name)
        assert isinstance(command, click.Command)
        command.context_class = SpokenContext
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or say which one was meant."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            # Who types the beginning of a name means that one, not one that looks alike.
            near = [name for name in COMMANDS if name.startswith(args[0])][:1]
            near = near or difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = (
                tr("did you mean {name}?", name=repr(near[0]))
                if near
                else tr("there is: {names}", names=", ".join(COMMANDS))
            )
            ctx.fail(tr("no command {name}; {hint}", name=repr(args[0]), hint=hint))
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete a command's name without importing any, or an option of our own."""
        found = [
            CompletionItem(name, help=command.summary)
            for name, command in COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return found or click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands by section without importing them."""
        for section in dict.fromkeys(command.section for command in COMMANDS.values()):
            rows = [(name, c.summary) for name, c in COMMANDS.items() if c.section == section]
            with formatter.section(tr(section)):
                formatter.write_dl(rows)


@click.group(cls=LazyGroup, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
# Taken out of the arguments before they are parsed, so that it may stand anywhere.
@click.option(
    "--lang",
    type=click.Choice(LANGUAGES),
    expose_value=False,
    help="Language of what people read, anywhere in the line; scripts read English.  [CLEANBOOK_LANG]",
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=show_version,
    help="Show the version and end.",
)
def group() -> None:
    """Market making as short tasks, with a stop that proves that no order is left.

    NAME is an instance: its file in config/active, without .json.

    Commands take --json, and --debug. Data goes to standard output, progress and
    warnings to standard error.

    \b
    Examples:
      manage.py start bp_sol_01
      manage.py stop bp_sol_01
      manage.py stop --all --json
      manage.py doctor
    """


def main() -> NoReturn:
    """Run the command line and end the process."""
    forbid_core_dumps()
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code. Errors become one line, never a traceback without --debug."""
    program = Path(sys.argv[0]).name or "manage.py"
    _print_anything()
    try:
        arguments = _speak(arguments)
        code = group.main(args=list(arguments), prog_name=program, standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return ExitCode.BAD_USAGE
    except click.ClickException as error:
        return _tell(arguments, error, error.format_message(), ExitCode.BAD_USAGE)
    except (KeyboardInterrupt, click.Abort) as error:
        return _tell(arguments, error, tr("interrupted"), ExitCode.FAILED)
    except BrokenPipeError:
        # The reader of our output has gone, for example `head`; say nothing at the exit either.
        sys.stdout = None
        return ExitCode.FAILED
    except Exception as error:  # noqa: BLE001 - the boundary: users get a sentence, not a traceback
        failure = explain(error)
        return _tell(arguments, error, failure.message, failure.code)
    return code if isinstance(code, int) else ExitCode.DONE


def _speak(arguments: Sequence[str]) -> list[str]:
    """Choose the language, and return the arguments without it; scripts are always told the same words."""
    use(ENGLISH)
    try:
        left, language = language_in(arguments, environment().get("CLEANBOOK_LANG", "").strip() or ENGLISH)
    except ValueError as error:
        raise click.UsageError(f"--lang, CLEANBOOK_LANG: {error}") from None
    if not {"--json", "--csv"} & set(left):
        use(language)
    return left


def _print_anything() -> None:
    """Let no character stop a message: bytes of an argument that are no text, a terminal without UTF-8."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _tell(arguments: Sequence[str], error: BaseException, message: str, code: ExitCode) -> ExitCode:
    output = output_for("--json" in arguments)
    if "--debug" in arguments:
        traceback.print_exception(error)
    if isinstance(error, click.UsageError) and error.ctx is not None:
        message = f"{message}\n{tr('Try: {command}', command=f'{error.ctx.command_path} --help')}"
    output.say(tr("error: {text}", text=message), "bad")
    if output.as_json:
        output.data({"exit_code": int(code), "error": message})
    return code
