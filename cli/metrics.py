"""`manage.py metrics`: what Prometheus scrapes on this host."""

from __future__ import annotations

import ipaddress
import sys

import click

from cli.ending import end_by_signals
from cli.errors import CliError
from cli.exit_codes import EPILOG, ExitCode
from cli.language import tr
from cli.options import debug_option, output_for
from passwords import kept_password
from settings import load

PASSWORD_FILE = "metrics-password"
USER = "cleanbook"


@click.command(epilog=EPILOG)
@click.option("--address", default="127.0.0.1", show_default=True, help="Where it listens.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=9464, show_default=True, help="The port; 0: a free one."
)
@click.option(
    "--fleet/--no-fleet",
    default=True,
    show_default=True,
    help="Also tell how all instances stand, by the state server; of several hosts, one is enough.",
)
@click.option("--no-password", is_flag=True, help="Let everybody on this machine read; loopback only.")
@click.option("--once", is_flag=True, help="Print the numbers and end, without a server.")
@debug_option
def metrics(address: str, port: int, fleet: bool, no_password: bool, once: bool, debug: bool) -> ExitCode:
    """Serve /metrics for Prometheus: what this host's processes count, and how the fleet stands.

    It asks for a user and a password, which is made at the first start and kept in the run directory,
    readable by you alone. Any number of these may run. docs/monitoring.md lists every number and alert.

    \b
    Examples:
      manage.py metrics
      manage.py metrics --port 9465 --no-fleet
      manage.py metrics --once | grep receipts
    """
    from logs import configure
    from monitoring.opening import open_exposition

    settings = load()
    if no_password and not _is_loopback(address):
        raise CliError(
            tr("--no-password is for loopback addresses; {address} is none", address=address),
            ExitCode.BAD_USAGE,
        )
    if once:
        sys.stdout.write(open_exposition(settings, fleet=fleet).text()[0].decode())
        return ExitCode.DONE
    from monitoring.server import MetricsServer

    configure(settings)
    output = output_for(as_json=False)
    path = settings.run_dir / PASSWORD_FILE
    credentials = None if no_password else (USER, kept_password(path))
    exposition = open_exposition(settings, fleet=fleet)
    try:
        server = MetricsServer(exposition, address=address, port=port, credentials=credentials)
    except OSError as error:
        raise CliError(
            tr(
                "cannot listen on {address} port {port}: {error}; choose another with --port",
                address=address,
                port=port,
                error=error.strerror or error,
            )
        ) from error
    how = tr("no password")
    if credentials is not None:
        how = tr("user {user}, password in {file}", user=USER, file=path)
    output.say(tr("metrics: {url}, {how}", url=f"http://{address}:{server.port}/metrics", how=how))
    end_by_signals(server.end)
    server.serve()
    return ExitCode.DONE


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"
