"""`python -m web`: run the server until SIGTERM or Ctrl-C; `manage.py web` begins it."""

from __future__ import annotations

import sys

from cores import forbid_core_dumps
from logs import configure
from passwords import PasswordFileError
from settings import SettingsError, load
from web.server import server_for
from web.services import open_services


def main() -> int:
    """Run the server and return the exit code."""
    forbid_core_dumps()
    try:
        settings = load()
        configure(settings)
        server = server_for(settings, open_services(settings))
    except (SettingsError, PasswordFileError) as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - a command line prints
        return 2
    server.run()
    return 0 if server.started else 4


if __name__ == "__main__":
    sys.exit(main())
