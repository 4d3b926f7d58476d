"""The unit files: systemd accepts them, they lock heliobus in, and heliobus lives with it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from heliobus import config
from heliobus.component import Component
from heliobus.guard import EXIT_CONFIG
from heliobus.supervisor import SILENT_S, STOP_S
from tests.helpers import ROOT, require_program
from tests.systemd_filter import values
from tests.test_docs import BY_NAME, blocks

FOLDER = ROOT / "deploy" / "systemd"
UNITS = ("heliobus.service", "heliobus@.service")
# What the page shows is for `systemctl edit NAME`.
PAGE = BY_NAME["docs/systemd.md"]
DROP_INS = [block.text for block in blocks(PAGE) if block.kind == "ini"]
SAMPLE = FOLDER / "heliobus.yaml"


def text(unit: str) -> str:
    return (FOLDER / unit).read_text(encoding="utf-8")


def one(unit: str, key: str) -> str:
    (value,) = values(text(unit), key)
    return value


def analyze(*arguments: str | Path) -> tuple[int, str]:
    program = require_program("systemd-analyze", package="systemd")
    command = [program, "--no-pager", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def installed(unit: str, folder: Path, drop_in: str = "") -> Path:
    """Write a unit as it is started, on a machine that has the command: this Python's."""
    file = folder / unit.replace("@", "@axpert")
    program = one(unit, "ExecStart").split()[0]
    file.write_text(text(unit).replace(program, sys.executable))
    if drop_in:
        drop_ins = folder / f"{unit.removesuffix('.service')}.service.d"
        drop_ins.mkdir()
        (drop_ins / "override.conf").write_text(drop_in.replace(program, sys.executable))
    return file


@pytest.mark.parametrize("unit", UNITS)
def test_systemd_finds_no_fault_in_the_unit(unit: str, tmp_path: Path) -> None:
    assert analyze("--man=no", "verify", installed(unit, tmp_path)) == (0, "")


@pytest.mark.parametrize("unit", UNITS)
def test_a_misspelt_line_would_be_found(unit: str, tmp_path: Path) -> None:
    file = installed(unit, tmp_path)
    file.write_text(file.read_text().replace("WatchdogSec", "WatchDogSec"))
    assert "'WatchDogSec'" in analyze("--man=no", "verify", file)[1]


@pytest.mark.parametrize("unit", UNITS)
def test_the_exposure_is_at_most_two_of_ten(unit: str, tmp_path: Path) -> None:
    file = installed(unit, tmp_path)
    status, said = analyze("security", "--offline=true", "--threshold=20", file)
    assert status == 0, said


def test_both_units_lock_in_alike() -> None:
    mark = "# ------------------------------------------------ from here on the same"
    ends = {text(unit).partition(mark)[2] for unit in UNITS}
    assert len(ends) == 1
    assert ends != {""}


def test_one_component_is_never_run_twice() -> None:
    assert one("heliobus@.service", "Conflicts") == "heliobus.service"


@pytest.mark.parametrize("unit", UNITS)
def test_the_unit_agrees_with_the_program(unit: str) -> None:
    assert one(unit, "RestartPreventExitStatus") == str(EXIT_CONFIG)
    assert float(one(unit, "WatchdogSec")) >= SILENT_S
    # The components, the broker, and some time for a slow disk.
    assert float(one(unit, "TimeoutStopSec")) > 3 * STOP_S
    assert one(unit, "UMask") == "0077"
    assert one(unit, "StateDirectory") == "heliobus"
    assert hasattr(Component, "well")


@pytest.mark.parametrize("unit", UNITS)
def test_the_configuration_is_read_only_for_the_service(unit: str) -> None:
    """ConfigurationDirectory alone makes it writable, whatever ProtectSystem says."""
    folder = f"/etc/{one(unit, 'ConfigurationDirectory')}"
    assert one(unit, "ReadOnlyPaths") == folder
    assert f" --config {folder}/heliobus.yaml " in one(unit, "ExecStart")
    assert one(unit, "LoadCredential") == f"secrets:{folder}/secrets"


# ---------------------------------------------------------------------- the system calls


