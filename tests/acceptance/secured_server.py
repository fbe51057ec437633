"""A state server with the users of `deploy/redis`, and on request with TLS as there."""

from __future__ import annotations

import hashlib
import re
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
import redis

from cli.stack.stack import ROOT, Stack
from cli.stack.valkey import SERVERS_ON_PATH, find_server, free_port
from tests.acceptance.command import plain_environ
from tests.acceptance.other_stack import missing
from tests.acceptance.world import eventually
from tests.conftest import services_required

USERS_FILE = ROOT / "deploy" / "redis" / "users.acl"
TLS_FILE = ROOT / "deploy" / "redis" / "valkey-tls.conf"


@dataclass(frozen=True, kw_only=True)
class SecuredServer:
    """A running server."""

    port: int
    #: Set for one with TLS: the authority of its certificate.
    ca: Path | None
    passwords: Mapping[str, str] = field(repr=False)

    def url(self, user: str, *, host: str = "127.0.0.1", ca: Path | None = None) -> str:
        """Return the URL with which a role connects."""
        where = f"{user}:{self.passwords[user]}@{host}:{self.port}/0"
        trusted = ca or self.ca
        return f"redis://{where}" if trusted is None else f"rediss://{where}?ssl_ca_certs={trusted}"

    @contextmanager
    def client(self, user: str) -> Iterator[redis.Redis]:
        """Give a connection of a role."""
        with redis.Redis.from_url(self.url(user), decode_responses=True, socket_timeout=5) as client:
            yield client

    def denied(self) -> list[str]:
        """Return what the server has denied so far, as user and command."""
        with self.client("admin") as client:
            log = cast("list[dict[str, Any]]", client.acl_log())
        return sorted({f"{entry['username']}: {entry['reason']} {entry['object']}" for entry in log})


class RoleStack(Stack):
    """A stack whose processes each connect as their own user."""

    def __init__(self, server: SecuredServer, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._secured = server

    def _run_python(self, name: str, arguments: tuple[str, ...], **more: str) -> Any:
        user = {"feed": "feed", "flower": "monitor"}.get(name, "worker")
        return super()._run_python(name, arguments, **more, BROKER_URL=self._secured.url(user))


def users_with_passwords() -> tuple[str, dict[str, str]]:
    """Return our ACL file with random passwords, and these."""
    text = USERS_FILE.read_text()
    passwords = {}
    for placeholder in re.findall(r"#([A-Z]+)_PASSWORD_SHA256", text):
        password = passwords[placeholder.lower()] = secrets.token_hex(16)
        digest = hashlib.sha256(password.encode()).hexdigest()
        text = text.replace(f"#{placeholder}_PASSWORD_SHA256", f"#{digest}")
    return text, passwords


@contextmanager
def secured_server(directory: Path) -> Iterator[SecuredServer]:
    """Run a server from our example files; only paths and port differ, and TLS where none has it."""
    program, tls = server_with_tls()
    users, passwords = users_with_passwords()
    (directory / "users.acl").write_text(users)
    port = free_port()
    certificates = make_certificates(directory / "tls") if tls else None
    text = TLS_FILE.read_text().replace("/etc/valkey/tls", str(directory / "tls"))
    text = text.replace("/etc/valkey/users.acl", str(directory / "users.acl"))
    text = text.replace("/var/lib/valkey", str(directory)).replace("6379", str(port))
    if not tls:
        kept = [line for line in text.splitlines() if not line.startswith("tls-")]
        text = "\n".join(kept).replace("port 0", f"port {port}")
    (directory / "valkey.conf").write_text(text)
    with (directory / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [str(program), str(directory / "valkey.conf")], cwd=directory, stdout=log, stderr=log
        )
    server = SecuredServer(port=port, ca=certificates, passwords=passwords)
    try:

        def answers() -> bool:
            assert process.poll() is None, (directory / "server.log").read_text()
            try:
                with server.client("admin") as client:
                    return bool(client.ping())
            except redis.ConnectionError:
                return False

        eventually(answers, what="the secured server")
        yield server
    finally:
        process.terminate()
        process.wait(60)


def server_with_tls() -> tuple[Path, bool]:
    """Return a server program and whether it is built with TLS, which the bundled one is not."""
    for program in filter(None, map(shutil.which, SERVERS_ON_PATH)):
        # Without a certificate both end at once; one that knows TLS misses the certificate.
        said = subprocess.run(
            [program, "--port", "0", "--tls-port", str(free_port())],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
        if "tls-cert-file" in said.stdout + said.stderr:
            return Path(program), True
    if services_required():
        pytest.fail("CLEANBOOK_REQUIRE_SERVICES is set, but: no Redis or Valkey on PATH is built with TLS")
    return find_server(), False


def make_certificates(directory: Path) -> Path:
    """Run the commands of docs/hardening.md and return the authority's certificate."""
    if shutil.which("openssl") is None:
        missing("no openssl on PATH")
    commands = shell_block("openssl x509")
    directory.mkdir()
    environ = plain_environ() | {"SAN": "IP:127.0.0.1"}
    subprocess.run(
        ["bash", "-eu", "-c", commands], cwd=directory, env=environ, check=True, capture_output=True
    )
    return directory / "ca.pem"


def shell_block(part: str) -> str:
    """Return the shell commands of docs/hardening.md that hold `part`."""
    page = (ROOT / "docs" / "hardening.md").read_text()
    found: str
    (found,) = [block for block in re.findall(r"```sh\n(.*?)```", page, re.DOTALL) if part in block]
    return found
