"""`manage.py completion`: the script that makes a shell complete commands, options and instance names."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from cli.exit_codes import EPILOG, ExitCode

SHELLS = ("bash", "zsh", "fish")


def complete_variable(program: str) -> str:
    """Return the variable by which a shell asks `program` for completions."""
    return f"_{program}_COMPLETE".replace("-", "_").replace(".", "_").upper()


@click.command(epilog=EPILOG)
@click.argument("shell", type=click.Choice(SHELLS))
@click.option("--program", metavar="NAME", default="", help="Name under which it is called; manage.py.")
def completion(shell: str, program: str) -> ExitCode:
    """Print the script for a shell. Instance names come from the files; no server is asked.

    It completes `./manage.py` and `manage.py` on the PATH, not `python manage.py`.

    \b
    Examples:
      manage.py completion bash >> ~/.bashrc
      manage.py completion zsh >> ~/.zshrc
      manage.py completion fish > ~/.config/fish/completions/manage.py.fish
    """
    from cli.main import group

    name = program or Path(sys.argv[0]).name or "manage.py"
    found = get_completion_class(shell)
    assert found is not None
    click.echo(found(group, {}, name, complete_variable(name)).source())
    return ExitCode.DONE
