"""A power cut of the state server: what had not yet come to the disk is gone."""

from __future__ import annotations

from dataclasses import dataclass

from tests.chaos.faults import World
from tests.chaos.server_faults import ServerKilled
from tests.chaos.synced import NOTES_FILE, synced_size


@dataclass(kw_only=True)
class PowerCut(ServerKilled):
    """SIGKILL of the state server, and its file cut back to what was on the disk."""

    def begin(self, world: World) -> None:
        """Kill it, and cut."""
        super().begin(world)
        directory = world.plant.folder / self.target / "appendonlydir"
        path = max(directory.glob("*.incr.aof"), key=lambda found: int(found.name.split(".")[2]))
        synced = synced_size(world.plant.folder / NOTES_FILE, path)
        if synced is None:
            self.detail += ", nothing is known of its disk: nothing cut"
            return
        lost = path.stat().st_size - synced
        with path.open("r+b") as file:
            file.truncate(synced)
        self.detail += f", {lost} bytes lost"
