"""A run with everything that can go wrong, telling all it does; then every place is searched for secrets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis
import requests

from api_tokens import TOKENS_FILE, TokenFile
from cli.stack.stack import FLOWER_USER, ROOT
from cli.web import PASSWORD_FILE
from settings import STACK_FILE
from state.record import Phase
from tests.acceptance.command import Command, command_for, plain_environ
from tests.acceptance.conftest import LIVE_KEY, LIVE_KEYS, LIVE_SECRET
from tests.acceptance.other_stack import own_world
from tests.acceptance.simulated_exchange import LIST_OPEN, PLACE_BATCH, fault
from tests.acceptance.test_secrets import live_instance, redis_texts
from tests.acceptance.world import World, crash_server, eventually

pytestmark = [pytest.mark.acceptance, pytest.mark.slow]

#: A key pair of which one half is wrong, a password of a database, and one of a broker.
WRONG_SECRET = "WRONGWRONGWRONGWRONGWRONGWRONGWRONGWRONGWRO="
LEDGER_PASSWORD = "the-ledgers-own-password"
BROKER_PASSWORD = "another-brokers-password"
SECRETS = (LIVE_SECRET, WRONG_SECRET, LEDGER_PASSWORD, BROKER_PASSWORD)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A whole stack with Flower, telling everything it does."""
    environ = LIVE_KEYS | {"WRONG_SECRET": WRONG_SECRET, "CLEANBOOK_LOG_LEVEL": "DEBUG"}
    with own_world(tmp_path_factory.mktemp("secrets"), environ, flower=True, web=True) as found:
        yield found


def broken_instance(world: World, instance_id: str, api_key: str, secret_key: str) -> str:
    exchange = {"api_key": api_key, "secret_key": secret_key, "base_url": world.exchange.url}
    return world.configure(instance_id, top={"live": True}, exchange=exchange)


#: A command's words, and what its environment has besides.
Run = tuple[tuple[str, ...], dict[str, str]]


def outputs_of_errors(world: World, manage: Command, tmp_path: Path) -> list[tuple[str, str]]:
    """Make commands fail in every way that has a secret at hand; return what they say."""
    broken_instance(world, "wrong_01", "${BACKPACK_KEY}", "${WRONG_SECRET}")
    broken_instance(world, "pasted_01", LIVE_KEY, LIVE_SECRET)
    broken_instance(world, "unset_01", "${NOBODY_SET_THIS}", "${BACKPACK_SECRET}")
    # By its owner's fault the secret is in this file: nothing may repeat it.
    world.configure("leaking_01", spread="${BACKPACK_SECRET}")
    ledger = f"postgresql://bot:{LEDGER_PASSWORD}@127.0.0.1:1/ledger"
    broker = f"redis://:{BROKER_PASSWORD}@127.0.0.1:1/0"
    here = world.stack.broker_url.split("@")[1]
    commands: tuple[Run, ...] = (
        *((("start", name, "--debug"), {}) for name in ("wrong_01", "pasted_01", "leaking_01")),
        (("validate", "wrong_01", "pasted_01", "leaking_01", "unset_01", "--json"), {}),
        (("doctor", "--debug"), {}),
        (("pnl", "--debug"), {"CLEANBOOK_LEDGER_URL": ledger}),
        (("ledger", "--debug"), {"CLEANBOOK_LEDGER_URL": ledger.replace("postgresql", "postgrsql")}),
        (("status", "--debug"), {"BROKER_URL": broker}),
        (("status", "--debug"), {"BROKER_URL": broker.replace("redis:", "rediss:")}),
        (("status", "--debug"), {"BROKER_URL": broker.replace(":1/", ":one/")}),
        (("status", "--debug"), {"BROKER_URL": f"redis://:{BROKER_PASSWORD}@{here}"}),
        (("start", "secret_01", "--debug"), {"BACKPACK_SECRET": WRONG_SECRET}),
        (("start", "secret_01", "--debug"), {"BACKPACK_SECRET": ""}),
    )
    # Long-lived processes with an address that does not answer.
    own = plain_environ() | {
        "CLEANBOOK_LOG_LEVEL": "DEBUG",
        "CLEANBOOK_LOG_FORMAT": "console",
        "CLEANBOOK_RUN_DIR": str(tmp_path / "elsewhere"),
    }
    celery = ("-m", "celery", "-A", "tasks")
    programs: tuple[Run, ...] = (
        (("manage.py", "feed"), {"BROKER_URL": world.stack.broker_url, "CLEANBOOK_LEDGER_URL": ledger}),
        (("manage.py", "feed"), {"BROKER_URL": broker}),
        (("manage.py", "guard"), {"BROKER_URL": broker}),
        ((*celery, "worker", "-P", "solo", "-n", "x@%h"), {"BROKER_URL": broker}),
        ((*celery, "report"), {"BROKER_URL": broker}),
    )

    def command(run: Run) -> tuple[str, str]:
        words, more = run
        ended = manage(*words, **more)
        return f"{words} {sorted(more)}", ended.out + ended.err

    def program(run: Run) -> tuple[str, str]:
        words, more = run
        return f"{words}", said_within(8, words, own | more)

    with ThreadPoolExecutor(3) as pool:
        return [*pool.map(command, commands), *pool.map(program, programs)]


