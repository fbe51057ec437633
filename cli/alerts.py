"""`manage.py alerts` and `notify-test`: who is told when something is wrong, and whether it arrives."""

from __future__ import annotations

import os
import platform
import time
from typing import TYPE_CHECKING

import click

from cli.ending import end_by_signals
from cli.errors import CliError
from cli.exit_codes import EPILOG, ExitCode
from cli.language import in_use, tr
from cli.options import debug_option, json_option, output_for
from settings import Settings, load

if TYPE_CHECKING:
    from alerts.config import AlertsConfig

#: Of one question to the state server: longer than the wait for an event.
LOOK_S = 3.0


@click.command(epilog=EPILOG)
@debug_option
def alerts(debug: bool) -> ExitCode:
    """Tell people what goes wrong, by the rules in config/alerts.toml, until SIGTERM or Ctrl-C.

    Telegram, Slack, Discord, e-mail, webhooks and whatever else apprise knows. Any number of these may
    run, on any number of hosts: one sends, and another takes over within 10 s of its death. docs/alerts.md
    has the rules; CLEANBOOK_ALERTS_FILE names another file. Its `language` is that of the messages.

    \b
    Examples:
      manage.py alerts
      manage.py notify-test
    """
    from alerts.phrases import Phrases
    from alerts.service import AlertsService
    from cli.daily_summary import daily_summary
    from logs import configure
    from state.connection import connect_impatiently

    settings = load()
    config = _config(settings)
    configure(settings)
    client = connect_impatiently(settings.state_url, timeout_s=LOOK_S)
    name = f"{platform.node()}:{os.getpid()}"
    try:
        service = AlertsService(
            name,
            config,
            client,
            summarise=lambda now_ms: daily_summary(settings, client, now_ms, Phrases(config.language)),
        )
    except ValueError as error:
        raise CliError(f"{settings.alerts_file}: {error}", ExitCode.BAD_USAGE) from None
    # What was not sent waits in the state server.
    end_by_signals(service.end)
    service.run()
    return ExitCode.DONE


@click.command("notify-test", epilog=EPILOG)
@click.argument("rule", required=False)
@json_option
@debug_option
def notify_test(rule: str | None, as_json: bool, debug: bool) -> ExitCode:
    """Send a test message to the targets of a RULE, or to all targets, now. Needs no server.

    \b
    Examples:
      manage.py notify-test
      manage.py notify-test wake_me
    """
    from alerts.memory import Message
    from alerts.phrases import Phrases
    from alerts.sending import Sender

    settings = load()
    config = _config(settings)
    output, phrases = output_for(as_json), Phrases(config.language)
    now_ms = time.time_ns() // 1_000_000
    message = Message(
        id=f"test {now_ms}",
        rule=rule or "test",
        title=phrases.say("test.title"),
        body=phrases.say("test.body", host=platform.node()),
        looks="info",
        at_ms=now_ms,
    )
    results: dict[str, str] = {}
    for name in _targets(config, rule):
        target = config.targets[name]
        try:
            sent = Sender(target.url, timeout_s=target.timeout_s, phrases=phrases).send(message)
            results[name] = sent.problem
        except ValueError as error:
            results[name] = str(error)
        if not as_json:
            problem = results[name]
            output.line(f"{name}: {problem or tr('sent')}", "bad" if problem else "good")
    code = ExitCode.FAILED if any(results.values()) else ExitCode.DONE
    if as_json:
        targets = [
            {"target": name, "sent": not problem, "problem": problem} for name, problem in results.items()
        ]
        output.data({"exit_code": int(code), "targets": targets})
    return code


def _config(settings: Settings) -> AlertsConfig:
    from alerts.config import load_alerts

    return load_alerts(settings.alerts_file, settings.environ, language=in_use(settings.language))


def _targets(config: AlertsConfig, rule: str | None) -> tuple[str, ...]:
    if rule is None:
        return tuple(config.targets)
    if rule not in config.rules:
        raise CliError(
            tr("there is no rule {rule}; there is: {names}", rule=repr(rule), names=", ".join(config.rules)),
            ExitCode.BAD_USAGE,
        )
    return config.rules[rule].targets
