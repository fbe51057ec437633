"""The files with which workers sign, and what the doctor says about them."""

from __future__ import annotations

from pathlib import Path

import pytest
from celery.security.certificate import Certificate, FSCertStore
from celery.security.key import PrivateKey

from cli.checks import Level
from cli.message_keys import DAY_S, WARN_DAYS, message_key_checks
from runner.message_keys import (
    LIFE_DAYS,
    MessageKeyError,
    new_message_key,
    own_certificate,
    trusted_certificates,
)
from settings import MESSAGE_CERTIFICATE_FILE, MESSAGE_KEY_FILE, TRUSTED_DIR

NOW_S = 1_800_000_000.0


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of keys; making one takes a tenth of a second."""
    directory = tmp_path_factory.mktemp("made") / "keys"
    new_message_key(directory, name="host/1", now_s=NOW_S)
    return directory


@pytest.fixture
def keys(made: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    copy = tmp_path / "keys"
    (copy / TRUSTED_DIR).mkdir(parents=True)
    for path in made.rglob("*.pem"):
        (copy / path.relative_to(made)).write_bytes(path.read_bytes())
    (copy / MESSAGE_KEY_FILE).chmod(0o600)
    return copy


def levels(keys: Path | None, now_s: float = NOW_S) -> list[tuple[Level, str]]:
    return [(each.level, each.text) for each in message_key_checks(keys, now_s)]


def test_celery_takes_what_is_made(made: Path) -> None:
    PrivateKey((made / MESSAGE_KEY_FILE).read_text())
    own = Certificate((made / MESSAGE_CERTIFICATE_FILE).read_text())
    store = FSCertStore(str(made / TRUSTED_DIR / "*.pem"))
    assert store[own.get_id()].get_serial_number() == own.get_serial_number()
    assert (made / MESSAGE_KEY_FILE).stat().st_mode & 0o777 == 0o600
    assert made.stat().st_mode & 0o077 == 0
    assert [path.name for path in (made / TRUSTED_DIR).iterdir()] == [f"host-1-{int(NOW_S)}.pem"]
    assert own_certificate(made).fingerprint == trusted_certificates(made)[0].fingerprint


def test_a_key_that_is_there_is_never_overwritten(keys: Path) -> None:
    before = (keys / MESSAGE_KEY_FILE).read_bytes()
    with pytest.raises(MessageKeyError, match="there already"):
        new_message_key(keys, now_s=NOW_S)
    assert (keys / MESSAGE_KEY_FILE).read_bytes() == before


def test_the_doctor_is_content_with_new_keys_and_with_none(keys: Path) -> None:
    assert [level for level, _ in levels(keys)] == [Level.OK]
    assert [level for level, _ in levels(None)] == [Level.OK]


@pytest.mark.parametrize(
    ("days_left", "level"),
    [(WARN_DAYS + 1, Level.OK), (WARN_DAYS - 1, Level.WARN), (0.5, Level.WARN), (-1, Level.FAIL)],
)
def test_the_doctor_warns_before_a_certificate_ends(keys: Path, days_left: float, level: Level) -> None:
    now_s = NOW_S + (LIFE_DAYS - days_left) * DAY_S
    assert [found for found, _ in levels(keys, now_s)] == [level]


def test_the_doctor_sees_what_would_keep_workers_from_understanding_each_other(keys: Path) -> None:
    (keys / MESSAGE_KEY_FILE).chmod(0o640)
    for path in (keys / TRUSTED_DIR).iterdir():
        path.unlink()
    assert [level for level, _ in levels(keys)][:2] == [Level.FAIL, Level.FAIL]
    (keys / TRUSTED_DIR / "other.pem").write_text("no certificate")
    assert "no certificate" in levels(keys)[0][1]
    assert levels(keys / "nowhere")[0][0] is Level.FAIL
