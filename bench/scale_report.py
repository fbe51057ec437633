"""What `sweep_at_scale.py` measured, as tables and as one line of JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from bench.figures import nearest_rank
from bench.scale_state import Weight


@dataclass(kw_only=True)
class Used:
    """What the server did in a while."""

    seconds: float = 0.0
    cpu_s: float = 0.0
    #: Those within scripts included.
    commands: int = 0
    scripts: int = 0
    #: CPU time within scripts.
    script_us: int = 0


@dataclass(frozen=True, kw_only=True)
class Looks:
    """How long it takes to look at all instances, with nothing to do."""

    idle_sweep_s: float
    look_again_s: float
    heartbeats_s: float
    glance_s: float


@dataclass(frozen=True, kw_only=True)
class Load:
    """Iterations with nothing to do, as fast as so many processes can ask for them."""

    used: Used
    iterations: int
    clients: int

    @property
    def server_ms(self) -> float:
        """Return the server's CPU time of one iteration, its messages included, ms."""
        return self.used.cpu_s / self.iterations * 1000

    @property
    def script_ms(self) -> float:
        """Return what of it is spent in scripts, ms."""
        return self.used.script_us / self.iterations / 1000


@dataclass(frozen=True, kw_only=True)
class Wakes:
    """Wake-ups, from asking to the message."""

    delays_ms: Sequence[float]
    lost: int


@dataclass(frozen=True, kw_only=True)
class Lost:
    """Messages that were lost at once and found by so many sweepers."""

    used: Used
    messages: int
    sweepers: int


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Everything."""

    weight: Weight
    looks: Looks
    load: Load
    wakes: Wakes
    lost: Lost
    machine_loads: Sequence[float]


def report(measured: Measured) -> None:
    """Print everything on standard output."""
    weight, looks, load, wakes, lost = (
        measured.weight,
        measured.looks,
        measured.load,
        measured.wakes,
        measured.lost,
    )
    kinds = ", ".join(f"{kind} {size}" for kind, size in weight.kinds.items())
    per_s = load.iterations / load.used.seconds
    late_ms = [nearest_rank(wakes.delays_ms, part) for part in (0.5, 0.99)]
    each = (
        f"{lost.used.cpu_s / lost.messages * 1000:.3f} ms and {lost.used.scripts / lost.messages:.1f} scripts"
    )
    rows = {
        "memory of an instance": f"{weight.bytes_each / 1024:.1f} KB ({kinds} bytes)",
        "idle sweep": f"{looks.idle_sweep_s * 1000:.2f} ms",
        "comparing the sweep's list with all records": f"{looks.look_again_s * 1000:.0f} ms",
        "signs of life of all (guard, alerts)": f"{looks.heartbeats_s * 1000:.0f} ms",
        "all records (dashboard, top, metrics)": f"{looks.glance_s * 1000:.0f} ms",
        f"iterations/s of {load.clients} processes": f"{per_s:.0f}",
        "server: busy meanwhile": f"{load.used.cpu_s / load.used.seconds:.0%} of a core",
        "server: CPU of an iteration": f"{load.server_ms:.3f} ms, in scripts {load.script_ms:.3f} ms",
        "server: commands of an iteration, in scripts too": f"{load.used.commands / load.iterations:.1f}",
        "iterations/s of one core (calculated)": f"{1000 / load.server_ms:.0f}",
        f"{len(wakes.delays_ms)} wake-ups: to the message": f"p50 {late_ms[0]:.1f}, p99 {late_ms[1]:.1f} ms; "
        f"lost {wakes.lost}",
        f"{lost.messages} lost messages, {lost.sweepers} sweepers": f"sent after {lost.used.seconds:.1f} s; "
        f"server: {each} for each",
    }
    print("| | |\n|---|---|")
    for name, value in rows.items():
        print(f"| {name} | {value} |")
    print(
        json.dumps(
            {
                "bench": "sweep_at_scale",
                "instances": weight.instances,
                "bytes_each": round(weight.bytes_each),
                "bytes_by_kind": weight.kinds,
                "idle_sweep_ms": round(looks.idle_sweep_s * 1000, 3),
                "look_again_ms": round(looks.look_again_s * 1000, 1),
                "heartbeats_ms": round(looks.heartbeats_s * 1000, 1),
                "glance_ms": round(looks.glance_s * 1000, 1),
                "clients": load.clients,
                "iterations_per_s": round(per_s, 1),
                "server_busy": round(load.used.cpu_s / load.used.seconds, 3),
                "server_ms_per_iteration": round(load.server_ms, 4),
                "script_ms_per_iteration": round(load.script_ms, 4),
                "commands_per_iteration": round(load.used.commands / load.iterations, 1),
                "commands_per_s": round(load.used.commands / load.used.seconds),
                "wake_ms": [round(nearest_rank(wakes.delays_ms, part), 2) for part in (0.5, 0.99, 1)],
                "wakes": len(wakes.delays_ms),
                "wakes_lost": wakes.lost,
                "lost_messages": lost.messages,
                "sweepers": lost.sweepers,
                "found_after_s": round(lost.used.seconds, 2),
                "server_ms_per_found": round(lost.used.cpu_s / lost.messages * 1000, 4),
                "scripts_per_found": round(lost.used.scripts / lost.messages, 2),
                "load": [round(load, 2) for load in measured.machine_loads],
            }
        )
    )
