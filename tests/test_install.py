"""`make install`, `update`, `rollback` and `uninstall` in a scratch root.

Only systemd is a stand-in: tests/systemctl.py, which starts what the installed unit says.
"""

import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.helpers import ROOT, free_port, lacking, require_program, wait_until
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
        program = self.root / "bin" / "sync"
        program.write_text('#!/bin/sh\necho "sync $*, $(readlink "$2/venv")" >>"$DESTDIR/calls"\n')
        program.chmod(0o755)

    def systemctl(self, *arguments: str) -> None:
        subprocess.run(
            [self.root / "bin" / "systemctl", *arguments], env=self._environ(), check=True
        )

    def calls(self) -> list[str]:
        """Give what was asked of systemd so far, and forget it."""
        calls = self.asked()
        (self.root / "calls").unlink(missing_ok=True)
        return calls

    def asked(self) -> list[str]:
        """Give what was asked of systemd so far, but for questions how it is."""
        path = self.root / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line for line in lines if not line.startswith(("list-units", "show"))]

    def make(self, target: str, *, source: Path = ROOT, **variables: str) -> str:
        """Run one target, which must succeed, and give what it says."""
        status, said = self.tried(target, source=source, **variables)
        assert status == 0, said
        return said

    def tried(self, target: str, *, source: Path = ROOT, **variables: str) -> tuple[int, str]:
        with self.making(target, source=source, **variables) as making:
            said, _ = making.communicate()
        if OFFLINE in said:
            lacking("the package index cannot be reached")
        return making.returncode, said

    def making(
        self, target: str, *, source: Path = ROOT, **variables: str
    ) -> subprocess.Popen[str]:
        """Begin one target, as in a terminal: Ctrl-C would reach all of it."""
        given = [f"{name}={value}" for name, value in variables.items()]
        make = ["make", "--no-print-directory", "-C", str(source), target, *given]
        return subprocess.Popen(
            ["env", "--default-signal=INT", *make],
            env=self._environ() | {"TMPDIR": str(self.root)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def interrupted(
        self,
        target: str,
        done: Callable[[], object],
        *,
        by: signal.Signals = signal.SIGINT,
        source: Path = ROOT,
    ) -> str:
        """End one target (Ctrl-C, a lost terminal) when `done` says so; give what it says."""
        with self.making(target, source=source) as making:
            try:
                wait_until(done, target, 60)
            finally:
                os.killpg(making.pid, by)
            said, _ = making.communicate(timeout=60)
        assert making.returncode != 0
        return said

    def folders(self) -> list[str]:
        return sorted(path.name for path in self.root.iterdir() if path.is_dir())

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
    assert updated.asked()[-3:] == [
        "daemon-reload",
        f"restart heliobus.service: ready, {updated.version}",
        "is-active --quiet heliobus.service",
    ]


def test_extras_are_remembered(updated: Machine) -> None:
    assert (updated.opt / "extras").read_text() == "sql\n"


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


def test_an_interrupted_update_puts_the_old_version_back(machine: Machine) -> None:
    before, previous, folders = machine.version, machine.previous, machine.folders()
    (machine.root / "hangs").touch()
    said = machine.interrupted("update", lambda: "hangs" in " ".join(machine.asked()))
    assert re.search(
        rf"^update: the change to \S+Z did not end; back to {before}, which runs\.",
        said,
        re.MULTILINE,
    )
    assert (machine.version, machine.previous) == (before, previous)
    assert machine.versions == [previous, before]
    assert machine.calls()[-2:] == [
        f"restart heliobus.service: ready, {before}",
        "is-active --quiet heliobus.service",
    ]
    assert (machine.opt / "extras").read_text() == "sql\n"
    assert machine.folders() == folders


def test_a_step_that_fails_puts_the_old_version_back(machine: Machine) -> None:
    before, previous = machine.version, machine.previous
    (machine.root / "fails").write_text("daemon-reload")
    status, said = machine.tried("update")
    assert status != 0
    assert f"did not end; back to {before}, which runs." in said
    assert (machine.version, machine.previous) == (before, previous)
    assert machine.versions == [previous, before]
    assert f"restart heliobus.service: ready, {before}" in machine.calls()


def test_a_link_to_a_missing_version_is_none(machine: Machine) -> None:
    (machine.opt / "previous").unlink()
    (machine.opt / "previous").symlink_to(OLD)
    status, said = machine.tried("rollback")
    assert status != 0
    assert "rollback: there is no version before this one\n" in said


def test_a_version_that_is_not_whole_is_not_taken_back_into_use(machine: Machine) -> None:
    before = machine.version
    shutil.rmtree(machine.opt / machine.previous / "systemd")
    status, said = machine.tried("rollback")
    assert status != 0
    assert f"{machine.opt}/{machine.previous} is not whole; nothing was changed\n" in said
    assert machine.version == before
    assert machine.calls() == []


def test_a_version_is_on_the_card_before_it_is_in_use(machine: Machine) -> None:
    new, old = machine.version, machine.previous
    machine.make("rollback")
    assert machine.calls() == [
        f"sync -f {machine.opt}, {new}",
        "daemon-reload",
        f"restart heliobus.service: ready, {old}",
        "is-active --quiet heliobus.service",
    ]


def break_bridges(machine: Machine, version: str) -> None:
    """Let each bridge of a version crash, which `heliobus check` does not notice."""
    (module,) = (machine.opt / version).glob("lib/python*/site-packages/heliobus/bridging.py")
    module.write_text(f"{module.read_text()}\nBridgeComponent.run = None\n")


def test_a_version_that_loses_a_component_is_taken_back(machine: Machine) -> None:
    new, old = machine.version, machine.previous
    break_bridges(machine, old)
    status, said = machine.tried("rollback")
    assert status != 0
    assert said.splitlines()[0] == (
        f"rollback: {old} does not run what ran before: axpert; back to {new}, which runs."
        " Why: journalctl -u 'heliobus*' -n 50"
    )
    assert (machine.version, machine.previous) == (new, old)
    assert machine.versions == [old, new]


def test_what_did_not_run_before_keeps_no_version_back(machine: Machine) -> None:
    new, old = machine.version, machine.previous
    break_bridges(machine, new)
    break_bridges(machine, old)
    machine.systemctl("restart", "heliobus.service")
    assert machine.make("rollback").splitlines() == [
        "rollback: heliobus.service: 1 of 2 components run; missing: axpert",
        f"rollback: {old} is in use; to change again: sudo make rollback",
    ]


def test_a_service_that_should_run_and_does_not_is_named(machine: Machine) -> None:
    wants = machine.root / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir(parents=True)
    for unit in ("heliobus.service", "heliobus@axpert.service"):
        (wants / unit).symlink_to(f"/usr/local/lib/systemd/system/{unit}")
    said = machine.make("rollback")
    assert said.splitlines()[:2] == [
        "rollback: heliobus.service: 2 of 2 components run",
        "rollback: heliobus@axpert.service does not run:"
        " sudo systemctl start heliobus@axpert.service",
    ]


def test_a_version_that_cannot_even_check_is_to_be_reported(machine: Machine, source: Path) -> None:
    check = source / "heliobus" / "check.py"
    check.write_text(check.read_text() + "\nraise RuntimeError('this version is broken')\n")
    status, said = machine.tried("update", source=source)
    assert status != 0
    assert "RuntimeError: this version is broken\n" in said
    assert "update: the new version fails; nothing was changed. Please report these" in said
    assert "does not accept" not in said


def test_an_interrupted_check_leaves_no_secrets(machine: Machine, source: Path) -> None:
    before, folders = machine.version, machine.folders()
    (machine.root / "etc/heliobus/secrets/archive").write_text("secret")
    asked = machine.root / "asked"
    check = source / "heliobus" / "check.py"
    check.write_text(f"import signal\nopen({str(asked)!r}, 'w').close()\nsignal.pause()\n")
    machine.interrupted("update", asked.exists, by=signal.SIGHUP, source=source)
    assert machine.folders() == folders
    assert (machine.version, len(machine.versions)) == (before, 2)
    assert machine.calls() == []


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
    assert machine.make("rollback").splitlines() == [
        "rollback: heliobus.service: 2 of 2 components run",
        f"rollback: {old} is in use; to change again: sudo make rollback",
    ]
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
    link.symlink_to(machine.root / "etc/heliobus/mqtt/mosquitto.conf")
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
