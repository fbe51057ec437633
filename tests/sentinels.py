"""Three servers and three Sentinels on loopback, from our example files: what a failover is tried on."""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from cli.stack.processes import ManagedProcess, ProcessSpec, StackError, stop_together
from cli.stack.stack import ROOT
from cli.stack.valkey import find_server, free_port

REDIS_DIR = ROOT / "deploy" / "redis"
MASTER_NAME = "cleanbook"
#: Shorter than the example's 3 s, so that a drill has many takeovers in it.
DOWN_AFTER_MS = 2000
READY_S = 60.0
POLL_S = 0.05


@dataclass(frozen=True, kw_only=True)
class Host:
    """Where one server and one Sentinel run."""

    address: str = "127.0.0.1"
    #: What their commands begin with.
    prefix: tuple[str, ...] = ()


class SentinelHouse:
    """The six processes; `servers` and `sentinels` can be killed and frozen one by one."""

    def __init__(
        self,
        folder: Path,
        *,
        environ: Mapping[str, str],
        log_dir: Path,
        hosts: Sequence[Host] = (),
        program: Path | None = None,
        tls: Path | None = None,
    ) -> None:
        """Choose ports and passwords and write the files; nothing runs yet.

        `tls` is a folder with `ca.pem`, `server.pem` and `server.key`, for a `program` built with TLS.
        """
        self._program, self._tls = program or find_server(), tls
        text = (REDIS_DIR / "users.acl").read_text(encoding="utf-8")
        self._passwords = {
            name.lower(): secrets.token_hex(16) for name in re.findall(r"#([A-Z]+)_PASSWORD_SHA256", text)
        }
        for name, password in self._passwords.items():
            digest = hashlib.sha256(password.encode()).hexdigest()
            text = text.replace(f"#{name.upper()}_PASSWORD_SHA256", f"#{digest}")
        self._sentinel_password = secrets.token_hex(16)
        self._environ = environ
        self._log_dir = log_dir
        places = list(hosts) or [Host()] * 3
        self._hosts = {f"{kind}-{n + 1}": places[n] for kind in ("server", "sentinel") for n in range(3)}
        self.ports = {f"server-{number}": free_port() for number in (1, 2, 3)}
        self.sentinel_ports = {f"sentinel-{number}": free_port() for number in (1, 2, 3)}
        self.servers = {name: self._server(folder / name, name, text) for name in self.ports}
        self.sentinels = {name: self._sentinel(folder / name, name) for name in self.sentinel_ports}

    @property
    def processes(self) -> dict[str, ManagedProcess]:
        """Return all six by name."""
        return {**self.servers, **self.sentinels}

    def url(self, user: str = "worker") -> str:
        """Return the URL by which a role connects to whichever server leads."""
        who = f"{user}:{self._passwords[user]}"
        where = ";".join(
            f"sentinel://{who}@{self._hosts[name].address}:{port}"
            for name, port in self.sentinel_ports.items()
        )
        url = f"{where}/0?master_name={MASTER_NAME}&sentinel_password={self._sentinel_password}"
        return f"{url}&ssl_ca_certs={self._tls / 'ca.pem'}" if self._tls else url

    def start(self) -> None:
        """Start all, and wait until two replicas follow and three Sentinels know each other."""
        for process in self.servers.values():
            process.start()
        self.wait_for(lambda: self.good_replicas() == 2, "two replicas that follow")
        for process in self.sentinels.values():
            process.start()
        self.wait_for(self.are_watched, "three Sentinels that know each other and both replicas")

    def stop(self) -> None:
        """End everything."""
        stop_together(self.sentinels.values())
        stop_together(self.servers.values())

    def client(self, name: str) -> redis.Redis:
        """Return a client of one server, with every right."""
        return redis.Redis(
            host=self._hosts[name].address,
            port=self.ports[name],
            username="admin",
            password=self._passwords["admin"],
            decode_responses=True,
            socket_timeout=1.0,
            socket_connect_timeout=1.0,
            retry=Retry(NoBackoff(), 0),
            **self._tls_options,
        )

    @property
    def _tls_options(self) -> dict[str, Any]:
        return {"ssl": True, "ssl_ca_certs": str(self._tls / "ca.pem")} if self._tls else {}

    def leader(self, *, least: int = 2) -> str | None:
        """Return the server that so many Sentinels call the one that leads; None while they differ."""
        ports = {port: name for name, port in self.ports.items()}
        said = [ports.get(int(state.get("port", 0))) for state in self._states()]
        for name in set(said) - {None}:
            if said.count(name) >= least:
                return name
        return None

    def good_replicas(self) -> int:
        """Return how many replicas keep up with the server that leads, 0 where none leads."""
        for name in self.servers:
            try:
                with self.client(name) as client:
                    info = cast("Mapping[str, object]", client.info("replication"))
            except redis.RedisError:
                continue
            if info["role"] == "master":
                return int(str(info.get("min_slaves_good_slaves", info.get("connected_slaves", 0))))
        return 0

    def are_watched(self) -> bool:
        """Tell whether every Sentinel knows the two others, and two replicas."""
        found = self._states()
        return len(found) == len(self.sentinels) and all(
            int(state["num-other-sentinels"]) == 2 and int(state["num-slaves"]) == 2 for state in found
        )

    def wait_for(self, condition: Callable[[], bool], what: str, timeout_s: float = READY_S) -> None:
        """Wait until `condition` holds. Raises `StackError`."""
        deadline_s = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() >= deadline_s:
                logs = "\n".join(f"{name}: {each.tail(5)}" for name, each in self.processes.items())
                raise StackError(f"no {what} after {timeout_s:.0f} s\n{logs}")
            time.sleep(POLL_S)

    def _states(self) -> list[dict[str, str]]:
        """Return what each Sentinel that answers says about the group."""
        found: list[dict[str, str]] = []
        for name, port in self.sentinel_ports.items():
            with redis.Redis(
                host=self._hosts[name].address,
                port=port,
                password=self._sentinel_password,
                decode_responses=True,
                socket_timeout=1.0,
                socket_connect_timeout=1.0,
                retry=Retry(NoBackoff(), 0),
                **self._tls_options,
            ) as client:
                try:
                    found.append(cast("dict[str, str]", client.sentinel_master(MASTER_NAME)))
                except redis.RedisError:
                    continue
        return found

    def _server(self, directory: Path, name: str, users: str) -> ManagedProcess:
        directory.mkdir(parents=True, mode=0o700)
        (directory / "users.acl").write_text(users, encoding="utf-8")
        text = (REDIS_DIR / "replicated.conf").read_text(encoding="utf-8")
        text = text.replace("/etc/valkey/users.acl", str(directory / "users.acl"))
        text = text.replace("/var/lib/valkey", str(directory)).replace(
            "port 6379", f"port {self.ports[name]}"
        )
        text = text.replace("REPLICA_PASSWORD", self._passwords["replica"])
        text = text.replace("bind 127.0.0.1", f"bind {self._hosts[name].address}")
        if name != "server-1":
            text += f"replicaof {self._hosts['server-1'].address} {self.ports['server-1']}\n"
        return self._process(name, directory, text)

    def _sentinel(self, directory: Path, name: str) -> ManagedProcess:
        directory.mkdir(parents=True, mode=0o700)
        text = (REDIS_DIR / "sentinel.conf").read_text(encoding="utf-8")
        text = text.replace("/var/lib/valkey-sentinel", str(directory))
        text = text.replace("port 26379", f"port {self.sentinel_ports[name]}")
        text = text.replace("bind 127.0.0.1", f"bind {self._hosts[name].address}")
        text = text.replace("10.0.0.1 6379", f"{self._hosts['server-1'].address} {self.ports['server-1']}")
        text = text.replace("SENTINEL_PASSWORD", self._sentinel_password)
        text = text.replace("WATCHER_PASSWORD", self._passwords["watcher"])
        text = text.replace("milliseconds cleanbook 3000", f"milliseconds cleanbook {DOWN_AFTER_MS}")
        return self._process(name, directory, text, "--sentinel")

    def _process(self, name: str, directory: Path, text: str, *more: str) -> ManagedProcess:
        if self._tls:
            # As the head of replicated.conf says.
            text = re.sub(r"^port (\d+)$", r"port 0\ntls-port \1", text, flags=re.MULTILINE)
            text += f"tls-cert-file {self._tls}/server.pem\ntls-key-file {self._tls}/server.key\n"
            text += f"tls-ca-cert-file {self._tls}/ca.pem\ntls-auth-clients no\ntls-replication yes\n"
        path = directory / "server.conf"
        path.write_text(text, encoding="utf-8")
        command = (*self._hosts[name].prefix, str(self._program), str(path), *more)
        spec = ProcessSpec(name=name, command=command, environ=self._environ, cwd=directory)
        return ManagedProcess(spec, self._log_dir)
