"""A crash test on three hosts: namespaces with a network between servers and one towards the exchange.

Host 1 and host 2 have a set of workers each, host 1 the feed and the guard; each of the three has a server
and a Sentinel. A host can be cut off from the others and still reach the exchange: then a leader that was
replaced goes on for the workers beside it, which is the worst that a network can do. Needs root.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from dataclasses import dataclass
from functools import partial

from cli.stack.processes import ManagedProcess, ProcessSpec
from cli.stack.stack import ROOT
from tests.acceptance.command import plain_environ
from tests.chaos.failover import AWAY_S, SentinelPlant, house
from tests.chaos.faults import Fault, Maker, World
from tests.chaos.plant import CLEANUP, FEED, GUARD, ITERATE, worker
from tests.sentinels import Host, SentinelHouse

SERVERS_NET, EXCHANGE_NET = "10.77.0", "10.78.0"
#: The tests' own place in both networks, and the exchange's.
OURS = 100
HOSTS = (1, 2, 3)
CLEANUP_TOO = "cleanup-2"
#: Who runs where; the simulated exchange is where the tests are, which alone may give it faults.
PLACES = {ITERATE[0]: 1, CLEANUP: 1, FEED: 1, GUARD: 1, ITERATE[1]: 2, CLEANUP_TOO: 2}


class Networks:
    """The namespaces and their two networks."""

    def __init__(self) -> None:
        self._tag = f"cb{os.getpid() % 100000}"

    def open(self) -> None:
        """Make them. Raises `CalledProcessError` where this is not allowed."""
        for net in ("s", "x"):
            self._ip("netns", "add", f"{self._tag}{net}")
            self._in(f"{self._tag}{net}", "link", "set", "lo", "up")
            self._in(f"{self._tag}{net}", "link", "add", "bridge", "type", "bridge")
            self._in(f"{self._tag}{net}", "link", "set", "bridge", "up")
        for number in HOSTS:
            self._ip("netns", "add", self.name(number))
            self._in(self.name(number), "link", "set", "lo", "up")
            for net, prefix in (("s", SERVERS_NET), ("x", EXCHANGE_NET)):
                self._plug(net, number, f"{prefix}.{number}", self.name(number))
        for net, prefix in (("s", SERVERS_NET), ("x", EXCHANGE_NET)):
            self._plug(net, OURS, f"{prefix}.{OURS}", None)

    def close(self) -> None:
        """Take them away; what is not there is none of ours."""
        for name in (*(self.name(number) for number in HOSTS), f"{self._tag}s", f"{self._tag}x"):
            subprocess.run(("ip", "netns", "del", name), check=False, capture_output=True)
        for net in ("s", "x"):
            subprocess.run(("ip", "link", "del", f"{self._tag}{net}{OURS}"), check=False, capture_output=True)

    def name(self, number: int) -> str:
        """Return the namespace of a host."""
        return f"{self._tag}h{number}"

    def prefix(self, number: int) -> tuple[str, ...]:
        """Return what a command of a host begins with."""
        return ("ip", "netns", "exec", self.name(number))

    def cut(self, number: int, *, off: bool) -> None:
        """Cut a host off from the other servers, or join it again; the exchange stays within reach."""
        self._in(f"{self._tag}s", "link", "set", f"p{number}", "down" if off else "up")

    def _plug(self, net: str, number: int, address: str, namespace: str | None) -> None:
        device = f"{self._tag}{net}{number}"
        self._ip(
            "link", "add", device, "type", "veth", "peer", "name", f"p{number}", "netns", f"{self._tag}{net}"
        )
        self._in(f"{self._tag}{net}", "link", "set", f"p{number}", "master", "bridge", "up")
        if namespace:
            self._ip("link", "set", device, "netns", namespace)
        run = partial(self._in, namespace) if namespace else self._ip
        run("addr", "add", f"{address}/24", "dev", device)
        run("link", "set", device, "up")

    def _in(self, namespace: str, *arguments: str) -> None:
        self._ip("-n", namespace, *arguments)

    def _ip(self, *arguments: str) -> None:
        subprocess.run(("ip", *arguments), check=True, capture_output=True, timeout=10)


@dataclass(kw_only=True)
class HostsPlant(SentinelPlant):
    """The same on three hosts."""

    def make_servers(self) -> None:
        """Make the networks, and choose ports."""
        self.networks = Networks()
        self.networks.open()
        hosts = [Host(address=f"{SERVERS_NET}.{each}", prefix=self.networks.prefix(each)) for each in HOSTS]
        self.house = SentinelHouse(
            self.folder / "servers", environ=plain_environ(), log_dir=self.log_dir, hosts=hosts
        )
        self.simulator_host = "0.0.0.0"

    def exchange_url(self) -> str:
        """Return the exchange as hosts see it."""
        return f"http://{EXCHANGE_NET}.{OURS}:{self.simulator_port}"

    def start_workers(self) -> None:
        """Start the workers, one set on each of two hosts."""
        super().start_workers()
        self.start_python(CLEANUP_TOO, *worker(CLEANUP_TOO, "cleanup", self.cleanups))

    def start_python(self, name: str, *arguments: str) -> None:
        """Start a process of ours on its host."""
        prefix = self.networks.prefix(PLACES[name]) if name in PLACES else ()
        spec = ProcessSpec(
            name=name, command=(*prefix, sys.executable, *arguments), environ=self.environ, cwd=ROOT
        )
        self.processes[name] = ManagedProcess(spec, self.log_dir)
        self.processes[name].start()

    def stop(self) -> None:
        """End everything, and take the networks away."""
        super().stop()
        self.networks.close()


@dataclass(kw_only=True)
class HostCutOff(Fault):
    """The leader's host is cut off from the others, and joined again; nothing dies."""

    _number: int = 0

    def begin(self, world: World) -> None:
        """Cut."""
        servers = house(world)
        world.plant.wait_for(lambda: servers.leader() is not None, 10)
        name = servers.leader() or sorted(servers.servers)[0]
        self._number = int(name.split("-")[1])
        self._networks(world).cut(self._number, off=True)
        self.detail = f"host {self._number} with the leader cut off for {self.hold_s:.1f} s"

    def end(self, world: World) -> None:
        """Join."""
        self._networks(world).cut(self._number, off=False)

    def is_over(self, world: World) -> bool:
        """Tell whether one leads and takes writes."""
        servers = house(world)
        return servers.leader() is not None and servers.good_replicas() > 0

    def _networks(self, world: World) -> Networks:
        assert isinstance(world.plant, HostsPlant), "this fault needs --hosts"
        return world.plant.networks


def _host_cut_off(name: str, dice: random.Random, _: bool) -> Fault:
    return HostCutOff(name=name, dice=dice, hold_s=dice.uniform(AWAY_S[0] + 4, AWAY_S[1] + 4))


CUT_OFF = "failover: leader's host cut off"
#: Faults that need hosts.
CUTS: dict[str, Maker] = {CUT_OFF: partial(_host_cut_off, CUT_OFF)}
