"""A crash test with Sentinels: three servers for broker and state, and the one that leads is lost."""

from __future__ import annotations

import random
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from tests.acceptance.command import plain_environ
from tests.chaos.faults import Fault, Maker, World
from tests.chaos.plant import Plant
from tests.sentinels import DOWN_AFTER_MS, SentinelHouse

#: How long a leader stays away: the others agree on a new one well before.
AWAY_S = (DOWN_AFTER_MS / 1000 + 4, DOWN_AFTER_MS / 1000 + 9)
#: Shorter than it takes to be replaced.
BLINK_S = (0.3, DOWN_AFTER_MS / 1000 * 0.6)


@dataclass(kw_only=True)
class SentinelPlant(Plant):
    """The same processes, but for the two servers: in their place three, and three Sentinels."""

    #: After a takeover every stop waits for the same fence.
    cleanups: int = 4

    def make_servers(self) -> None:
        """Choose ports."""
        self.house = SentinelHouse(self.folder / "servers", environ=plain_environ(), log_dir=self.log_dir)

    def start_servers(self) -> None:
        """Start all six."""
        self.processes |= self.house.processes
        self.house.start()

    def url(self, name: str) -> str:
        """Return the URL of both: the one server that leads."""
        return self.house.url()


def house(world: World) -> SentinelHouse:
    """Return the servers of a test with Sentinels."""
    assert isinstance(world.plant, SentinelPlant), "this fault needs --sentinels"
    return world.plant.house


@dataclass(kw_only=True)
class LeaderLost(Fault):
    """The leading server is away until after another one leads; over when the other two follow that one."""

    #: Frozen, and not killed: it wakes up and does not know.
    frozen: bool = False
    #: The replicas freeze this long before: what was confirmed meanwhile has not been looked at by them.
    blind_s: float = 0.0
    _name: str = ""

    def begin(self, world: World) -> None:
        """Take it away."""
        servers = house(world)
        world.plant.wait_for(lambda: servers.leader() is not None, 10)
        self._name = servers.leader() or sorted(servers.servers)[0]
        others = [name for name in servers.servers if name != self._name]
        if self.blind_s:
            for name in others:
                world.plant.processes[name].send(signal.SIGSTOP)
            world.plant.pause(self.blind_s)
        if self.frozen:
            world.plant.processes[self._name].send(signal.SIGSTOP)
        else:
            world.plant.processes[self._name].kill()
            world.plant.hold_back(self._name, self.hold_s)
        for name in others if self.blind_s else ():
            world.plant.processes[name].send(signal.SIGCONT)
        self.detail = f"{self._name} {'frozen' if self.frozen else 'killed'} for {self.hold_s:.1f} s" + (
            f", its replicas frozen for {self.blind_s:.1f} s before" if self.blind_s else ""
        )

    def end(self, world: World) -> None:
        """Let it come back."""
        if self.frozen:
            world.plant.processes[self._name].send(signal.SIGCONT)

    def is_over(self, world: World) -> bool:
        """Tell whether another one leads, or this one again, and has a replica, so that it takes writes."""
        servers = house(world)
        return world.plant.is_up(self._name) and servers.leader() is not None and servers.good_replicas() > 0


@dataclass(kw_only=True)
class ReplicasLost(Fault):
    """Both replicas are away: the leader takes no writes until one is back."""

    def begin(self, world: World) -> None:
        """Kill them."""
        servers = house(world)
        world.plant.wait_for(lambda: servers.leader() is not None, 10)
        leader = servers.leader()
        self.detail = f"all but {leader} for {self.hold_s:.1f} s"
        for name in servers.servers:
            if name != leader:
                world.plant.processes[name].kill()
                world.plant.hold_back(name, self.hold_s)

    def is_over(self, world: World) -> bool:
        """Tell whether a replica keeps up again."""
        return house(world).good_replicas() > 0


def _leader_killed(name: str, dice: random.Random, _: bool) -> Fault:
    return LeaderLost(name=name, dice=dice, hold_s=dice.uniform(*AWAY_S))


def _leader_frozen(name: str, dice: random.Random, _: bool) -> Fault:
    return LeaderLost(name=name, dice=dice, hold_s=dice.uniform(*AWAY_S), frozen=True)


def _leader_blinks(name: str, dice: random.Random, _: bool) -> Fault:
    return LeaderLost(name=name, dice=dice, hold_s=dice.uniform(*BLINK_S), frozen=dice.random() < 0.5)


def _blind_replicas(name: str, dice: random.Random, _: bool) -> Fault:
    return LeaderLost(
        name=name, dice=dice, hold_s=dice.uniform(*AWAY_S), blind_s=dice.uniform(0.3, DOWN_AFTER_MS / 2000)
    )


def _replicas_lost(name: str, dice: random.Random, _: bool) -> Fault:
    return ReplicasLost(name=name, dice=dice, hold_s=dice.uniform(2, 5))


_MAKERS = {
    "failover: leader killed": _leader_killed,
    "failover: leader frozen": _leader_frozen,
    "failover: leader back before that": _leader_blinks,
    "failover: replicas frozen, leader killed": _blind_replicas,
    "failover: both replicas killed": _replicas_lost,
}
#: Every class of fault that needs Sentinels.
FAILOVERS: Mapping[str, Maker] = {name: partial(maker, name) for name, maker in _MAKERS.items()}