def said_within(limit_s: float, arguments: tuple[str, ...], environ: dict[str, str]) -> str:
    """Return what a Python program says until it ends, or `limit_s` after its first word."""
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [sys.executable, *arguments], cwd=ROOT, env=environ, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            eventually(
                lambda: process.poll() is not None or os.fstat(output.fileno()).st_size > 0,
                60,
                what=f"a word of {arguments}",
            )
            process.wait(limit_s)
        except subprocess.TimeoutExpired:
            pass  # it would go on for ever
        finally:
            process.kill()
            process.wait()
        output.seek(0)
        return output.read().decode(errors="replace")


def flower_texts(world: World) -> Iterator[tuple[str, str]]:
    """Yield the pages and answers of Flower that say anything about workers and tasks."""
    auth = (FLOWER_USER, world.stack.flower_password)

    def get(path: str) -> str:
        return requests.get(f"{world.stack.flower_url}{path}", auth=auth, timeout=60).text

    workers: dict[str, Any] = eventually(
        lambda: json.loads(get("/api/workers?refresh=1")), what="workers that tell Flower about themselves"
    )
    tasks: dict[str, Any] = eventually(lambda: json.loads(get("/api/tasks")), what="tasks in Flower")
    assert all("conf" in each for each in workers.values())
    one = next(iter(tasks))
    pages = ["/api/workers", "/api/tasks", f"/api/task/info/{one}", "/api/task/types", "/api/queues/length"]
    pages += ["/", "/workers", "/tasks", f"/task/{one}", "/broker", *(f"/worker/{name}" for name in workers)]
    for page in pages:
        yield f"flower {page}", get(page)


def web_texts(world: World) -> Iterator[tuple[str, str]]:
    """Yield the answers of the HTTP API about every instance, usable or not, refusals included."""
    token = TokenFile(world.stack.options.run_dir / TOKENS_FILE).make("searcher")
    base = f"{world.stack.web_url}/api/v1"
    headers = {"Authorization": f"Bearer {token}"}

    def ask(method: str, path: str, body: Any = None) -> tuple[str, str]:
        answer = requests.request(method, f"{base}{path}", json=body, headers=headers, timeout=60)
        assert answer.status_code != 500, answer.text
        return f"web {method} {path}", answer.text

    listed = ask("GET", "/instances")
    yield listed
    names = [row["instance_id"] for row in json.loads(listed[1])["instances"]]
    assert {"secret_01", "wrong_01", "pasted_01", "leaking_01", "unset_01"} <= {*names}
    parts = ("", "/config", "/receipt", "/receipts", "/orders", "/fills", "/pnl", "/events", "/series")
    for name in names:
        for part in parts:
            yield ask("GET", f"/instances/{name}{part}")
        if name != "secret_01":
            yield ask("POST", f"/instances/{name}/start", {})
    changed = json.loads(ask("GET", "/instances/secret_01/config")[1])
    changed["config"]["metadata"]["description"] = "${BACKPACK_SECRET}"
    body = {"config": changed["config"], "base_version": changed["version"]}
    yield ask("PUT", "/instances/secret_01/config?dry_run=1", body)
    yield ask("PUT", "/instances/secret_01/config", body)
    with requests.get(f"{base}/events/stream", headers=headers, stream=True, timeout=60) as stream:
        yield "web stream", next(stream.iter_content(1 << 20)).decode()
    for path in ("/api/v1/ready", "/api/v1/openapi.json", "/docs", "/"):
        yield f"web {path}", requests.get(f"{world.stack.web_url}{path}", timeout=20).text


def process_texts(world: World) -> Iterator[tuple[str, str]]:
    """Yield the command line of every process of the stack, as anybody on the machine sees it."""
    for name, managed in world.stack.processes.items():
        assert managed.pid is not None
        process = psutil.Process(managed.pid)
        for each in (process, *process.children(recursive=True)):
            yield f"command line of {name} ({each.pid})", " ".join(each.cmdline())


