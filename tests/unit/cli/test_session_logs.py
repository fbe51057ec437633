"""What the parts of a command log: with `--debug` tracebacks, but never the local variables in them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog

from cli.session import open_full_context
from settings import Settings

SECRET = "the-value-of-a-local-variable"


@pytest.fixture(autouse=True)
def _logs_as_before() -> Iterator[None]:
    before = structlog.get_config()
    yield
    structlog.configure(**before)


def fail(secret: str) -> None:
    raise ValueError(f"about {len(secret)} characters")


def test_a_traceback_shows_no_local_variables(capsys: pytest.CaptureFixture[str]) -> None:
    open_full_context(Settings(), debug=True).client.close()
    try:
        fail(SECRET)
    except ValueError:
        structlog.get_logger().warning("it failed", exc_info=True)
    said = capsys.readouterr().err
    assert "about 29 characters" in said
    assert SECRET not in said
