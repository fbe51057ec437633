"""A whole run with a Redis user for each role, and over TLS: enough rights for each, and no more."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import redis
import requests

from cli.stack.stack import FLOWER_USER, ROOT
from cli.stack.valkey import find_server, free_port
from settings import SettingsError, load
from state import keys
from state.alerts import Alerts
from state.connection import connect
from state.guards import Guards
from state.record import Phase
from state.scripts import Scripts
from tests.acceptance.command import Command, plain_environ
from tests.acceptance.other_stack import own_world
from tests.acceptance.secured_server import (
    USERS_FILE,
    RoleStack,
    SecuredServer,
    make_certificates,
    secured_server,
    shell_block,
)
from tests.acceptance.world import World, eventually

pytestmark = pytest.mark.acceptance


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredServer]:
    """A server with our users, and with TLS where the machine has a program that knows it."""
    with secured_server(tmp_path_factory.mktemp("server")) as found:
        yield found


@pytest.fixture(scope="module")
def secured(server: SecuredServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A stack whose processes connect as their users; the test itself as admin."""
    with own_world(
        tmp_path_factory.mktemp("secured"),
        {"BROKER_URL": server.url("admin")},
        make=partial(RoleStack, server),
        server=False,
        flower=True,
    ) as world:
        yield world


def environ_of(world: World, server: SecuredServer, user: str) -> dict[str, str]:
    return plain_environ() | {
        "BROKER_URL": server.url(user),
        "CLEANBOOK_CONFIG_DIR": str(world.config_dir),
        "CLEANBOOK_SIMULATOR_URL": world.stack.simulator_url,
        "CLEANBOOK_LEDGER_URL": world.stack.ledger_url,
        "CLEANBOOK_RUN_DIR": str(world.config_dir.parent / user),
    }


@pytest.mark.timeout(300)  # a dozen processes, one after the other
def test_a_run_under_each_roles_rights(secured: World, server: SecuredServer) -> None:
    manage = Command(environ=environ_of(secured, server, "cli"))
    name = secured.configure("secured_01")
    started = manage("start", name)
    assert started.code == 0, started.err
    secured.started.append(name)
    secured.wait_for_orders(name)
    secured.wait_for_stream("SOL_USDC")
    seq = secured.record(name).seq
    eventually(lambda: secured.record(name).seq > seq + 3, what="iterations that follow each other")
    for words in (("status", name), ("list",), ("doctor",), ("orders", name), ("pnl",)):
        ended = manage(*words)
        assert ended.code == 0, (words, ended.out, ended.err)
    guarded = subprocess.Popen(
        [sys.executable, "manage.py", "guard"], cwd=ROOT, env=environ_of(secured, server, "guard")
    )
    try:
        guards = Guards(secured.context.client)
        eventually(
            lambda: (
                [each.watched for each in guards.processes(now_ms=secured.context.instances.now_ms())] == [1]
            ),
            what="a guard that watches the instance",
        )
    finally:
        guarded.terminate()
        assert guarded.wait(60) == 0
    rules = secured.config_dir.parent / "alerts.toml"
    rules.write_text(
        '[targets.nowhere]\nurl = "json://127.0.0.1:1/x"\n'
        '[rules.all]\non = ["stop_not_clean", "daily_summary"]\ntargets = ["nowhere"]\nat = "00:00"\n'
    )
    environ = environ_of(secured, server, "alerts") | {"CLEANBOOK_ALERTS_FILE": str(rules)}
    telling = subprocess.Popen([sys.executable, "manage.py", "alerts"], cwd=ROOT, env=environ)
    try:
        alerts = Alerts(secured.context.client, Scripts(secured.context.client))
        eventually(alerts.memory, what="an alerts process that remembers")
    finally:
        telling.terminate()
        assert telling.wait(60) == 0
    assert alerts.holder() == ""
    count = Command(environ=environ_of(secured, server, "metrics"))
    eventually(lambda: "cleanbook_book_age_seconds{" in count("metrics", "--once").out, what="a book")
    numbers = count("metrics", "--once")
    assert numbers.code == 0, numbers.err
    for told in (
        "cleanbook_state_up 1.0",
        f'phase{{instance_id="{name}",phase="running"}} 1.0',
        "used_bytes ",
    ):
        assert told in numbers.out
    auth = (FLOWER_USER, secured.stack.flower_password)

    def workers() -> bool:
        found = requests.get(
            f"{secured.stack.flower_url}/api/workers?refresh=1", auth=auth, timeout=20
        ).json()
        return len(found) == 2 and all("stats" in each for each in found.values())

    eventually(workers, what="two workers in Flower")
    lengths = requests.get(f"{secured.stack.flower_url}/api/queues/length", auth=auth, timeout=60)
    assert lengths.ok, lengths.text
    stopped = manage("stop", name)
    assert stopped.code == 0, stopped.err
    assert secured.record(name).phase is Phase.STOPPED
    assert server.denied() == []


