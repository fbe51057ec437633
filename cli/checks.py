"""What `manage.py doctor` looks at. Every check has time-outs and changes nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import redis

from cli.errors import problem_line
from cli.language import told, tr
from cli.names import configured
from cli.session import Session
from exchanges.backpack.client import BackpackClient, Request
from exchanges.backpack.config import BackpackConfig, Credentials
from exchanges.backpack.exchange import open_backpack
from exchanges.budget import RequestKind, UnlimitedBudget
from exchanges.errors import ExchangeError
from runner.config import ConfigError, InstanceConfig, load_instance
from runner.config_credentials import DEMO_API_KEY, DEMO_SECRET_KEY, venue_url
from runner.lost_runs import advice, lost_runs
from settings import redacted
from state.connection import StateUnavailable, UnsafeServer, connect
from state.durability import Keeps
from state.queues import needed_queues
from state.refusals import read_refusals
from state.server import MOST_SERVERS_IN_STEP, ServerReport, server_report

#: More than this and the times in logs no longer fit together.
CLOCK_WARN_MS = 500
#: More than this and something is broken.
CLOCK_FAIL_MS = 5_000


class Level(StrEnum):
    """How a check ended."""

    OK = "ok"
    #: Works, and should be better.
    WARN = "warn"
    #: Does not work.
    FAIL = "fail"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of the doctor."""

    check: str
    level: Level
    text: str
    #: What to do, empty when there is nothing.
    advice: str = ""
    #: Something is not there at all, as against being there and wrong.
    is_unreachable: bool = False


def server(name: str, url: str, *, vouched: str = "") -> Iterator[Finding]:
    """Look at a Redis or Valkey server: reachable, of the right kind, evicting, keeping."""
    where = redacted(url)
    with connect(url) as client:
        try:
            report = server_report(client, vouched=vouched)
        except StateUnavailable as error:
            advice = tr("start it (manage.py up brings its own) or correct BROKER_URL, STATE_URL")
            yield Finding(
                check=name,
                level=Level.FAIL,
                text=f"{where}: {told(error)}",
                advice=advice,
                is_unreachable=True,
            )
            return
        except UnsafeServer as error:
            yield Finding(check=name, level=Level.FAIL, text=f"{where}: {told(error)}")
            return
    text = tr("{where} answers, version {version}", where=where, version=report.version)
    yield Finding(check=name, level=Level.OK, text=text)
    if report.keeps_everything:
        yield Finding(
            check=tr("{name} eviction", name=name), level=Level.OK, text="maxmemory-policy noeviction"
        )
    for fault in report.faults():
        check = tr("{name} eviction", name=name) if "maxmemory" in fault.text else name
        yield Finding(check=check, level=Level.FAIL, text=told(fault.text), advice=told(fault.advice))
    yield _keeping(tr("{name} persistence", name=name), report)
    if report.servers > MOST_SERVERS_IN_STEP:
        yield Finding(
            check=tr("{name} takeover", name=name),
            level=Level.WARN,
            text=tr(
                "the Sentinels know {count} servers: one that was cut off may permit orders for some seconds "
                "after it was replaced, which stops have to wait for",
                count=report.servers,
            ),
            advice=tr(
                "run three, and SENTINEL RESET what is gone for good; restart instances that were started "
                "with three: their stops do not wait"
            ),
        )


