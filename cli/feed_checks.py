"""What `manage.py doctor` looks at besides trading itself: who listens, and who keeps the ledger."""

from __future__ import annotations

from collections.abc import Iterator

import redis

from cli.checks import Finding, Level
from cli.language import tr
from cli.session import Session
from state.bookings import BookingQueue
from state.feeds import Feeds
from state.scripts import Scripts

#: Bookings that may be on their way at any moment.
USUAL_WAITING = 1_000


def feed_checks(session: Session) -> Iterator[Finding]:
    """Look at the feed processes and the ledger; the state server must answer."""
    try:
        yield _feeds(session)
        yield _waiting(session)
        yield _ledger(session)
    except redis.RedisError as error:
        yield Finding(check="feed", level=Level.FAIL, text=str(error), is_unreachable=True)


def _feeds(session: Session) -> Finding:
    now_ms = session.instances.now_ms()
    found = Feeds(session.client, Scripts(session.client)).processes(now_ms=now_ms)
    if not found:
        text = tr(
            "none: iterations ask the exchange themselves, and a fill is seen when the next one comes round"
        )
        advice = tr("manage.py feed, or manage.py up")
        return Finding(check="feed", level=Level.WARN, text=text, advice=advice)
    standings = [f"{account} {standing}" for each in found for account, standing in each.accounts.items()]
    names = ", ".join(each.name for each in found)
    text = tr("{names}: {standings}", names=names, standings=", ".join(standings) or tr("idle"))
    lost = [standing for standing in standings if not standing.endswith(" streaming")]
    if lost:
        return Finding(
            check="feed",
            level=Level.WARN,
            text=text,
            advice=tr("the feed's log says why; it tries on by itself"),
        )
    return Finding(check="feed", level=Level.OK, text=text)


def _waiting(session: Session) -> Finding:
    waiting = BookingQueue(session.client).length()
    text = tr("{count} bookings wait for the ledger", count=waiting)
    if waiting <= USUAL_WAITING:
        return Finding(check=tr("ledger queue"), level=Level.OK, text=text)
    return Finding(
        check=tr("ledger queue"),
        level=Level.WARN,
        text=text,
        advice=tr("manage.py feed carries them over; manage.py ledger shows what stands in the way"),
    )


def _ledger(session: Session) -> Finding:
    from ledger.database import open_ledger, redacted
    from ledger.errors import LedgerError, LedgerUnavailable

    url = session.settings.ledger_url
    registered = BookingQueue(session.client).registered_ledger()
    if not registered:
        # Opening it would make it, and a look changes nothing.
        text = tr("{where}, not used here yet: the first feed makes it", where=redacted(url))
        return Finding(check=tr("ledger"), level=Level.OK, text=text)
    try:
        with open_ledger(url, busy_timeout_ms=2_000) as ledger:
            found = ledger.ledger_id
    except LedgerUnavailable as error:
        text = tr("{error}; trading goes on, bookings wait in the state server", error=error)
        advice = tr("start the database, or correct CLEANBOOK_LEDGER_URL")
        return Finding(check=tr("ledger"), level=Level.FAIL, text=text, advice=advice, is_unreachable=True)
    except LedgerError as error:
        return Finding(check=tr("ledger"), level=Level.FAIL, text=str(error), advice="CLEANBOOK_LEDGER_URL")
    if found != registered:
        text = tr(
            "{where} is ledger {found}, and bookings here go to ledger {registered}",
            where=redacted(url),
            found=found,
            registered=registered,
        )
        advice = tr(
            "set CLEANBOOK_LEDGER_URL to that one; where it is gone for good: manage.py feed --new-ledger"
        )
        return Finding(check=tr("ledger"), level=Level.FAIL, text=text, advice=advice)
    return Finding(check=tr("ledger"), level=Level.OK, text=f"{redacted(url)}, id {found}")
