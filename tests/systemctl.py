"""Stand in for systemctl(1) in a scratch root: DESTDIR names it, DESTDIR/calls has what was asked.

`start` and `restart` do what Type=notify means: run the ExecStart of the installed unit, and come
back when it has said that it is ready, or has ended. Then it is ended: one look is enough.

A file DESTDIR/hangs lets the next start wait for ever; DESTDIR/fails has the action that fails
next.
"""

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(os.environ["DESTDIR"])
READY_S = 30.0
UNIT = "heliobus.service"
RUNS = ROOT / "runs"  # there while the service is active
STATUS = ROOT / "status"  # what it has said of itself last
HANGS = ROOT / "hangs"
FAILS = ROOT / "fails"


def note(line: str) -> None:
    with (ROOT / "calls").open("a") as file:
        file.write(f"{line}\n")


def command() -> list[str]:
    """Give the command of the unit, with its paths in the scratch root."""
    unit = (ROOT / "usr/local/lib/systemd/system" / UNIT).read_text()
    (line,) = re.findall(r"^ExecStart=(.*)$", unit, re.MULTILINE)
    program, *arguments = shlex.split(line)
    wrapper = Path(f"{ROOT}{program}").read_text().replace("/opt/", f"{ROOT}/opt/")
    return ["sh", "-c", wrapper, program, *(re.sub("^/etc/", f"{ROOT}/etc/", a) for a in arguments)]


def start(action: str) -> int:
    if HANGS.exists():
        HANGS.unlink()
        note(f"{action} {UNIT}: hangs, {os.readlink(ROOT / 'opt/heliobus/venv')}")
        signal.pause()
    address = str(ROOT / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(address)
        notify.settimeout(0.1)
        environ = {**os.environ, "NOTIFY_SOCKET": address}
        with (ROOT / "journal").open("a") as journal:
            process = subprocess.Popen(command(), env=environ, stdout=journal, stderr=journal)
        how = ready(process, notify)
        process.terminate()
        process.wait()
    os.unlink(address)
    note(f"{action} {UNIT}: {how}, {os.readlink(ROOT / 'opt/heliobus/venv')}")
    if how == "ready":
        RUNS.touch()
    else:
        RUNS.unlink(missing_ok=True)
    return 0 if how == "ready" else 1


def ready(process: subprocess.Popen[bytes], notify: socket.socket) -> str:
    end_s = time.monotonic() + READY_S
    while time.monotonic() < end_s:
        try:
            lines = notify.recv(4096).decode().splitlines()
            for line in lines:
                if line.startswith("STATUS="):
                    STATUS.write_text(line.removeprefix("STATUS="))
            if "READY=1" in lines:
                return "ready"
        except TimeoutError:
            if process.poll() is not None:
                return f"ended with status {process.returncode}"
    return "timed out"


def main(action: str, arguments: list[str]) -> int:
    if FAILS.exists() and FAILS.read_text() == action:
        FAILS.unlink()
        return 1
    if action in {"start", "restart"}:
        return start(action)
    note(" ".join([action, *arguments]))
    if action == "list-units" and RUNS.exists():
        sys.stdout.write(f"{UNIT} loaded active running heliobus\n")
    if action == "show" and STATUS.exists():
        sys.stdout.write(f"{STATUS.read_text()}\n")
    if action == "disable":
        RUNS.unlink(missing_ok=True)
    if action == "is-active":
        return 0 if RUNS.exists() else 3
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
