"""Data files: YAML that comes with heliobus. What owners write is read by `checked_yaml`."""

from pathlib import Path
from typing import Any

import yaml


def read(path: Path) -> Any:
    """Give what a file says."""
    # Not yaml.safe_load: the parser in C is ten times as fast, and not everywhere.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load(path.read_bytes(), Loader=loader)  # noqa: S506 - both are safe
