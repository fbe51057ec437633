"""Promises about the checkout as a whole: it works anywhere and names no private place."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from cli.stack import stack

ROOT = Path(__file__).parents[2]
LOCKS = ("requirements.lock", "requirements-dev.lock")
AUDIT_LOCK = "requirements-audit.lock"
#: Written in pieces, so that this file does not contain them.
REGISTRY_HOSTS = tuple(
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("registry", "npmjs", "org"),
        ("proxy", "golang", "org"),
        ("static", "crates", "io"),
    )
)
MACHINE_PATHS = tuple(
    "/" + "/".join(parts) + "/" for parts in (("work", "main"), ("work", "shared"), ("work", ".library"))
)
#: A link that counts (install from an index) against one that explains (a badge, a page about a package).
INDEX_OPTIONS = re.compile(r"--(?:extra-)?index-url|--find-links|--trusted-host")


def tracked_files() -> list[Path]:
    """Return the files of the checkout that git knows or would add."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            check=True,
            text=True,
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def texts() -> list[tuple[Path, str]]:
    found = []
    for path in tracked_files():
        try:
            found.append((path.relative_to(ROOT), path.read_text(encoding="utf-8")))
        except UnicodeDecodeError:  # recorded data, pictures
            continue
    return found


@pytest.mark.parametrize("word", [*REGISTRY_HOSTS, *MACHINE_PATHS])
def test_no_file_names_a_registry_host_or_a_path_of_one_machine(word: str) -> None:
    assert [str(path) for path, text in texts() if word in text] == []


def test_no_file_holds_a_private_key_or_a_token() -> None:
    secret = re.compile(
        r"-----BEGIN [A-Z ]*PRIVATE KEY-----|\bgh[pousr]_[A-Za-z0-9]{30,}|\bAKIA[A-Z0-9]{16}\b"
    )
    assert [str(path) for path, text in texts() if secret.search(text)] == []


@pytest.mark.parametrize("lock", [*LOCKS, AUDIT_LOCK])
def test_every_package_of_a_lock_is_pinned_with_a_hash(lock: str) -> None:
    text = (ROOT / lock).read_text()
    packages = re.split(r"\n(?=[A-Za-z0-9])", re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE))
    assert len(packages) > 20
    for package in packages:
        assert re.match(r"[A-Za-z0-9_.\[\]-]+==[^\s;]+", package), package.splitlines()[0]
        assert "--hash=sha256:" in package, package.splitlines()[0]
    assert not INDEX_OPTIONS.search(text)


def test_the_development_lock_agrees_with_the_run_lock() -> None:
    pin = re.compile(r"^([A-Za-z0-9_.-]+)==(\S+)", re.MULTILINE)
    run, dev = (dict(pin.findall((ROOT / lock).read_text())) for lock in LOCKS)
    assert {name: (version, dev.get(name)) for name, version in run.items() if dev.get(name) != version} == {}


def test_the_distribution_holds_every_package() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    present = {
        str(path.parent.relative_to(ROOT)).replace("/", ".")
        for path in tracked_files()
        if path.name == "__init__.py" and path.relative_to(ROOT).parts[0] not in ("tests", "bench")
    }
    assert present == set(listed)


def test_the_procfile_runs_what_the_stack_runs() -> None:
    lines = dict(
        line.split(": exec ", 1)
        for line in (ROOT / "Procfile").read_text().splitlines()
        if line and not line.startswith("#")
    )
    assert lines["iterate"] == stack.ITERATE_WORKER
    assert lines["cleanup"] == stack.CLEANUP_WORKER
    assert lines["flower"].startswith("python manage.py flower"), "the only way that asks for a password"


def test_every_make_target_that_the_readme_names_exists() -> None:
    readme = ROOT / "README.md"
    if not readme.exists():
        pytest.skip("no README yet")
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z-]+)\b(?=[ `\n])", "\n".join(code_of(readme))))
    assert {"demo", "test"} <= named
    assert named <= targets


@pytest.mark.parametrize("name", ["README.md", "README.zh-TW.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_every_file_that_a_page_links_to_exists(name: str) -> None:
    page = ROOT / name
    if not page.exists():
        pytest.skip(f"no {name} yet")
    links = re.findall(r"\]\((?!https?://|#|mailto:)([^)#\s]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_only_settings_reads_the_environment() -> None:
    readers = [
        str(path)
        for path, text in texts()
        if path.suffix == ".py"
        and path.parts[0] not in ("tests", "bench")
        and path.name != "settings.py"
        and any(
            isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv") and _is_os(node.value)
            for node in ast.walk(ast.parse(text))
        )
    ]
    assert readers == []


@pytest.mark.skipif(not (ROOT / "cli" / "main.py").exists(), reason="no command line yet")
def test_the_command_line_does_not_import_celery_before_it_needs_it() -> None:
    heavy = {"celery", "kombu", "tasks", "aiohttp", "flower"}
    code = f"import sys, cli.main; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_ci_script_is_executable_and_stops_at_the_first_failure() -> None:
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    assert "set -euo pipefail" in script.read_text()
    subprocess.run(["bash", "-n", str(script)], check=True)


def test_shell_words_of_the_stack_are_plain() -> None:
    for command in (stack.ITERATE_WORKER, stack.CLEANUP_WORKER, stack.FLOWER):
        assert shlex.split(command) == command.split()


def code_of(page: Path) -> list[str]:
    """Return fenced blocks and inline code of a page."""
    text = page.read_text(encoding="utf-8")
    return re.findall(r"```[a-z]*\n(.*?)```", text, flags=re.DOTALL) + re.findall(r"`([^`\n]+`)", text)


def _is_os(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "os"