def confined(*command: str, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
    """Run a command under the filter of the unit; a forbidden call ends it with SIGSYS."""
    require_program("systemd-analyze", package="systemd")
    unit = str(FOLDER / "heliobus.service")
    return subprocess.run(
        [sys.executable, "-m", "tests.systemd_filter", unit, sys.executable, *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


@pytest.mark.broker
@pytest.mark.slow
def test_a_whole_house_makes_no_call_that_the_unit_forbids() -> None:
    require_program("mosquitto", package="mosquitto")
    done = confined("-m", "heliobus", "demo", "--seconds", "5")
    assert done.returncode == 0, done.stdout + done.stderr
    stored = re.search(r"stored=(\d+) lost=0", done.stdout)
    assert stored is not None
    assert int(stored[1]) > 0


def test_the_clock_can_be_asked_but_not_set() -> None:
    asks = "import ctypes as c; print(c.CDLL(None).adjtimex(c.create_string_buffer(256)) >= 0)"
    assert confined("-c", asks).stdout == "True\n"
    sets = "import time; time.clock_settime(time.CLOCK_REALTIME, time.time())"
    assert confined("-c", sets).returncode == -31  # SIGSYS


@pytest.mark.parametrize(
    "forbidden",
    [
        "import os; os.setuid(1)",
        "import mmap; mmap.mmap(-1, 4096, prot=7)",
        "import ctypes; ctypes.CDLL(None).mount(0, 0, 0, 0, 0)",
    ],
)
def test_what_the_unit_forbids_would_be_noticed(forbidden: str) -> None:
    assert confined("-c", forbidden).returncode == -31  # SIGSYS


def test_a_socket_of_another_family_is_refused() -> None:
    done = confined("-c", "import socket; socket.socket(socket.AF_NETLINK)")
    assert "Address family not supported" in done.stderr


# ---------------------------------------------------------------------- beside the units


def test_the_user_is_made_with_its_way_to_serial_ports(tmp_path: Path) -> None:
    program = require_program("systemd-sysusers", package="systemd")
    (tmp_path / "etc").mkdir()
    command = [program, "--dry-run", f"--root={tmp_path}", str(FOLDER / "heliobus.sysusers")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    said = done.stdout + done.stderr
    assert "Creating group 'dialout'" in said
    assert "Creating user 'heliobus'" in said
    for unit in UNITS:
        assert one(unit, "User") == "heliobus"
        assert one(unit, "SupplementaryGroups") == "dialout"


def test_the_sample_is_valid_as_it_is_and_with_every_line_in_use(tmp_path: Path) -> None:
    path = tmp_path / "heliobus.yaml"
    (tmp_path / "mqtt" / "users").mkdir(parents=True)
    for name in ("axpert", "archive"):
        (tmp_path / "mqtt" / "users" / name).write_text("secret\n")
        (tmp_path / "mqtt" / "users" / name).chmod(0o600)
    sample = SAMPLE.read_text(encoding="utf-8")
    path.write_text(sample)
    (warning,) = config.read(path).warnings
    assert warning == "there is neither a bridge nor a sink: nothing will run"
    path.write_text(re.sub(r"^( *)#([^ ])", r"\1\2", sample, flags=re.MULTILINE))
    loaded = config.read(path)
    assert loaded.warnings == ()
    assert list(loaded.settings.bridges) == ["axpert"]
    assert list(loaded.settings.sinks) == ["archive"]
    assert str(loaded.settings.data) == "/var/lib/heliobus"
    assert loaded.settings.sinks["archive"].options["url"].startswith("sqlite:////var/lib/")


def test_a_secret_comes_as_a_credential_that_only_its_reader_can_read(tmp_path: Path) -> None:
    """As systemd hands it over: secrets/mqtt is secrets_mqtt, mode 0400, in a folder of its own."""
    credential = tmp_path / "credentials" / "secrets_mqtt"
    credential.parent.mkdir()
    credential.write_text("hunter2\n")
    credential.chmod(0o400)
    path = tmp_path / "heliobus.yaml"
    path.write_text("""\
site: home
broker: {password_file: "${CREDENTIALS_DIRECTORY}/secrets_mqtt"}
sinks:
  archive: {type: sql, url: "sqlite:///history.db"}
""")
    loaded = config.read(path, {"CREDENTIALS_DIRECTORY": str(credential.parent)})
    assert loaded.warnings == ()
    assert loaded.settings.broker.has_password


# ---------------------------------------------------------------------- docs/systemd.md


@pytest.mark.parametrize("number", range(len(DROP_INS)))
@pytest.mark.parametrize("unit", UNITS)
def test_systemd_finds_no_fault_in_a_drop_in_of_the_page(
    unit: str, number: int, tmp_path: Path
) -> None:
    assert analyze("--man=no", "verify", installed(unit, tmp_path, DROP_INS[number])) == (0, "")


def test_the_page_explains_every_line_of_hardening() -> None:
    hardening = text(UNITS[0]).partition("OOMPolicy")[2].partition("[Install]")[0]
    keys = set(re.findall(r"^(\w+)=", hardening, re.MULTILINE))
    assert sorted(key for key in keys if f"`{key}" not in PAGE) == []


def test_the_page_names_the_paths_of_the_units() -> None:
    program, _, configuration, _ = one(UNITS[0], "ExecStart").split()
    for path in (program, configuration, f"/var/lib/{one(UNITS[0], 'StateDirectory')}"):
        assert path in PAGE


def test_the_units_that_the_page_names_exist() -> None:
    named = set(re.findall(r"\bheliobus@?(?:\w+)?\.service\b", PAGE))
    assert {re.sub("@.*", "@.service", name) for name in named} == set(UNITS)


def test_every_configuration_of_the_page_is_yaml() -> None:
    found = [yaml.safe_load(block.text) for block in blocks(PAGE) if block.kind == "yaml"]
    assert found