DENIED = (
    ("feed", "LPUSH iterate x"),
    ("feed", "SET cleanbook:{secured_01}:stop x"),
    ("feed", "HSET cleanbook:{secured_01}:intents x 1"),
    ("feed", "PUBLISH /0.celery.pidbox x"),
    ("cli", "LPUSH cleanup x"),
    ("cli", "HGETALL unacked"),
    ("cli", "PUBLISH /0.celery.pidbox x"),
    ("guard", "HSET cleanbook:{secured_01}:record phase stopped"),
    ("guard", "DEL cleanbook:{secured_01}:stop"),
    ("alerts", "HSET cleanbook:{secured_01}:record phase stopped"),
    ("alerts", "LPUSH iterate x"),
    ("monitor", "LPUSH cleanup x"),
    ("monitor", "HGETALL cleanbook:{secured_01}:record"),
    ("metrics", "HSET cleanbook:{secured_01}:record phase stopped"),
    ("metrics", "LPUSH iterate x"),
    ("worker", "SET elsewhere x"),
    *((user, "SCAN 0") for user in ("feed", "cli", "guard", "alerts", "monitor", "metrics")),
    *(
        (user, command)
        for user in ("worker", "feed", "cli", "guard", "alerts", "monitor", "metrics")
        for command in (
            "FLUSHALL",
            "CONFIG SET maxmemory 1mb",
            "KEYS *",
            "ACL LIST",
            "SHUTDOWN NOSAVE",
        )
    ),
)


def test_a_role_can_do_no_more_than_it_needs(server: SecuredServer) -> None:
    done = []
    for user, command in DENIED:
        with server.client(user) as client:
            try:
                client.execute_command(*command.split())  # type: ignore[no-untyped-call]
            except redis.exceptions.NoPermissionError:
                continue
            done.append((user, command))
    assert done == []
    with server.client("admin") as client:
        client.acl_log_reset()
    # Without a name, or without TLS where that is asked for.
    nobody = connect(f"redis://127.0.0.1:{server.port}/0")
    with pytest.raises(redis.ConnectionError):
        nobody.ping()
    nobody.close()


def test_a_denied_command_is_told_as_such(secured: World, server: SecuredServer) -> None:
    manage = Command(environ=environ_of(secured, server, "monitor"))
    ended = manage("status")
    assert ended.code == 1
    assert "may not do this" in ended.err
    assert "users.acl" in ended.err
    with server.client("admin") as client:
        client.acl_log_reset()


def test_a_placeholder_left_in_the_file_keeps_the_server_from_starting(tmp_path: Path) -> None:
    ended = subprocess.run(
        [str(find_server()), "--port", str(free_port()), "--aclfile", str(USERS_FILE)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert ended.returncode != 0
    assert "ACL errors" in ended.stdout


def test_the_commands_of_the_page_fill_the_file_in(tmp_path: Path) -> None:
    (tmp_path / "users.acl").write_text(USERS_FILE.read_text())
    make_certificates(tmp_path / "unused")  # for its check that openssl is there
    subprocess.run(
        ["bash", "-eu", "-c", shell_block("users.acl")], cwd=tmp_path, env=plain_environ(), check=True
    )
    assert "SHA256" not in (tmp_path / "users.acl").read_text()
    passwords = dict(line.split() for line in (tmp_path / "passwords.txt").read_text().splitlines())
    roles = ("ADMIN", "WORKER", "FEED", "CLI", "GUARD", "ALERTS", "MONITOR", "METRICS", "REPLICA", "WATCHER")
    assert set(passwords) == set(roles)
    assert (tmp_path / "passwords.txt").stat().st_mode & 0o777 == 0o600


def test_a_server_that_is_not_the_one_gets_no_password(server: SecuredServer, tmp_path: Path) -> None:
    """Neither over TLS to a server of another authority or name, nor over an unencrypted connection."""
    if server.ca is None:
        pytest.skip("no Redis or Valkey on PATH is built with TLS (the bundled one is not)")
    stranger = make_certificates(tmp_path / "stranger")
    for url in (server.url("cli", ca=stranger), server.url("cli", host="localhost")):
        client = connect(url)
        with pytest.raises(redis.ConnectionError, match=r"(?i)certificate"):
            client.ping()
        client.close()
        command = [sys.executable, "-m", "celery", "-A", "tasks", "inspect", "ping", "--timeout=1"]
        environ = plain_environ() | {"BROKER_URL": url}
        ended = subprocess.run(
            command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60, check=False
        )
        assert ended.returncode != 0
        assert "certificate" in (ended.stdout + ended.stderr).lower()
        assert server.passwords["cli"] not in ended.stdout + ended.stderr
    with pytest.raises(SettingsError, match="ssl_cert_reqs"):
        load({"BROKER_URL": f"{server.url('cli')}&ssl_cert_reqs=none"})


def test_every_key_of_ours_is_within_some_role() -> None:
    """A new key outside of the pattern would be denied to everybody."""
    constants = [value for name, value in vars(keys).items() if name.isupper() and isinstance(value, str)]
    assert all(value == keys.PREFIX or value.startswith(f"{keys.PREFIX}:") for value in constants)