def _keeping(check: str, report: ServerReport) -> Finding:
    if report.keeps is Keeps.ALWAYS:
        how = tr("vouched for") if report.vouched else tr("append-only file, appendfsync always")
        return Finding(check=check, level=Level.OK, text=tr("{how}: nothing confirmed is lost", how=how))
    if report.keeps is Keeps.EVERYSEC:
        fsync = f"appendfsync {report.fsync}" if report.fsync else tr("it does not tell its appendfsync")
        text = tr(
            "append-only file, {fsync}: a crash may lose the last second, so starts and stops wait for the "
            "disk, and nothing is placed for some seconds after a restart of it",
            fsync=fsync,
        )
        if report.is_led_by_sentinels:
            text = tr(
                "append-only file, {fsync}, {count} replicas: one that takes over may lack "
                "the last moment, so starts and stops wait for all, and nothing is placed for seconds after",
                fsync=fsync,
                count=report.replicas,
            )
            level = Level.OK if report.replicas > 1 else Level.WARN
            advice = "" if report.replicas > 1 else tr("let two replicas run, so that one may fail")
            return Finding(check=check, level=level, text=text, advice=advice)
        if report.replicas:
            text = tr("{text}; a replica that takes over may lack more", text=text)
        advice = tr(
            "CONFIG SET appendfsync always; or CLEANBOOK_STATE_DURABILITY=always where it forgets nothing"
        )
        return Finding(check=check, level=Level.WARN, text=text, advice=advice)
    if report.may_lead_unnoticed:
        text = tr("{why}: a stop that was called clean may not be", why=told(report.why_unsure))
    else:
        text = tr("{why}: a crash could take back a stop that was called clean", why=told(report.why_unsure))
    if not report.vouched:
        text = tr("{text}; nothing live is started on it", text=text)
    return Finding(check=check, level=Level.WARN, text=text, advice=told(report.advice_if_unsure))


