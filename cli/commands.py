"""Every command: where it is found, and what the help says of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class LazyCommand:
    """A command that is not imported yet."""

    section: str
    #: Module and name in it, parted by a colon.
    path: str
    #: What the list of commands says.
    summary: str


#: In the order of the help.
COMMANDS: Mapping[str, LazyCommand] = {
    "start": LazyCommand(
        section="Instances",
        path="cli.start:start",
        summary="Start instances; changes nothing on running ones.",
    ),
    "stop": LazyCommand(
        section="Instances", path="cli.stop:stop", summary="Stop instances and prove that no order is left."
    ),
    "restart": LazyCommand(
        section="Instances", path="cli.restart:restart", summary="Stop instances clean, then start them."
    ),
    "reload": LazyCommand(
        section="Instances",
        path="cli.reload:reload",
        summary="Have instances take their edited files, without a restart.",
    ),
    "pause": LazyCommand(
        section="Instances",
        path="cli.pause:pause",
        summary="Withdraw quotes and keep the rest, until resumed.",
    ),
    "resume": LazyCommand(
        section="Instances", path="cli.pause:resume", summary="Let paused instances quote again."
    ),
    "apply": LazyCommand(
        section="Instances",
        path="cli.apply:apply",
        summary="Have just the files of a folder run.",
    ),
    "cleanup": LazyCommand(
        section="Instances",
        path="cli.cleanup:cleanup",
        summary="Run the cleanup of a stopped run again, here.",
    ),
    "after-restore": LazyCommand(
        section="Instances",
        path="cli.after_restore:after_restore",
        summary="Distrust a state server restored from a backup.",
    ),
    "status": LazyCommand(
        section="Looking", path="cli.status:status", summary="Show instances in detail; changes nothing."
    ),
    "list": LazyCommand(
        section="Looking",
        path="cli.list_instances:list_instances",
        summary="List instances with their states.",
    ),
    "top": LazyCommand(
        section="Looking", path="cli.top:top", summary="Show all instances on one screen, live."
    ),
    "receipt": LazyCommand(
        section="Looking",
        path="cli.receipt:receipt",
        summary="Show the whole story of a stop, with its proof.",
    ),
    "logs": LazyCommand(
        section="Looking", path="cli.logs:logs", summary="Show, or follow, what was logged about an instance."
    ),
    "doctor": LazyCommand(
        section="Looking", path="cli.doctor:doctor", summary="Check everything an instance needs."
    ),
    "orders": LazyCommand(
        section="Ledger", path="cli.orders:orders", summary="Show the orders of an instance."
    ),
    "fills": LazyCommand(section="Ledger", path="cli.fills:fills", summary="Show the fills of an instance."),
    "pnl": LazyCommand(
        section="Ledger", path="cli.pnl:pnl", summary="Show profit and loss by instance, run or day."
    ),
    "events": LazyCommand(
        section="Ledger",
        path="cli.events:events",
        summary="Show, or follow, what happens to an instance.",
    ),
    "export": LazyCommand(
        section="Ledger", path="cli.export:export", summary="Write rows of the ledger into a file."
    ),
    "import-ledger": LazyCommand(
        section="Ledger",
        path="cli.import_ledger:import_ledger",
        summary="Take over the database of an old program.",
    ),
    "ledger": LazyCommand(
        section="Ledger",
        path="cli.ledger_status:ledger",
        summary="Show where the ledger stands; prune it.",
    ),
    "new": LazyCommand(
        section="Configuration",
        path="cli.new:new",
        summary="Write a new instance file from a template, sized.",
    ),
    "completion": LazyCommand(
        section="Configuration",
        path="cli.completion:completion",
        summary="Print the completion script of a shell.",
    ),
    "validate": LazyCommand(
        section="Configuration", path="cli.validate:validate", summary="Check instance files."
    ),
    "schema": LazyCommand(
        section="Configuration",
        path="cli.validate:schema",
        summary="Print the JSON Schema of instance files.",
    ),
    "strategies": LazyCommand(
        section="Configuration", path="cli.strategies:strategies", summary="List strategies and parameters."
    ),
    "up": LazyCommand(
        section="Stack",
        path="cli.stack_commands:up",
        summary="Run server, simulator, workers, feed, guard, dashboard and Flower.",
    ),
    "feed": LazyCommand(
        section="Stack",
        path="cli.feed:feed",
        summary="Listen to the exchanges: market data, fills, the ledger.",
    ),
    "flower": LazyCommand(
        section="Stack",
        path="cli.flower:flower",
        summary="Run Celery's web page, with a password.",
    ),
    "web": LazyCommand(
        section="Stack",
        path="cli.web:web",
        summary="Run the dashboard and the HTTP API, with a password.",
    ),
    "web-token": LazyCommand(
        section="Stack",
        path="cli.web:web_token",
        summary="Make, list or revoke tokens for programs that use the HTTP API.",
    ),
    "guard": LazyCommand(
        section="Stack",
        path="cli.guard:guard",
        summary="Cancel the orders of instances that show no life.",
    ),
    "alerts": LazyCommand(
        section="Stack", path="cli.alerts:alerts", summary="Tell people what goes wrong, by your rules."
    ),
    "notify-test": LazyCommand(
        section="Stack", path="cli.alerts:notify_test", summary="Send a test message to where alerts go."
    ),
    "metrics": LazyCommand(
        section="Stack",
        path="cli.metrics:metrics",
        summary="Serve what this host counts, for Prometheus.",
    ),
    "new-message-key": LazyCommand(
        section="Stack",
        path="cli.message_keys:command",
        summary="Make the keys that sign task messages.",
    ),
    "demo": LazyCommand(
        section="Stack",
        path="cli.stack_commands:demo",
        summary="Run a market maker on the simulator, stop it clean.",
    ),
}
