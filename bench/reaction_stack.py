"""A whole stack with one instance that has just been started, for benches of how it reacts."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from bench.journal_tail import JournalTail
from cli.stack.stack import Stack, StackOptions
from runner.context import Context, open_context
from runner.lifecycle import start_instance
from settings import environment

#: More than the rounds need; a budget that runs out is not what is measured.
REQUESTS_PER_MINUTE = "100000"


class NotStarted(RuntimeError):
    """Raised when the instance does not start."""


@dataclass(frozen=True, kw_only=True)
class Running:
    """What runs, and what to ask it by."""

    stack: Stack
    context: Context
    http: requests.Session
    #: Of the exchange's journal, from its begin.
    tail: JournalTail
    #: Of the instance.
    slot: int


@contextlib.contextmanager
def open_reaction_stack(
    content: dict[str, Any], *, latency_ms: int, with_feed: bool = True
) -> Iterator[Running]:
    """Start a stack on a market that stands still, and the instance of this file's content; end them.

    Raises `NotStarted`.
    """
    instance = content["metadata"]["instance_id"]
    with tempfile.TemporaryDirectory() as folder:
        config_dir = Path(folder) / "config"
        config_dir.mkdir()
        (config_dir / f"{instance}.json").write_text(json.dumps(content), encoding="utf-8")
        options = StackOptions(
            run_dir=Path(folder),
            config_dir=config_dir,
            fresh=True,
            feed=with_feed,
            simulator_arguments=(
                *("--flow", "still", "--latency-ms", str(latency_ms)),
                *("--rate-per-min", REQUESTS_PER_MINUTE),
            ),
            environ={**environment(), "CLEANBOOK_REQUESTS_PER_MINUTE": REQUESTS_PER_MINUTE},
        )
        with Stack(options) as stack, requests.Session() as http:
            http.trust_env = False
            context = open_context(stack.settings())
            tail = JournalTail(stack.data_dir / "journal.jsonl")
            if not start_instance(context, instance, by="bench").result.started:
                raise NotStarted(f"{instance} is not stopped")
            record = context.instances.read(instance)
            assert record is not None  # it was started
            yield Running(stack=stack, context=context, http=http, tail=tail, slot=record.slot)