def clock(session: Session) -> Finding:
    """Compare the state server's clock with this machine's; half a round trip is taken off."""
    before_ms = time.time_ns() // 1_000_000
    server_ms = session.instances.now_ms()
    after_ms = time.time_ns() // 1_000_000
    return _offset(tr("clock"), server_ms - (before_ms + after_ms) // 2, tr("the state server"))


def workers(session: Session) -> Iterator[Finding]:
    """Look at who serves each queue."""
    alive = session.events.workers(now_ms=session.instances.now_ms())
    for queue in needed_queues({queue for worker in alive for queue in worker.queues}):
        names = [worker.name for worker in alive if queue in worker.queues]
        check = tr("queue {name}", name=queue)
        if names:
            yield Finding(
                check=check,
                level=Level.OK,
                text=tr("workers: {names}", names=", ".join(names)),
            )
        else:
            yield Finding(
                check=check,
                level=Level.FAIL,
                text=tr("no worker serves it"),
                advice=tr("celery -A tasks worker -Q {queue}, or manage.py up", queue=queue),
            )


def refused_messages(session: Session) -> Finding:
    """Look at what workers refused: only something that is no worker of ours sends such messages."""
    refused = read_refusals(session.client)
    if not refused:
        return Finding(check=tr("refused messages"), level=Level.OK, text=tr("none"))
    return Finding(
        check=tr("refused messages"),
        level=Level.WARN,
        text=", ".join(f"{count} for {reason}" for reason, count in refused.items()),
        advice=tr(
            "somebody else writes to the broker, or workers differ in version or keys: see their logs, "
            "and SECURITY.md"
        ),
    )


def configs(session: Session) -> Iterator[Finding | InstanceConfig]:
    """Check every instance file with its keys; yield the good configurations, too."""
    settings = session.settings
    names = configured(settings.config_dir)
    if not names:
        text = tr("no instance file in {folder}", folder=settings.config_dir)
        yield Finding(check=tr("configs"), level=Level.WARN, text=text)
    for name in names:
        try:
            config = load_instance(name, settings.config_dir, settings.environ).config
        except ConfigError as error:
            text = "; ".join(problem_line(problem) for problem in error.problems)
            yield Finding(
                check=tr("config {name}", name=name),
                level=Level.FAIL,
                text=text,
                advice=f"manage.py validate {name}",
            )
            continue
        live = config.live
        text = tr("valid, live, its keys are set") if live else tr("valid, on the simulated exchange")
        yield Finding(check=tr("config {name}", name=name), level=Level.OK, text=text)
        yield config


def exchange_addresses(session: Session, found: list[InstanceConfig]) -> tuple[str, ...]:
    """Return the addresses that these configurations trade at; the simulator's when there are none."""
    simulator = session.settings.simulator_url
    backpack = [config for config in found if config.metadata.exchange == "backpack"]
    return tuple(sorted({venue_url(config, simulator) for config in backpack})) or (simulator,)


def exchange(address: str) -> Iterator[Finding]:
    """Ask a Backpack exchange for its status and its time; both are public, no key is used."""
    config = BackpackConfig(base_url=address)
    nobody = Credentials(api_key=DEMO_API_KEY, secret_key=DEMO_SECRET_KEY)
    client = BackpackClient(config, nobody, UnlimitedBudget())
    venue = open_backpack(config, nobody, UnlimitedBudget())
    check = tr("exchange {address}", address=address)
    try:
        answer = client.send(Request(method="GET", path="/api/v1/status", kind=RequestKind.READ, payload={}))
        before_ms = time.time_ns() // 1_000_000
        server_ms = venue.server_time_ms()
        after_ms = time.time_ns() // 1_000_000
    except ExchangeError as error:
        advice = tr("is the simulator running (manage.py up)? CLEANBOOK_SIMULATOR_URL and base_url say where")
        yield Finding(check=check, level=Level.FAIL, text=str(error), advice=advice, is_unreachable=True)
        return
    finally:
        client.close()
        venue.close()
    if answer.status == 200 and b'"Ok"' in answer.body:
        text = tr("answers in {time} ms", time=after_ms - before_ms)
        yield Finding(check=check, level=Level.OK, text=text)
    else:
        text = f"HTTP {answer.status}: {answer.body[:100].decode(errors='replace')}"
        yield Finding(
            check=check, level=Level.WARN, text=text, advice=tr("wait until its maintenance is over")
        )
    yield _offset(tr("exchange clock"), server_ms - (before_ms + after_ms) // 2, tr("the exchange"))


def state_checks(session: Session) -> Iterator[Finding]:
    """Check what needs the state server, which must answer."""
    try:
        yield clock(session)
        yield from workers(session)
        yield refused_messages(session)
    except redis.RedisError as error:
        yield Finding(check=tr("state server"), level=Level.FAIL, text=str(error), is_unreachable=True)


def _offset(check: str, offset_ms: int, whose: str) -> Finding:
    text = (
        tr("{whose} is {offset} ms ahead of this machine", whose=whose, offset=offset_ms)
        if offset_ms >= 0
        else tr("{whose} is {offset} ms behind this machine", whose=whose, offset=-offset_ms)
    )
    if abs(offset_ms) < CLOCK_WARN_MS:
        return Finding(check=check, level=Level.OK, text=text)
    level = Level.WARN if abs(offset_ms) < CLOCK_FAIL_MS else Level.FAIL
    return Finding(check=check, level=level, text=text, advice=tr("synchronise the clocks (chrony, NTP)"))


def records(session: Session) -> Iterator[Finding]:
    """Look at what the state server has of each instance, and what it should have."""
    damaged: dict[str, str] = {}
    found = session.instances.read_all(lambda name, error: damaged.update({name: told(error)}))
    for name, error in damaged.items():
        yield Finding(
            check=tr("record {name}", name=name),
            level=Level.FAIL,
            text=error,
            advice=f"manage.py cleanup {name}",
        )
    known = {record.instance_id for record in found} | damaged.keys()
    missing = [name for name in configured(session.settings.config_dir) if name not in known]
    for name, epoch in lost_runs(session.settings, missing).items():
        if epoch is None:
            continue  # what is wrong with the ledger is another check's finding
        yield Finding(
            check=tr("record {name}", name=name),
            level=Level.FAIL,
            text=told(advice(name, epoch)),
            advice=f"manage.py cleanup {name}",
        )
