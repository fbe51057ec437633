"""Bring the tables up to date: alembic, with the steps that ship inside the package."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from ledger.errors import LedgerTooNew


def is_current(connection: Connection) -> bool:
    """Tell whether nothing is to be done. Raises `LedgerTooNew`."""
    script = _script()
    revision = MigrationContext.configure(connection).get_current_revision()
    known = {step.revision for step in script.walk_revisions()}
    if revision is not None and revision not in known:
        raise LedgerTooNew(
            f"the ledger was changed by a newer version of Cleanbook (revision {revision}, this one knows "
            f"up to {script.get_current_head()}); upgrade this installation"
        )
    return revision == script.get_current_head()


def migrate(connection: Connection) -> None:
    """Bring the tables up to date within the transaction of `connection`. Raises `LedgerTooNew`."""
    if is_current(connection):
        return
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _config() -> Config:
    config = Config()
    # Config reads options with interpolation, to which a percent sign in the path would mean something.
    location = str(Path(__file__).parent / "migrations").replace("%", "%%")
    config.set_main_option("script_location", location)
    return config


@cache
def _script() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())
