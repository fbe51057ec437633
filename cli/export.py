"""`manage.py export`: rows of the ledger as a file, for spreadsheets, tax programs and notebooks."""

from __future__ import annotations

import glob
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from cli.errors import CliError
from cli.exit_codes import LEDGER_EPILOG, ExitCode
from cli.language import tr
from cli.ledger_access import open_books, require_instances
from cli.names import complete_instance
from cli.options import debug_option, json_option, output_for
from cli.output import Output
from cli.when import since_option, until_option
from ledger.export import Exported, FileFormat, Selection
from ledger.export import export as write_file

#: An export that takes longer says how far it is, and again after each `PROGRESS_EVERY_S`.
PROGRESS_AFTER_S = 1.0
PROGRESS_EVERY_S = 5.0
#: Of a whole account: no instance owns them.
OF_ACCOUNTS = (Exported.BALANCES, Exported.POSITIONS)


@click.command(epilog=LEDGER_EPILOG)
@click.argument("kind", type=click.Choice([str(kind) for kind in Exported]), metavar="KIND")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    metavar="FILE",
    help="The file to write.",
)
@click.option(
    "--format",
    "file_format",
    type=click.Choice([str(one) for one in FileFormat]),
    help="By default what the name of FILE ends in, else csv.",
)
@click.option("--instance", metavar="NAME", shell_complete=complete_instance, help="Of this instance only.")
@click.option("--account", metavar="ACCOUNT", help="Of this account only, as `fills --json` names it.")
@since_option
@until_option
@click.option("--force", is_flag=True, help="Replace FILE where it is there.")
@json_option
@debug_option
def export(
    kind: str,
    out: Path,
    file_format: str | None,
    instance: str | None,
    account: str | None,
    since_ms: int | None,
    until_ms: int | None,
    force: bool,
    as_json: bool,
    debug: bool,
) -> ExitCode:
    """Write KIND to FILE, oldest first: fills, orders, runs, funding, events, balances or positions.

    Amounts are exact, times are ms and ISO 8601 (UTC). FILE is there only when it is
    complete. Parquet needs the package pyarrow. Balances and positions are the
    snapshots of an account; they belong to no instance.

    \b
    Examples:
      manage.py export fills --out fills.csv
      manage.py export fills --out 2026.parquet --since 2026-01-01 --until 2027-01-01
      manage.py export orders --out orders.csv --instance bp_sol_01 --force
      manage.py export positions --out positions.csv --since 30d
    """
    output, what = output_for(as_json), Exported(kind)
    chosen = FileFormat(file_format or (FileFormat.PARQUET if out.suffix == ".parquet" else FileFormat.CSV))
    if instance is not None and what in OF_ACCOUNTS:
        raise click.UsageError(
            tr("{what} belong to an account, not to an instance; use --account", what=tr(str(what)))
        )
    if out.exists() and not force:
        raise CliError(tr("{file} is there already; --force replaces it", file=out), ExitCode.BAD_USAGE)
    with open_books(output, debug=debug) as books:
        if instance is not None:
            require_instances(books, [instance])
        selection = Selection(account=account, instance_id=instance, since_ms=since_ms, until_ms=until_ms)
        with _progress(output, what, out):
            count = write_file(books.ledger, what, out, chosen, selection)
    if as_json:
        report = {"kind": kind, "file": str(out), "format": str(chosen), "rows": count}
        output.data({"exit_code": 0, "up_to_date": books.up_to_date, **report})
    else:
        output.line(tr("{count} {what} written to {file}", count=count, what=tr(str(what)), file=out))
    return ExitCode.DONE


@contextmanager
def _progress(output: Output, what: Exported, out: Path) -> Iterator[None]:
    """Tell on standard error how much is written, as long as it goes on."""
    ended = threading.Event()

    def tell() -> None:
        waited_s = PROGRESS_AFTER_S
        while not ended.wait(waited_s):
            size = f"{_written_bytes(out) / 1e6:.1f}"
            output.say(tr("exporting {what}: {size} MB so far", what=tr(str(what)), size=size), "dim")
            waited_s = PROGRESS_EVERY_S

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _written_bytes(out: Path) -> int:
    # The ledger writes to a hidden neighbour first.
    partial = out.parent.glob(f".{glob.escape(out.name)}.*")
    try:
        return sum(path.stat().st_size for path in partial)
    except FileNotFoundError:  # it has just got its name
        return 0
