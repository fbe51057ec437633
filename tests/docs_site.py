"""The documentation site as `make docs` builds it, in a folder of a test."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from website.assemble import ROOT, assemble


def build_site(folder: Path) -> Path:
    """Build the site below `folder` and return where; a warning is a failure."""
    assemble(folder / "pages")
    theme = ROOT / "website" / "theme"
    (folder / "mkdocs.yml").write_text(
        f"INHERIT: {ROOT / 'mkdocs.yml'}\ndocs_dir: pages\nsite_dir: site\ntheme:\n  custom_dir: {theme}\n"
    )
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(folder / "mkdocs.yml")],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return folder / "site"
