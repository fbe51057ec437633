"""What the paths work with, opened once and passed along."""

from __future__ import annotations

from dataclasses import dataclass

from api_tokens import TOKENS_FILE, TokenFile
from monitoring.exposition import Exposition
from monitoring.opening import open_exposition
from passwords import kept_password
from runner.context import Context, open_context
from settings import Settings
from state.fleet import Fleet
from web.cache import Cache
from web.history_models import ProfitLine, Series
from web.ledger_access import LedgerAccess
from web.login_limit import LoginLimit
from web.profits import Profits
from web.restarts import Restarts
from web.rows import RowReader
from web.sessions import KEY_FILE, Sessions
from web.stream import Hub

PASSWORD_FILE = "web-password"


@dataclass(frozen=True, kw_only=True)
class Services:
    """Everything behind the paths."""

    settings: Settings
    context: Context
    tokens: TokenFile
    sessions: Sessions
    logins: LoginLimit
    ledger: LedgerAccess
    rows: RowReader
    hub: Hub
    restarts: Restarts
    exposition: Exposition
    #: By instance and grouping; each line with the time of what it counted last, ms.
    pnl: Cache[tuple[tuple[ProfitLine, int], ...]]
    #: By instance and minutes.
    series: Cache[Series]


def open_services(settings: Settings) -> Services:
    """Return the services; servers are connected to on first use. Raises `PasswordFileError`."""
    context = open_context(settings)
    ledger = LedgerAccess(settings, context)
    rows = RowReader(settings, Fleet(context.client), Profits(ledger))

    def report_restart(instance_id: str, epoch: int, by: str, result: str, why: str) -> None:
        context.events.audit(
            instance_id,
            epoch=epoch,
            by=by,
            action="restart",
            result=result,
            details={"why": why} if why else {},
        )

    password = settings.web_password or kept_password(settings.run_dir / PASSWORD_FILE)
    return Services(
        settings=settings,
        context=context,
        tokens=TokenFile(settings.run_dir / TOKENS_FILE),
        sessions=Sessions(
            password=password,
            key=kept_password(settings.run_dir / KEY_FILE),
            lasts_s=settings.web_session_hours * 3600,
        ),
        logins=LoginLimit(),
        ledger=ledger,
        rows=rows,
        hub=Hub(context, rows),
        restarts=Restarts(context, report_restart),
        exposition=open_exposition(settings),
        pnl=Cache(),
        series=Cache(),
    )
