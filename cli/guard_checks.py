"""What `manage.py doctor` looks at about guards: does one watch, and can it act on every account."""

from __future__ import annotations

import json
from collections.abc import Iterator

import redis

from cli.checks import Finding, Level
from cli.language import tr
from cli.session import Session
from state.guards import READY, GuardProcess, Guards
from state.record import Phase

ADVICE = "manage.py guard, best on a host of its own with a key of its own (docs/guard.md)"


def guard_checks(session: Session) -> Iterator[Finding]:
    """Look at the guards; the state server must answer."""
    try:
        found = Guards(session.client).processes(now_ms=session.instances.now_ms())
        watched = _accounts(session)
    except redis.RedisError as error:
        yield Finding(check="guard", level=Level.FAIL, text=str(error), is_unreachable=True)
        return
    if not found:
        yield _none(live=any(watched.values()))
        return
    for guard in found:
        yield _one(guard)
    covered = {
        account for guard in found for account, standing in guard.accounts.items() if standing == READY
    }
    for account in sorted(watched.keys() - covered):
        why = _why_not(found, account)
        text = tr("no guard can act on account {account}; {why}", account=account, why=why)
        yield Finding(check="guard", level=Level.WARN, text=text, advice=tr(ADVICE))


def _accounts(session: Session) -> dict[str, bool]:
    """Return the accounts with instances that a guard watches, and whether real money is in one."""
    accounts: dict[str, bool] = {}
    for record in session.instances.read_all(lambda *_: None):
        if record.phase is not Phase.STOPPED and record.account:
            config = json.loads(session.instances.config_json(record.instance_id) or "{}")
            accounts[record.account] = accounts.get(record.account, False) or bool(config.get("live"))
    return accounts


def _none(*, live: bool) -> Finding:
    text = tr("none: if every process here dies, orders stay on the book until one is back")
    # Simulated money needs none.
    level = Level.WARN if live else Level.OK
    return Finding(check="guard", level=level, text=text, advice=tr(ADVICE) if live else "")


def _one(guard: GuardProcess) -> Finding:
    text = tr(
        "{name} watches {count} instances, acts after {time} s of silence",
        name=guard.name,
        count=guard.watched,
        time=f"{guard.after_s:g}",
    )
    if guard.silent:
        text = tr("{text}; silent now: {names}", text=text, names=", ".join(guard.silent))
        advice = tr("start workers, or stop these instances: their orders are cancelled")
        return Finding(check="guard", level=Level.WARN, text=text, advice=advice)
    if guard.unwatchable:
        names = ", ".join(guard.unwatchable)
        text = tr("{text}; cannot watch {names}: no configuration that it can read", text=text, names=names)
        return Finding(check="guard", level=Level.WARN, text=text, advice=tr("the guard's log says more"))
    return Finding(check="guard", level=Level.OK, text=text)


def _why_not(found: tuple[GuardProcess, ...], account: str) -> str:
    said = [guard.accounts[account] for guard in found if account in guard.accounts]
    return said[0] if said else tr("none of them watches it yet")
