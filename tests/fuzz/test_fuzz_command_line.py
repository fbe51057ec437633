"""Whatever is typed: an exit code that is documented, one clear message, and never a traceback."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from cli.exit_codes import ExitCode
from cli.main import run
from cli.stack.valkey import ValkeyServer
from tests.fuzz.fuzzing import SLOW, fuzz
from tests.unit.cli.command_line import FILE

NAMES = (
    "mm_01",
    "mm_02",
    "",
    ".",
    "..",
    "a/b",
    "x" * 300,
    "\udcff",
    "-",
    "é",
    "\n",
    "*",
    "{}",
    "%s",
    "mm_01.json",
)
NUMBERS = (
    "0",
    "1",
    "-1",
    "1.5",
    "x",
    "",
    "9" * 400,
    "1e400",
    "nan",
    "inf",
    "-inf",
    "\u0661",
    "1_0",
    str(2**63),
    "\udcff",
)
MOMENTS = (
    *(
        "2h",
        "99999999999d",
        "0.0000001s",
        "9" * 400 + "w",
        "2026-03-01",
        "9999-12-31T23:59:59-23:59",
        "0001-01-01",
    ),
    *(
        "1969-12-31",
        "2026-02-30",
        "now",
        "",
        "-1h",
        "\u0661h",
        "2026-W01-1",
        "24:00",
        "\udcff",
        "2026-03-01T14:30+99:00",
    ),
)
FILES = (
    "",
    ".",
    "nowhere/x.csv",
    "x" * 300,
    "\udcff.csv",
    "/dev/full",
    "old.db",
    "x.parquet",
    "empty.json",
    "\n",
)
AMOUNTS = ("--limit", "--run", "--timeout", "--utc-offset")
TEXTS = ("--reason", "--account", "--instance", "--trades", "--by", "--format")
COMMANDS: dict[str, tuple[str, ...]] = {
    "start": ("--force", "--no-wait"),
    "stop": ("--no-wait", "--no-direct", "--all", "--keep-orders", "--close-position", "--reason"),
    "restart": ("--reason",),
    "status": (),
    "list": (),
    "orders": ("--limit", "--since", "--open", "--run", "--csv"),
    "fills": ("--limit", "--since", "--run", "--csv"),
    "pnl": ("--by", "--since", "--csv"),
    "events": ("--limit", "--csv"),
    "export": ("--out", "--format", "--instance", "--account", "--since", "--until", "--force"),
    "import-ledger": ("--instance", "--account", "--utc-offset", "--trades", "--drop-repeated", "--dry-run"),
    "ledger": ("--rejected", "--prune"),
    "validate": (),
    "schema": (),
    "strategies": ("--all", "--markdown"),
}
#: Those that would wait for a worker, which there is none of.
ALWAYS = {
    "stop": ("--timeout", "0.01", "--no-direct"),
    "restart": ("--timeout", "0.01"),
    "start": ("--no-wait",),
}


def values_of(option: str) -> tuple[str, ...]:
    """Return what may follow an option; nothing for a switch."""
    if option in AMOUNTS:
        return NUMBERS
    if option in {"--since", "--until"}:
        return MOMENTS
    if option == "--out":
        return FILES
    return (*NAMES, "SOL_USDC=SOL/USDC", "A=B/C/perp", "=/", "csv", "run", "day") if option in TEXTS else ()


@st.composite
def command_lines(draw: st.DrawFn, command: str) -> list[str]:
    found = [command, *ALWAYS.get(command, ())]
    for option in draw(st.lists(st.sampled_from([*COMMANDS[command], "--json", "--nonsense"]), max_size=3)):
        found.append(option)
        if values_of(option):
            found.append(draw(st.sampled_from(values_of(option))))
    words = (
        FILES
        if command in {"import-ledger", "validate"}
        else ("fills", "events")
        if command == "export"
        else NAMES
    )
    return found + draw(st.lists(st.sampled_from((*words, *NAMES[:3])), max_size=2))


@pytest.fixture(autouse=True)
def _folder(
    redis_client: redis.Redis, valkey_server: ValkeyServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "mm_01.json").write_text(json.dumps(FILE))
    (tmp_path / "config" / "mm_02.json").write_text("{")
    (tmp_path / "empty.json").write_text("")
    (tmp_path / "old.db").write_bytes(b"SQLite format 3\x00" + b"\xff" * 200)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLEANBOOK_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("BROKER_URL", valkey_server.url)
    monkeypatch.setenv("CLEANBOOK_LEDGER_URL", f"sqlite:///{tmp_path}/ledger.sqlite")
    # Nobody listens there.
    monkeypatch.setenv("CLEANBOOK_SIMULATOR_URL", "http://127.0.0.1:9")


@pytest.mark.parametrize(
    "arguments",
    [
        # Neither ends: no moment comes after it, and none before.
        ("stop", "mm_01", "--timeout", "nan"),
        ("stop", "mm_01", "--timeout", "inf"),
        ("demo", "--seconds", "nan"),
        # OverflowError of the database.
        ("orders", "mm_01", "--limit", str(2**63)),
        ("fills", "mm_01", "--run", str(2**63)),
    ],
)
def test_numbers_that_once_came_through(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == ExitCode.BAD_USAGE
    assert arguments[-1] in capsys.readouterr().err


@pytest.mark.services
@pytest.mark.parametrize("command", COMMANDS)
@fuzz(10, divisor=SLOW)
@given(data=st.data())
def test_a_command_ends_with_one_message_and_a_known_code(
    command: str, data: st.DataObject, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = data.draw(command_lines(command))
    capsys.readouterr()
    code = run(arguments)
    told = capsys.readouterr()
    assert code in list(ExitCode)
    assert "unexpected error" not in told.err + told.out
    assert "Traceback" not in told.err + told.out
    if code and "--json" not in arguments:
        assert told.err + told.out, "says what is wrong"
    if "--json" in arguments and "--csv" not in arguments and code == 0:
        assert isinstance(json.loads(told.out), dict)
