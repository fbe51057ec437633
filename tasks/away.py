"""What becomes of a task whose state server goes away: a sentence, since the sweep brings its work back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from state.connection import AWAY

log = structlog.get_logger(__name__)


@contextmanager
def ends_when_away(instance_id: str, epoch: int) -> Iterator[None]:
    """End what is inside, and say why, when the state server is away or has become a replica."""
    try:
        yield
    except AWAY as error:
        log.warning(
            "ended early, the state server is away; a sweep repeats it once it answers",
            instance=instance_id,
            epoch=epoch,
            error=f"{type(error).__name__}: {error}",
        )