def file_texts(directory: Path) -> Iterator[tuple[str, bytes]]:
    """Yield every file that the stack has written, the server's and the ledger's included."""
    for path in directory.rglob("*"):
        if path.is_file():
            yield str(path), path.read_bytes()


def forms(secret: str) -> set[bytes]:
    """Return a secret as texts and files may hold it."""
    return {secret.encode(), secret.encode().hex().encode(), secret.replace("=", "%3D").encode()}


@pytest.mark.timeout(300)  # a whole stack, and twenty commands that fail
def test_no_secret_is_anywhere_but_in_the_environment(world: World, tmp_path: Path) -> None:
    manage = command_for(
        world.stack.options.run_dir, world.config_dir, **LIVE_KEYS, WRONG_SECRET=WRONG_SECRET
    )
    name = live_instance(world, "secret_01")
    assert manage("start", name).code == 0
    world.started.append(name)
    eventually(
        lambda: len(world.exchange.open_order_ids("other", slot=world.slot(name))) == 6,
        what="orders signed with the live key",
    )
    world.exchange.set_faults(
        fault(PLACE_BATCH, "reset_after", count=2), fault(LIST_OPEN, "error", status=401, count=2)
    )
    eventually(lambda: world.record(name).last_error, what="an error")
    said = outputs_of_errors(world, manage, tmp_path)
    crash_server(world, down_s=0.3)
    flower = list(flower_texts(world))
    web = list(web_texts(world))
    processes = list(process_texts(world))
    client = world.context.client
    stored = list(redis_texts(client))
    client.save()
    stopped = manage("stop", name, "--debug")
    said.append(("stop", stopped.out + stopped.err))
    assert world.record(name).phase is Phase.STOPPED

    server_password = world.stack.broker_url.split(":")[2].split("@")[0]
    files = [*file_texts(world.stack.data_dir), *file_texts(tmp_path)]
    names = {Path(path).name for path, _ in files}
    logs = {f"{each}.log" for each in ("iterate", "cleanup", "feed", "flower", "web")}
    assert {"ledger.sqlite", "dump.rdb", *logs} <= names
    assert any("appendonly" in path for path, _ in files)
    assert any(b"DEBUG" in text or b"debug" in text for path, text in files if path.endswith("iterate.log"))
    texts = [*files, *((where, text.encode()) for where, text in (*said, *flower, *web, *processes, *stored))]
    assert [where for where, text in said if not text.strip()] == [], "each of them says something"

    wanted = {form: secret[:5] for secret in SECRETS for form in forms(secret)}
    found = [(where, name) for where, text in texts for form, name in wanted.items() if form in text]
    assert found == []
    # The stack's own server: its password is where its owner's programs find it, and nobody else does.
    holders = {where for where, text in texts if server_password.encode() in text}
    run_dir = world.stack.options.run_dir.resolve()
    assert holders == {str(run_dir / STACK_FILE), str(run_dir / "valkey" / "valkey.conf")}
    assert all(os.stat(where).st_mode & 0o077 == 0 for where in holders)
    assert [where for where, text in stored if LIVE_KEY in text] == []
    # The password of the page and the key of its cookies: in their files, which are their owner's alone.
    for file in (PASSWORD_FILE, "web-session-key"):
        secret = (run_dir / file).read_text().strip()
        assert {where for where, text in texts if secret.encode() in text} == {str(run_dir / file)}


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc")
def test_a_crash_leaves_no_core_file_and_others_cannot_read_the_environment(world: World) -> None:
    for name in ("iterate", "cleanup", "feed", "flower", "web"):
        pid = world.stack.processes[name].pid
        assert pid is not None
        process = psutil.Process(pid)

        def all_without_core(process: psutil.Process = process) -> bool:
            family = (process, *process.children(recursive=True))
            return all(core_limits(each.pid) == ["0", "0"] for each in family)

        # Flower takes a moment to get that far.
        eventually(all_without_core, what=f"no core file of {name}")
        assert os.stat(f"/proc/{pid}/environ").st_mode & 0o077 == 0


def core_limits(pid: int) -> list[str]:
    """Return the soft and the hard limit of core files."""
    limits = Path(f"/proc/{pid}/limits").read_text().splitlines()
    (line,) = [line for line in limits if line.startswith("Max core file size")]
    return line.split()[4:6]


def test_redis_is_the_client_that_is_searched(world: World) -> None:
    """The search itself: what is put there is found."""
    client: redis.Redis = world.context.client
    client.hset("cleanbook:probe", "field", LIVE_SECRET)
    try:
        assert [key for key, text in redis_texts(client) if LIVE_SECRET in text] == ["cleanbook:probe"]
    finally:
        client.delete("cleanbook:probe")
