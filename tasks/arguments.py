"""What a task may be asked for: ids and numbers, in exactly this form.

Whoever can write to the broker can send any message. None of them may reach a key, a file name or a script
with a value that its author did not think of.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from runner.config_models import INSTANCE_ID_PATTERN

_INSTANCE_ID = re.compile(INSTANCE_ID_PATTERN.strip("^$"))
#: Far above any epoch or tick, and exact as a number of Lua.
LARGEST_NUMBER = 10**12

Check = Callable[[Any], bool]


def _is_instance_id(value: Any) -> bool:
    return isinstance(value, str) and _INSTANCE_ID.fullmatch(value) is not None


def _is_number(value: Any) -> bool:
    # `type`, since True is an int. No negative one: -1 is the wake-up's tick in the scripts.
    return type(value) is int and 0 <= value <= LARGEST_NUMBER


def _is_tick(value: Any) -> bool:
    return value is None or _is_number(value)


#: The positional arguments of each task that a worker runs, in their order.
ARGUMENTS: Mapping[str, tuple[tuple[str, Check], ...]] = {
    "tasks.iterate": (("instance_id", _is_instance_id), ("epoch", _is_number), ("tick", _is_tick)),
    "tasks.cleanup": (("instance_id", _is_instance_id), ("epoch", _is_number)),
}


def problem_of_arguments(task: str, args: Any, kwargs: Any) -> str | None:
    """Return what is wrong with the arguments of a task, None when it may run with them."""
    expected = ARGUMENTS.get(task)
    if expected is None:
        return "no task of ours"
    if kwargs != {}:
        return "keyword arguments"
    if not isinstance(args, Sequence) or isinstance(args, str | bytes) or len(args) != len(expected):
        return f"not {len(expected)} arguments"
    for (name, is_fine), value in zip(expected, args, strict=True):
        if not is_fine(value):
            return name
    return None
