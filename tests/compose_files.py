"""compose.yaml and what belongs to it, read as Docker Compose would read it."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.helpers import ROOT

TEXT = (ROOT / "compose.yaml").read_text(encoding="utf-8")
ENV_EXAMPLE = (ROOT / ".env.example").read_text(encoding="utf-8")
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
_VARIABLE = re.compile(r"\$\{(?P<name>\w+)(:-(?P<default>[^}]*))?\}")


def variables(text: str = TEXT) -> dict[str, set[str | None]]:
    """Give the defaults with which each variable is used."""
    found: dict[str, set[str | None]] = {}
    for match in _VARIABLE.finditer(text):
        found.setdefault(match["name"], set()).add(match["default"])
    return found


def environment(text: str = ENV_EXAMPLE) -> dict[str, str]:
    """Read a file such as .env."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def filled_in(text: str = TEXT, values: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Give the file with its variables replaced, and $$ read as $."""
    given = values or {}

    def value(match: re.Match[str]) -> str:
        return given.get(match["name"]) or match["default"] or ""

    filled: dict[str, Any] = yaml.safe_load(_VARIABLE.sub(value, text).replace("$$", "$"))
    return filled


FILE = filled_in()
SERVICES: dict[str, dict[str, Any]] = FILE["services"]
# What ends once its work is done.
STEPS = {name for name, each in SERVICES.items() if each["restart"] == "no"}
LASTING = sorted(set(SERVICES) - STEPS)
OURS = {name for name, each in SERVICES.items() if "build" in each}


def mounts(service: Mapping[str, Any]) -> list[tuple[str, str, bool]]:
    """Give (source, target, read-only) of each volume."""
    found = []
    for each in service.get("volumes", ()):
        if isinstance(each, str):
            source, target, *mode = each.split(":")
            found.append((source, target, mode == ["ro"]))
        else:
            found.append((each["source"], each["target"], each.get("read_only", False)))
    return found


def dockerfile_runs(stage: int) -> list[str]:
    """Give the commands of the RUN lines of one stage."""
    stages = re.split(r"(?m)^FROM ", DOCKERFILE)[1:]
    joined = re.sub(r"\\\n\s*", " ", re.sub(r"(?m)^ *#.*\n", "", stages[stage]))
    return re.findall(r"(?m)^RUN (.*)$", joined)


def readable_by_all(path: Path) -> bool:
    """Say whether every user may read a file, wherever it is mounted."""
    return os.stat(path).st_mode & 0o444 == 0o444
