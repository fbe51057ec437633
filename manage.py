#!/usr/bin/env python3
"""The command line of Cleanbook: `python manage.py --help`. Uses `.venv` by itself when there is one."""

import os
import sys
from pathlib import Path


def _use_own_environment() -> None:
    """Go on in `.venv`, unless this runs in a virtual environment already or there is none."""
    python = Path(__file__).resolve().parent / ".venv" / "bin" / "python"
    if sys.prefix == sys.base_prefix and python.is_file():
        os.execv(python, [str(python), *sys.argv])


if __name__ == "__main__":
    _use_own_environment()
    try:
        from cli.main import main
    except ModuleNotFoundError as missing:
        sys.exit(f"{missing}. Set up the environment first: make env")
    main()
