"""What `manage.py doctor` says of the alerts: whether anybody sends them, and what waits."""

from __future__ import annotations

from collections.abc import Iterator

import redis

from cli.checks import Finding, Level
from cli.language import tr
from cli.session import Session
from state.alerts import Alerts
from state.scripts import Scripts

#: Messages that may be on their way at any moment.
USUAL_WAITING = 20


def alert_checks(session: Session) -> Iterator[Finding]:
    """Look at the alerts, where there are rules; the state server must answer."""
    settings = session.settings
    if not settings.alerts_file.is_file():
        return
    # Here: most commands need neither rules nor what checks them.
    from alerts.config import AlertsConfigError, load_alerts

    try:
        config = load_alerts(settings.alerts_file, settings.environ, language=settings.language)
    except AlertsConfigError as error:
        text = "; ".join(error.problems)
        yield Finding(check=tr("alerts"), level=Level.FAIL, text=text, advice=str(settings.alerts_file))
        return
    alerts = Alerts(session.client, Scripts(session.client))
    try:
        holder = alerts.holder()
        waiting = {target: alerts.waiting(target) for target in config.targets}
    except redis.RedisError as error:
        yield Finding(check=tr("alerts"), level=Level.FAIL, text=str(error), is_unreachable=True)
        return
    if not holder:
        yield Finding(
            check=tr("alerts"),
            level=Level.WARN,
            text=tr("there are rules, and nobody sends"),
            advice="manage.py alerts",
        )
        return
    text = tr("{name} sends", name=holder.partition(" ")[0])
    full = [f"{target}: {count}" for target, count in waiting.items() if count > USUAL_WAITING]
    if full:
        text = tr("{text}; messages wait for {targets}", text=text, targets=", ".join(full))
        yield Finding(check=tr("alerts"), level=Level.WARN, text=text, advice="manage.py notify-test")
    else:
        yield Finding(check=tr("alerts"), level=Level.OK, text=text)
