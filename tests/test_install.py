"""`make install`, `update`, `rollback` and `uninstall` in a scratch root.

Only systemd is a stand-in: tests/systemctl.py, which starts what the installed unit says.
"""

import fcntl
import os
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.helpers import ROOT, free_port, lacking, require_program
from tests.test_packaging import OFFLINE

pytestmark = pytest.mark.slow

CONFIGURATION = """\
site: home
data: data
broker: {url: "mqtt://127.0.0.1:%d"}
bridges:
  axpert: {type: voltronic, link: "tcp://127.0.0.1:%d", devices: {inverter: {every: 5s}}}
sinks:
  archive: {type: sql, url: "sqlite:///history.db"}
"""
OLD = "0.0.9-20200101T000000Z"
SOURCES = ("heliobus", "bridges", "sinks", "broker", "schemas", "deploy", "scripts")
FILES = ("pyproject.toml", "constraints.txt", "README.md", "LICENSE", "Makefile")


@dataclass(frozen=True)
class Machine:
    """A scratch root with a systemd that runs."""

    root: Path

    @property
    def opt(self) -> Path:
        return self.root / "opt" / "heliobus"

    @property
    def configuration(self) -> Path:
        return self.root / "etc" / "heliobus" / "heliobus.yaml"

    @property
    def version(self) -> str:
        return os.readlink(self.opt / "venv")

    @property
    def previous(self) -> str:
        return os.readlink(self.opt / "previous")

    @property
    def versions(self) -> list[str]:
        return sorted(path.name for path in self.opt.glob("*Z"))

    def boot(self) -> None:
        """Let systemd run, and `systemctl` be found."""
        (self.root / "run" / "systemd" / "system").mkdir(parents=True)
        (self.root / "bin").mkdir()
        program = self.root / "bin" / "systemctl"
        program.write_text(f'#!/bin/sh\nexec {sys.executable} {ROOT}/tests/systemctl.py "$@"\n')
        program.chmod(0o755)

    def systemctl(self, *arguments: str) -> None:
        subprocess.run(
            [self.root / "bin" / "systemctl", *arguments], env=self._environ(), check=True
        )

    def calls(self) -> list[str]:
        """Give what was asked of systemd so far, and forget it."""
        path = self.root / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return [line for line in lines if not line.startswith("list-units")]

    def make(self, target: str, *, source: Path = ROOT, **variables: str) -> str:
        """Run one target, which must succeed, and give what it says."""
        status, said = self.tried(target, source=source, **variables)
        assert status == 0, said
        return said

    def tried(self, target: str, *, source: Path = ROOT, **variables: str) -> tuple[int, str]:
        given = [f"{name}={value}" for name, value in variables.items()]
        done = subprocess.run(
            ["make", "--no-print-directory", "-C", str(source), target, *given],
            env=self._environ(),
            capture_output=True,
            text=True,
            check=False,
        )
        if OFFLINE in done.stderr:
            lacking("the package index cannot be reached")
        return done.returncode, done.stdout + done.stderr

    def runs(self, *arguments: str) -> str:
        """Run the installed command, as systemd would find it."""
        wrapper = (self.root / "usr/local/bin/heliobus").read_text()
        command = ["sh", "-c", wrapper.replace("/opt/", f"{self.root}/opt/"), "heliobus"]
        return subprocess.run(
            [*command, *arguments], cwd="/", capture_output=True, text=True, check=True
        ).stdout

    def _environ(self) -> dict[str, str]:
        path = f"{self.root / 'bin'}{os.pathsep}{os.environ['PATH']}"
        environ = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "PYTHON"))}
        return environ | {"PATH": path, "DESTDIR": str(self.root)}


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """Give a machine after the first `make install`; leave it as it is."""
    machine = Machine(tmp_path_factory.mktemp("machine") / "root")
    machine.make("install", EXTRAS="sql")
    return machine


