"""`manage.py doctor`: everything an instance needs, each line with what to do."""

from __future__ import annotations

import time
from collections.abc import Iterator

import click

from cli import checks
from cli.alert_checks import alert_checks
from cli.checks import Finding, Level
from cli.exit_codes import EPILOG, ExitCode
from cli.feed_checks import feed_checks
from cli.guard_checks import guard_checks
from cli.language import padded, tr
from cli.message_keys import message_key_checks
from cli.options import debug_option, json_option, output_for
from cli.output import Output
from cli.session import Session, open_session
from runner.config import InstanceConfig

STYLES = {Level.OK: "good", Level.WARN: "warn", Level.FAIL: "bad"}


@click.command(epilog=EPILOG)
@json_option
@debug_option
def doctor(as_json: bool, debug: bool) -> ExitCode:
    """Check server, eviction, persistence, clocks, workers, feed, ledger, guard, files, keys, exchanges.

    Ends with 0 when nothing fails (warnings are fine), 4 when something cannot be reached, else 1.

    \b
    Examples:
      manage.py doctor
      manage.py doctor --json
    """
    output = output_for(as_json)
    findings = []
    for finding in _findings(open_session()):
        findings.append(finding)
        if not as_json:
            _show(output, finding)
    code = _exit_code(findings)
    if as_json:
        output.data(
            {
                "exit_code": int(code),
                "checks": [
                    {"check": f.check, "level": str(f.level), "text": f.text, "advice": f.advice}
                    for f in findings
                ],
            }
        )
    return code


def _findings(session: Session) -> Iterator[Finding]:
    settings = session.settings
    reachable = True
    for finding in checks.server(tr("state server"), settings.state_url, vouched=settings.state_durability):
        reachable = reachable and not finding.is_unreachable
        yield finding
    if settings.broker_url != settings.state_url:
        yield from checks.server(tr("broker"), settings.broker_url)
    if reachable:
        yield from checks.state_checks(session)
        yield from checks.records(session)
        yield from feed_checks(session)
        yield from guard_checks(session)
        yield from alert_checks(session)
    yield from message_key_checks(settings.message_key_dir, time.time())
    found = []
    for item in checks.configs(session):
        if isinstance(item, InstanceConfig):
            found.append(item)
        else:
            yield item
    for address in checks.exchange_addresses(session, found):
        yield from checks.exchange(address)


def _exit_code(findings: list[Finding]) -> ExitCode:
    failed = [finding for finding in findings if finding.level is Level.FAIL]
    if any(finding.is_unreachable for finding in failed):
        return ExitCode.UNREACHABLE
    return ExitCode.FAILED if failed else ExitCode.DONE


def _show(output: Output, finding: Finding) -> None:
    level = padded(tr(finding.level), 4)
    output.line(f"{level}  {finding.check}: {finding.text}", STYLES[finding.level])
    if finding.advice:
        output.line(f"      -> {finding.advice}")
