"""The newest Home Assistant's own code as a judge, in Pyodide, for Python here is too old for it.

It is installed at its first use, once for all workers, into .venv: 80 MB are fetched.
"""

import fcntl
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.helpers import ROOT, lacking, require_program

SOURCE = ROOT / "tests" / "pyodide"
FOLDER = ROOT / ".venv" / "home-assistant-code"
PINS = ("package.json", "package-lock.json", "requirements.txt")
# The Python that Pyodide has. Of a wheel for Linux only what is written in Python is used.
WHEELS = (
    "--python-version=3.14.2",
    "--platform=any",
    "--platform=manylinux2014_x86_64",
    "--platform=manylinux_2_28_x86_64",
    "--only-binary=:all:",
    "--no-deps",
)
# Home Assistant has more than a thousand integrations; these are imported.
INTEGRATIONS = frozenset(
    (
        "alarm_control_panel", "binary_sensor", "button", "http", "mqtt", "network", "number",
        "select", "sensor", "switch", "websocket_api",
    )
)  # fmt: skip
INSTALL_S = 300.0
RUN_S = 120.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What Home Assistant complained of at each topic, the states of its entities, its tables."""

    complaints: Mapping[str, list[str]]
    states: Mapping[str, Mapping[str, Any]]
    tables: Mapping[str, Any]


def judge(payloads: Mapping[str, bytes]) -> dict[str, list[str]]:
    """Give what Home Assistant says of each discovery payload; [] where all is well."""
    return dict(verdict(payloads.items()).complaints)


def verdict(messages: Iterable[tuple[str, bytes]]) -> Verdict:
    """Give what Home Assistant makes of these messages in their order, one topic or many."""
    asked = [(topic, payload.decode()) for topic, payload in messages]
    node, folder = installed()
    program = (SOURCE / "run.mjs", folder / "node_modules" / "pyodide", folder / "modules")
    done = subprocess.run(
        [node, *map(str, program), str(SOURCE / "judge.py")],
        input=json.dumps({"messages": asked}),
        capture_output=True,
        text=True,
        timeout=RUN_S,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"Home Assistant's code has failed: {done.stderr[-3000:]}")
    answer = json.loads(done.stdout)
    at_start, *later = answer["complaints"]
    if at_start:
        raise RuntimeError(f"Home Assistant's code complains before it is asked: {at_start}")
    complaints: dict[str, list[str]] = {}
    for (topic, _), lines in zip(asked, later, strict=True):
        complaints.setdefault(topic, []).extend(lines)
    return Verdict(complaints, answer["states"], answer["tables"])


def installed(folder: Path = FOLDER) -> tuple[str, Path]:
    """Give Node, and the folder of Pyodide and Home Assistant; install them where needed."""
    node, npm = require_program("node", package="nodejs"), require_program("npm", package="npm")
    stamp = folder / "installed"
    wanted = "".join((SOURCE / name).read_text() for name in PINS) + " ".join(sorted(INTEGRATIONS))
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (stamp.exists() and stamp.read_text() == wanted):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            _install(npm, folder)
            stamp.write_text(wanted)
    return node, folder


def _install(npm: str, folder: Path) -> None:
    for name in PINS:
        shutil.copy(SOURCE / name, folder)
    quiet = ("--no-audit", "--no-fund", "--loglevel=error")
    _run(npm, "ci", "--prefix", str(folder), *quiet)
    pip = (sys.executable, "-m", "pip", "download", "-qq", "--disable-pip-version-check")
    pins = ("-r", str(folder / "requirements.txt"), "--dest", str(folder / "wheels"))
    _run(*pip, *WHEELS, *pins)
    for wheel in (folder / "wheels").glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            used = [name for name in archive.namelist() if _is_used(name)]
            archive.extractall(folder / "modules", used)
    shutil.rmtree(folder / "wheels")


def _is_used(name: str) -> bool:
    """Tell whether a file of a wheel is needed: of Home Assistant only few are."""
    match name.split("/"):
        case ["homeassistant", "components", "__init__.py"]:
            return True
        case ["homeassistant", "components", integration, *inner]:
            translated = inner[:1] == ["translations"] and inner != ["translations", "en.json"]
            return integration in INTEGRATIONS and not translated
    return not name.endswith(".so")


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_S, check=False)
    if done.returncode:
        lacking(
            f"Home Assistant's code could not be installed: {' '.join(command)}\n"
            f"{done.stderr[-2000:]}"
        )