@pytest.fixture(scope="module")
def updated(fresh: Machine, tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """Give a machine whose service runs, after a second install; leave it as it is."""
    machine = Machine(tmp_path_factory.mktemp("updated") / "root")
    shutil.copytree(fresh.root, machine.root, symlinks=True)
    machine.boot()
    machine.configuration.write_text(CONFIGURATION % (free_port(), free_port()))
    (machine.root / "var/lib/heliobus/axpert.journal").write_text("measured")
    (machine.opt / OLD).mkdir()
    machine.systemctl("start", "heliobus.service")
    machine.calls()
    (machine.root / "said").write_text(machine.make("install"))
    return machine


@pytest.fixture
def machine(updated: Machine, tmp_path: Path) -> Machine:
    """Give a copy of the machine whose service runs, to do with as you like."""
    machine = Machine(tmp_path / "root")
    shutil.copytree(updated.root, machine.root, symlinks=True)
    machine.calls()
    return machine


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Give a copy of what is installed, to be broken."""
    source = tmp_path / "source"
    for name in SOURCES:
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, source / name, ignore=ignore)
    for name in FILES:
        shutil.copy(ROOT / name, source / name)
    return source


def modes(root: Path, *paths: str) -> dict[str, str]:
    return {path: f"{(root / path).stat().st_mode & 0o777:o}" for path in paths}


def test_an_installation_has_its_files_with_their_modes(fresh: Machine) -> None:
    assert modes(
        fresh.root,
        "etc/heliobus",
        "etc/heliobus/heliobus.yaml",
        "etc/heliobus/secrets",
        "var/lib/heliobus",
        "usr/local/bin/heliobus",
        "usr/local/lib/systemd/system/heliobus.service",
        "usr/local/lib/systemd/system/heliobus@.service",
        "opt/heliobus/venv/bin",
    ) == {
        "etc/heliobus": "751",
        "etc/heliobus/heliobus.yaml": "640",
        "etc/heliobus/secrets": "700",
        "var/lib/heliobus": "750",
        "usr/local/bin/heliobus": "755",
        "usr/local/lib/systemd/system/heliobus.service": "644",
        "usr/local/lib/systemd/system/heliobus@.service": "644",
        "opt/heliobus/venv/bin": "755",
    }
    assert fresh.versions == [fresh.version]


def test_the_installed_command_runs(fresh: Machine) -> None:
    assert re.fullmatch(r"heliobus \d+\.\d+\.\d+\n", fresh.runs("--version"))
    assert "  sql " in fresh.runs("list")
    # The sample of a fresh installation: valid, and nothing in it runs.
    assert "nothing will run" in fresh.runs("--config", str(fresh.configuration), "check")


def test_an_environment_knows_its_final_place(fresh: Machine) -> None:
    place = f"/opt/heliobus/{fresh.version}"
    first = (fresh.opt / "venv/bin/heliobus").read_text().splitlines()[0]
    assert first.startswith(f"#!{place}/bin/python")
    assert f'"{place}"' in (fresh.opt / "venv/bin/activate").read_text()


def test_without_a_running_systemd_nothing_is_asked_of_it(fresh: Machine) -> None:
    assert not (fresh.root / "calls").exists()


def test_a_second_install_keeps_configuration_and_data(fresh: Machine, updated: Machine) -> None:
    assert "type: voltronic" in updated.configuration.read_text()
    assert (updated.root / "var/lib/heliobus/axpert.journal").read_text() == "measured"
    assert updated.version > fresh.version
    said = (updated.root / "said").read_text().splitlines()[-1]
    assert said == (
        f"install: {updated.version} is in use; to go back to {fresh.version}: sudo make rollback"
    )


def test_only_the_version_before_is_kept(fresh: Machine, updated: Machine) -> None:
    assert updated.previous == fresh.version
    assert updated.versions == [fresh.version, updated.version]


def test_the_service_that_runs_is_restarted_and_waited_for(updated: Machine) -> None:
    assert (updated.root / "calls").read_text().splitlines()[-3:] == [
        "daemon-reload",
        f"restart heliobus.service: ready, {updated.version}",
        "is-active --quiet heliobus.service",
    ]


def test_extras_are_remembered(updated: Machine) -> None:
    assert (updated.opt / "venv" / "extras").read_text() == "sql\n"


def test_a_version_that_does_not_start_is_taken_back(machine: Machine, source: Path) -> None:
    before, previous = machine.version, machine.previous
    up = source / "heliobus" / "up.py"
    up.write_text(up.read_text() + "\nraise RuntimeError('this version is broken')\n")
    unit = source / "deploy" / "systemd" / "heliobus.service"
    unit.write_text(unit.read_text() + "# new\n")

    status, said = machine.tried("update", source=source)
    assert status != 0
    lines = [line for line in said.splitlines() if line.startswith("update: ")]
    assert re.fullmatch(
        rf"update: \S+Z did not start; back to {before}, which runs\."
        r" Why: journalctl -u 'heliobus\*' -n 50",
        lines[-1],
    )
    assert machine.version == before
    assert machine.previous == previous
    assert machine.versions == [previous, before]
    restarts = [call for call in machine.calls() if call.startswith("restart")]
    assert restarts[0].startswith("restart heliobus.service: ended with status 1, ")
    assert restarts[1:] == [f"restart heliobus.service: ready, {before}"]
    installed = machine.root / "usr/local/lib/systemd/system/heliobus.service"
    assert "# new" not in installed.read_text()


def test_a_version_that_refuses_the_configuration_changes_nothing(machine: Machine) -> None:
    before = machine.version
    with machine.configuration.open("a") as file:
        file.write("bogus: 1\n")
    status, said = machine.tried("update")
    assert status != 0
    assert f"{machine.configuration}:8: the key 'bogus' is not known" in said
    assert f"update: the new version does not accept {machine.configuration}; nothing was" in said
    assert machine.version == before
    assert len(machine.versions) == 2
    assert machine.calls() == []


def test_a_rollback_changes_to_the_version_before_and_back(machine: Machine) -> None:
    new, old = machine.version, machine.previous
    assert machine.make("rollback") == (
        f"rollback: {old} is in use; to change again: sudo make rollback\n"
    )
    assert (machine.version, machine.previous) == (old, new)
    assert f"restart heliobus.service: ready, {old}" in machine.calls()
    machine.make("rollback")
    assert (machine.version, machine.previous) == (new, old)


def test_without_a_version_before_there_is_no_rollback(fresh: Machine) -> None:
    status, said = fresh.tried("rollback")
    assert status != 0
    assert "rollback: there is no version before this one\n" in said


def test_uninstalling_keeps_configuration_and_data(machine: Machine) -> None:
    said = machine.make("uninstall")
    assert "uninstall: heliobus is removed; " in said
    assert not machine.opt.exists()
    assert list((machine.root / "usr/local/lib/systemd/system").iterdir()) == []
    assert not (machine.root / "usr/local/bin/heliobus").exists()
    assert machine.configuration.exists()
    assert (machine.root / "var/lib/heliobus/axpert.journal").exists()
    assert machine.calls() == ["disable --now heliobus.service", "daemon-reload"]


def test_a_purge_removes_all(machine: Machine) -> None:
    drop_in = machine.root / "etc/systemd/system/heliobus.service.d/override.conf"
    drop_in.parent.mkdir(parents=True)
    drop_in.touch()
    link = machine.root / "etc/mosquitto/conf.d/heliobus.conf"
    link.parent.mkdir(parents=True)
    link.symlink_to(machine.root / "etc/heliobus/broker/mosquitto.conf")
    machine.make("uninstall", PURGE="1")
    left = [path for path in machine.root.rglob("*") if "heliobus" in path.name]
    assert left == []


def test_what_is_not_installed_is_not_updated(tmp_path: Path) -> None:
    status, said = Machine(tmp_path / "root").tried("update")
    assert status != 0
    assert f"heliobus is not installed in {tmp_path}/root/opt/heliobus; run: sudo make" in said


def test_two_at_once_are_refused(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "root")
    machine.opt.mkdir(parents=True)
    with (machine.opt / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        status, said = machine.tried("install")
    assert status != 0
    assert f"install: another one is at work in {machine.opt}; wait until" in said


def test_an_old_python_is_refused_by_its_version(tmp_path: Path) -> None:
    python = tmp_path / "python3"
    python.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.9.2 && exit\nexit 1\n')
    python.chmod(0o755)
    machine = Machine(tmp_path / "root")
    status, said = machine.tried("install", PYTHON=str(python))
    assert status != 0
    assert "install: found Python 3.9.2, need Python 3.11 or newer; name one: make install" in said
    assert machine.versions == []


def test_every_extra_of_the_default_exists() -> None:
    (default,) = re.findall(r"printf '([\w,]+)\\n'", (ROOT / "scripts" / "install").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(default.split(",")) <= set(project["optional-dependencies"])


@pytest.mark.parametrize("script", ["install", "setup"])
def test_the_scripts_are_clean(script: str) -> None:
    program = require_program("shellcheck", package="shellcheck")
    command = [program, str(ROOT / "scripts" / script)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
