"""`manage.py up`: the embedded stack in the foreground, with the logs of all its processes."""

from __future__ import annotations

import contextlib
import threading
import time

from redis import RedisError
from rich.console import Console

from cli.language import padded, told, tr
from cli.metrics import PASSWORD_FILE as METRICS_PASSWORD_FILE
from cli.metrics import USER as METRICS_USER
from cli.stack.logs import LogFollower
from cli.stack.processes import StackError
from cli.stack.signals import ending_politely, finishing_first
from cli.stack.stack import FLOWER_USER, Stack, StackOptions
from cli.web import PASSWORD_FILE
from passwords import kept_password
from runner.context import Context, open_context
from runner.own_policy import own_policy
from settings import Settings, redacted
from state.record import Phase

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_NOT_CLEAN = 3
STOP_TIMEOUT_S = 60.0
#: How often the logs are looked at.
LOOK_S = 0.2
NAME_WIDTH = 9
ANNOUNCED_WIDTH = 19


def run_up(settings: Settings, *, leave_running: bool = False, flower: bool = True, web: bool = True) -> int:
    """Run the stack until Ctrl-C, then stop its instances and take it down. Returns the exit code.

    With `BROKER_URL` set, that server is used and none is started. With `leave_running`, instances stay
    as they are, orders included, and go on when the stack is up again.
    """
    console = Console(highlight=False, markup=False)
    stack = Stack(
        StackOptions(
            run_dir=settings.run_dir,
            config_dir=settings.config_dir,
            server=not settings.environ.get("BROKER_URL"),
            flower=flower,
            web=web,
            web_port=settings.web_port,
            guard=True,
            metrics=True,
            alerts_file=settings.alerts_file if settings.alerts_file.is_file() else None,
            environ=settings.environ,
            tell=lambda sentence: console.print(f"! {told(sentence)}"),
        )
    )
    with ending_politely():
        try:
            with stack:
                _announce(stack, console, settings)
                with contextlib.suppress(KeyboardInterrupt):
                    _follow(stack, console)
                with finishing_first():
                    return EXIT_DONE if leave_running else _stop_all(open_context(stack.settings()), console)
        except (StackError, RedisError) as error:
            console.print(told(error))
            return EXIT_FAILED
        except KeyboardInterrupt:
            console.print(tr("ended before the stack was ready"))
            return EXIT_FAILED


def _announce(stack: Stack, console: Console, settings: Settings) -> None:
    def show(name: str, text: object) -> None:
        console.print(f"{padded(name, ANNOUNCED_WIDTH)}{text}", soft_wrap=True)

    show(tr("broker and state"), redacted(stack.broker_url))
    show(tr("simulated exchange"), stack.simulator_url)
    if stack.web_url:
        kept = "CLEANBOOK_WEB_PASSWORD" if settings.web_password else settings.run_dir / PASSWORD_FILE
        password = "" if settings.web_password else kept_password(settings.run_dir / PASSWORD_FILE)
        where = tr("password {password} ({file})", password=password, file=kept)
        if not password:
            where = tr("password as in {variable}", variable=kept)
        show(tr("dashboard and API"), f"{stack.web_url}  {where}")
    if stack.flower_url:
        show("Flower", f"{stack.flower_url}  {FLOWER_USER} / {stack.flower_password}")
    where = tr(
        "user {user}, password in {file}",
        user=METRICS_USER,
        file=stack.options.run_dir / METRICS_PASSWORD_FILE,
    )
    show(tr("numbers"), f"{stack.metrics_url}  {where}")
    show(tr("logs"), stack.log_dir)
    console.print(
        tr("In another terminal of this checkout: python manage.py start | status | stop. Ctrl-C ends it.")
    )


def _follow(stack: Stack, console: Console) -> None:
    follower = LogFollower(stack.processes.values())
    pause = threading.Event()
    while True:
        for name, text in follower.new_lines():
            console.print(f"{name:<{NAME_WIDTH}} | {text}", soft_wrap=True)
        pause.wait(LOOK_S)


def _stop_all(context: Context, console: Console) -> int:
    """Stop every running instance, since nobody would watch its orders. Returns the exit code."""
    with contextlib.closing(context.client):
        damaged: list[str] = []
        records = context.instances.read_all(lambda name, _: damaged.append(name))
        asked = [
            *damaged,
            *(record.instance_id for record in records if record.phase is Phase.RUNNING or record.restart),
        ]
        if asked:
            console.print(tr("stopping {names} …", names=", ".join(asked)))
        for instance_id in asked:
            context.instances.request_stop(
                instance_id,
                by="up",
                reason=tr("the stack ends"),
                policy=own_policy(context.instances.config_json(instance_id)),
            )
        pause = threading.Event()
        deadline_s = time.monotonic() + STOP_TIMEOUT_S
        while left := [
            record for record in context.instances.read_all() if record.phase is not Phase.STOPPED
        ]:
            if time.monotonic() >= deadline_s:
                names = ", ".join(f"{record.instance_id} ({tr(str(record.phase))})" for record in left)
                console.print(
                    tr(
                        "not stopped clean: {names}; their orders may be open, run `up` again and clean up",
                        names=names,
                    )
                )
                return EXIT_NOT_CLEAN
            pause.wait(0.05)
    return EXIT_DONE
