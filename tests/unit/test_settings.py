"""What the environment may say, and what is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from settings import (
    DEFAULT_BROKER_URL,
    DEFAULT_SIMULATOR_URL,
    VARIABLES,
    Settings,
    SettingsError,
    load,
    redacted,
)


def write_stack_file(run_dir: Path, *, pid: int) -> None:
    run_dir.mkdir(parents=True, exist_ok=True)
    content = {
        "pid": pid,
        "broker_url": "redis://:pw@127.0.0.1:7001/0",
        "simulator_url": "http://127.0.0.1:7002",
    }
    (run_dir / "stack.json").write_text(json.dumps(content))


def dead_pid() -> int:
    pid = os.posix_spawn("/bin/true", ["true"], {})
    os.waitpid(pid, 0)
    return pid


def defaults(run_dir: Path) -> Settings:
    """Return the settings of nothing but a run directory."""
    ledger_url = f"sqlite:///{run_dir}/ledger.sqlite"
    return Settings(run_dir=run_dir, ledger_url=ledger_url, metrics_dir=run_dir / "metrics")


def test_an_empty_environment_gives_the_defaults(tmp_path: Path) -> None:
    settings = load({"CLEANBOOK_RUN_DIR": str(tmp_path)})
    assert settings == defaults(tmp_path)
    assert settings.state_url == DEFAULT_BROKER_URL


def test_state_lives_on_the_brokers_server_unless_told_otherwise() -> None:
    assert load({"BROKER_URL": "redis://a:1/2"}).state_url == "redis://a:1/2"
    assert load({"BROKER_URL": "redis://a:1/2", "STATE_URL": "redis://b:1/0"}).state_url == "redis://b:1/0"


def test_an_empty_value_counts_as_unset(tmp_path: Path) -> None:
    environ = {"CLEANBOOK_RUN_DIR": str(tmp_path), "BROKER_URL": "", "CLEANBOOK_LEASE_MS": " "}
    assert load(environ) == defaults(tmp_path)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        pytest.param(
            "CLEANBOOK_LEASE_MS", "soon", "'soon'; it must be a whole number from 500 to 600000", id="word"
        ),
        pytest.param("CLEANBOOK_LEASE_MS", "8000.5", "a whole number", id="fraction"),
        pytest.param("CLEANBOOK_LEASE_MS", "499", "from 500", id="below"),
        pytest.param("CLEANBOOK_SWEEP_INTERVAL_S", "nan", "from 0.05 to 60", id="nan"),
        pytest.param("CLEANBOOK_SWEEP_INTERVAL_S", "inf", "from 0.05 to 60", id="infinite"),
        pytest.param("CLEANBOOK_LOG_FORMAT", "xml", "allowed are json, console", id="choice"),
        pytest.param("BROKER_URL", "amqp://host", "redis://, rediss://, sentinel://", id="scheme"),
        pytest.param("BROKER_URL", "127.0.0.1:6379", "redis://", id="no scheme"),
        pytest.param("BROKER_URL", "redis://127.0.0.1:99999", "redis://", id="port"),
        pytest.param("CLEANBOOK_SIMULATOR_URL", "ftp://host", "http://, https://", id="simulator"),
    ],
)
def test_a_bad_value_is_refused_by_name_with_what_is_allowed(name: str, value: str, told: str) -> None:
    with pytest.raises(SettingsError) as error:
        load({name: value})
    assert str(error.value).startswith(f"{name} is ")
    assert told in str(error.value)


@pytest.mark.parametrize(
    ("environ", "blamed"),
    [
        pytest.param(
            {"CLEANBOOK_ITERATE_HARD_LIMIT_S": "6"}, "CLEANBOOK_ITERATE_HARD_LIMIT_S", id="iterate limits"
        ),
        pytest.param(
            {"CLEANBOOK_CLEANUP_HARD_LIMIT_S": "30"}, "CLEANBOOK_CLEANUP_HARD_LIMIT_S", id="cleanup limits"
        ),
        pytest.param(
            {"CLEANBOOK_LEASE_MS": "6000"}, "CLEANBOOK_LEASE_MS", id="lease ends before the iteration"
        ),
        pytest.param(
            {"CLEANBOOK_VISIBILITY_TIMEOUT_S": "60"},
            "CLEANBOOK_VISIBILITY_TIMEOUT_S",
            id="redelivered while it runs",
        ),
        pytest.param({"CLEANBOOK_GUARD_AFTER_S": "9"}, "CLEANBOOK_GUARD_AFTER_S", id="guard in a hurry"),
    ],
)
def test_values_that_contradict_each_other_are_refused(environ: dict[str, str], blamed: str) -> None:
    with pytest.raises(SettingsError, match=f"^{blamed} is .* must be longer than"):
        load(environ)


def test_the_guards_patience_grows_with_the_leases() -> None:
    assert load({}).guard_after_s == 30
    assert load({"CLEANBOOK_LEASE_MS": "40000"}).guard_after_s == 83


def test_a_misspelt_variable_is_refused_with_a_proposal() -> None:
    with pytest.raises(SettingsError, match="did you mean CLEANBOOK_LEASE_MS"):
        load({"CLEANBOOK_LEASE_MSEC": "9000"})


@pytest.mark.parametrize(
    "name", [name for name in VARIABLES if not name.endswith(("_DIR", "_FILE", "_PASSWORD"))]
)
def test_every_variable_is_read(name: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name} is '[xX]'"):
        load({name: "x"})


def test_a_short_password_is_refused_and_not_repeated() -> None:
    with pytest.raises(SettingsError, match="CLEANBOOK_WEB_PASSWORD is too short") as refused:
        load({"CLEANBOOK_WEB_PASSWORD": "hunter2"})
    assert "hunter2" not in str(refused.value)
    settings = load({"CLEANBOOK_WEB_PASSWORD": "correct horse"})
    assert settings.web_password == "correct horse"
    assert "horse" not in repr(settings)


@pytest.mark.parametrize("url", ["https://bots.example.org", "http://127.0.0.1:9000"])
def test_the_address_of_a_proxy_is_an_origin(url: str) -> None:
    assert load({"CLEANBOOK_WEB_URL": f"{url}/"}).web_url == url
    for wrong in (f"{url}/path", url.replace("//", "//me:secret@"), "ftp://x"):
        with pytest.raises(SettingsError, match="CLEANBOOK_WEB_URL") as refused:
            load({"CLEANBOOK_WEB_URL": wrong})
        assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:secret@host:1/0", "redis://:***@host:1/0"),
        ("redis://user:secret@host:1/0", "redis://user:***@host:1/0"),
        ("redis://:se/cret@host:1/0", "redis://:***@host:1/0"),
        ("sentinel://:one@a:1;sentinel://:two@b:2", "sentinel://:***@a:1;sentinel://:***@b:2"),
        ("redis://host:1/0", "redis://host:1/0"),
    ],
)
def test_a_password_is_never_shown(url: str, shown: str) -> None:
    assert redacted(url) == shown


def test_settings_print_no_secret() -> None:
    settings = load({"BROKER_URL": "redis://:secret@host:1/0", "BACKPACK_SECRET": "secret"})
    assert "secret" not in repr(settings)


def test_an_error_prints_no_secret() -> None:
    with pytest.raises(SettingsError) as error:
        load({"BROKER_URL": "redis://:secret@host:99999/0"})
    assert "secret" not in str(error.value)


class TestRunningStack:
    def test_its_addresses_are_used(self, tmp_path: Path) -> None:
        write_stack_file(tmp_path, pid=os.getpid())
        settings = load({"CLEANBOOK_RUN_DIR": str(tmp_path)})
        assert settings.broker_url == settings.state_url == "redis://:pw@127.0.0.1:7001/0"
        assert settings.simulator_url == "http://127.0.0.1:7002"

    def test_a_broker_that_is_named_wins(self, tmp_path: Path) -> None:
        write_stack_file(tmp_path, pid=os.getpid())
        settings = load({"CLEANBOOK_RUN_DIR": str(tmp_path), "BROKER_URL": "redis://other:1/0"})
        assert settings.broker_url == "redis://other:1/0"
        assert settings.simulator_url == DEFAULT_SIMULATOR_URL

    def test_one_whose_process_is_gone_is_ignored(self, tmp_path: Path) -> None:
        write_stack_file(tmp_path, pid=dead_pid())
        assert load({"CLEANBOOK_RUN_DIR": str(tmp_path)}).broker_url == DEFAULT_BROKER_URL

    @pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": "x"}', "{}"])
    def test_a_damaged_file_is_ignored(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "stack.json").write_text(text)
        assert load({"CLEANBOOK_RUN_DIR": str(tmp_path)}).broker_url == DEFAULT_BROKER_URL
