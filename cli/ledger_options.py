"""Arguments, options and endings that the commands of the ledger share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click

from cli.csv_output import print_csv
from cli.exit_codes import ExitCode
from cli.language import tr
from cli.ledger_access import LedgerSession
from cli.names import complete_instance
from cli.output import Output

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_LIMIT = 50
#: Databases take no number beyond 2^63.
LARGEST_NUMBER = 10**12


def instance_argument(function: F) -> F:
    """Take the name of one instance, as `name`."""
    return click.argument("name", metavar="NAME", shell_complete=complete_instance)(function)


def csv_option(function: F) -> F:
    """Add ``--csv``."""
    return click.option("--csv", "as_csv", is_flag=True, help="Print CSV, a line of names first.")(function)


def limit_option(function: F) -> F:
    """Add ``--limit``."""
    return click.option(
        "--limit",
        type=click.IntRange(min=1, max=LARGEST_NUMBER),
        default=DEFAULT_LIMIT,
        show_default=True,
        metavar="N",
        help="The newest N only.",
    )(function)


def run_option(function: F) -> F:
    """Add ``--run``, given to the command as `epoch`."""
    return click.option(
        "--run",
        "epoch",
        type=click.IntRange(min=1, max=LARGEST_NUMBER),
        metavar="N",
        help="Of this run of the instance only.",
    )(function)


def refuse_both(*, as_json: bool, as_csv: bool) -> None:
    """Raise `click.UsageError` where two formats are asked for."""
    if as_json and as_csv:
        raise click.UsageError(tr("--json and --csv exclude each other"))


def tell_rows(
    output: Output,
    books: LedgerSession,
    *,
    what: str,
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[str],
    as_csv: bool,
    show: Callable[[], None],
    more: Mapping[str, Any] | None = None,
    nothing: str = "",
) -> ExitCode:
    """Print `rows` as the user wants them: JSON under the name `what`, CSV, or by `show` for people.

    `more` goes into the JSON, too; `nothing` is what people read when there are no rows.
    """
    if output.as_json:
        head = {"exit_code": 0, "up_to_date": books.up_to_date}
        output.data({**head, **(more or {}), what: [dict(row) for row in rows]})
    elif as_csv:
        print_csv(columns, rows)
    elif rows:
        show()
    else:
        output.say(nothing or tr("no {what}", what=tr(what)))
    return ExitCode.DONE


def say_cut(output: Output, what: str, *, limit: int, is_cut: bool) -> None:
    """Tell people that there is more than was shown."""
    if is_cut:
        output.say(
            tr(
                "these are the newest {limit} {what}; --limit shows more, manage.py export takes all",
                limit=limit,
                what=tr(what),
            )
        )


def one_line(text: str, length: int = 60) -> str:
    """Return a text of an exchange or human fit for a terminal: one line, nothing that steers it."""
    plain = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return plain if len(plain) <= length else f"{plain[: length - 1]}…"
