"""What is built is what runs: the wheel, installed far from the repository."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.helpers import ROOT, lacking

APP = ("bridges", "sinks", "broker", "schemas")
DECOY = "raise ImportError('this package of the same name is not of heliobus')\n"
CONFIGURATION = """\
site: farm
bridges:
  axpert: {type: voltronic, link: "serial:///dev/ttyUSB0", devices: {inverter: {every: 5s}}}
sinks:
  archive: {type: sql, url: "sqlite:///history.db"}
"""
# A Raspberry Pi with a 32-bit system of 2023: Debian 12 and its Python.
ARMV7 = (
    *("--only-binary=:all:", "--implementation=cp", "--python-version=3.11", "--abi=cp311"),
    *("--platform=manylinux_2_17_armv7l", "--platform=manylinux2014_armv7l"),
    "--platform=linux_armv7l",
)
# What `heliobus broker init` makes.
LOCKS = (
    *("users/watch", "clients/mosquitto_sub", "tls/ca.key", "tls/users/watch.key", "passwords"),
    *("acl", "acl.own", "accounts.json", "mosquitto.conf"),
)
PRIVATE = (
    *(f"{folder}/{name}" for folder in ("mqtt", "broker") for name in LOCKS),
    *("heliobus.yaml", "secrets/mqtt", "admin.token", "history.db", "history.db-wal"),
)
OFFLINE = "Retrying (Retry("  # what every version of pip says


def run(*command: str | Path, cwd: Path, **extra_env: str) -> str:
    """Run a command far from the repository's influence and give what it prints."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        command, cwd=cwd, env=env | extra_env, capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.fail(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}", pytrace=False)
    return done.stdout


def pip(*arguments: str | Path, cwd: Path, **extra_env: str) -> str:
    """Run pip with our constraints; without a way to the package index the test is skipped."""
    command = [sys.executable, "-m", "pip", *arguments, "-q", "--retries=1"]
    command += ["-c", ROOT / "constraints.txt"]
    done = subprocess.run(
        command, cwd=cwd, env=os.environ | extra_env, capture_output=True, text=True, check=False
    )
    if done.returncode and OFFLINE in done.stderr:
        lacking("the package index cannot be reached")
    assert done.returncode == 0, done.stderr
    return done.stdout


def build(target: str, source: Path, folder: Path) -> Path:
    run(sys.executable, "-m", "hatchling", "build", "-t", target, "-d", folder, cwd=source)
    (built,) = folder.iterdir()
    return built


def names_in(built: Path) -> set[str]:
    if built.suffix == ".whl":
        return set(content(built))
    with tarfile.open(built) as archive:
        return set(archive.getnames())


def content(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", ROOT, tmp_path_factory.mktemp("wheel"))


def test_the_wheel_holds_the_five_folders_and_nothing_else(wheel: Path) -> None:
    names = [name for name in content(wheel) if ".dist-info/" not in name]
    expected = {
        (
            path.relative_to(ROOT)
            if folder == "heliobus"
            else "heliobus/_app" / path.relative_to(ROOT)
        )
        for folder in ("heliobus", *APP)
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert sorted(names) == sorted(path.as_posix() for path in expected)


def test_the_wheel_of_the_source_distribution_is_the_same(wheel: Path, tmp_path: Path) -> None:
    sdist = build("sdist", ROOT, tmp_path / "sdist")
    (tmp_path / "unpacked").mkdir()
    run("tar", "-xf", sdist, "-C", tmp_path / "unpacked", cwd=tmp_path)
    (source,) = (tmp_path / "unpacked").iterdir()
    assert content(build("wheel", source, tmp_path / "again")) == content(wheel)


@pytest.mark.parametrize("target", ["wheel", "sdist"])
def test_no_password_and_no_data_of_a_checkout_is_built_into_anything(
    target: str, tmp_path: Path
) -> None:
    """Even where nothing tells hatch what git ignores, as in the image."""
    source = tmp_path / "checkout"
    for name in ("heliobus", *APP):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    clean = names_in(build(target, source, tmp_path / "clean"))
    for name in PRIVATE:
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("geheim")
    assert names_in(build(target, source, tmp_path / "used")) - clean == set()


def test_git_ignores_what_people_have_in_a_checkout() -> None:
    lines = (ROOT / ".gitignore").read_text().splitlines()
    assert {"/heliobus.yaml", "/secrets/", "/mqtt/", "/admin*", "/history.db*"} <= set(lines)


def test_an_installation_lives_beside_packages_of_the_same_names(
    wheel: Path, tmp_path: Path
) -> None:
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    (site,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    for folder in (site, tmp_path):  # installed, and where the user happens to stand
        for name in APP:
            (folder / name).mkdir()
            (folder / name / "__init__.py").write_text(DECOY)
    before = set(site.iterdir())

    pip("--python", python, "install", "--no-deps", wheel, cwd=tmp_path)
    gained = {path.name for path in set(site.iterdir()) - before}
    assert gained == {"heliobus", f"heliobus-{wheel.name.split('-')[1]}.dist-info"}
    assert [(site / name / "__init__.py").read_text() for name in APP] == [DECOY] * len(APP)

    pip("--python", python, "install", f"{wheel}[sql]", cwd=tmp_path)
    command = python.with_name("heliobus")
    listed = run(command, "list", cwd=tmp_path)
    (tmp_path / "heliobus.yaml").write_text(CONFIGURATION)
    run(command, "check", cwd=tmp_path)
    assert re.search(r"^bridges\n(  .*\n)*  voltronic ", listed, re.MULTILINE)
    assert re.search(r"^sinks\n(  .*\n)*  sql ", listed, re.MULTILINE)


def test_the_core_resolves_for_a_raspberry_pi_of_32_bits(wheel: Path, tmp_path: Path) -> None:
    # PyYAML has no wheel for it, but builds one of pure Python where there is no compiler.
    pure = ("--no-deps", "--no-binary=PyYAML", "-w", tmp_path / "pure", "PyYAML")
    pip("wheel", *pure, cwd=tmp_path, PYYAML_FORCE_LIBYAML="0")
    found = ("--find-links", tmp_path / "pure", "--target", tmp_path / "target")
    dry = ("install", "--dry-run", "--ignore-installed", "--report=report.json")
    pip(*dry, *ARMV7, *found, wheel, cwd=tmp_path)
    report = json.loads((tmp_path / "report.json").read_text())
    names = {item["metadata"]["name"].lower() for item in report["install"]}
    core = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert {re.split("[<>=]", line)[0].lower() for line in core} < names


def test_constraints_are_exact_and_name_no_place() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert [pin for pin in pins if not re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][0-9a-z.]*", pin)] == []


def test_constraints_pin_everything_that_is_used_here() -> None:
    """Whoever adds a dependency pins it, and what it brings along."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {canonicalize_name(line.partition("==")[0]) for line in lines if "==" in line}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [line for lines in project["optional-dependencies"].values() for line in lines]
    used = closure([*project["dependencies"], *extras, "editables"])
    assert used - pinned == set()


def closure(lines: list[str]) -> set[str]:
    """Give the names of what these requirements need, as far as it is installed here."""
    names: set[str] = set()
    ahead = [Requirement(line) for line in lines]
    while ahead:
        one = ahead.pop()
        name = canonicalize_name(one.name)
        if name in names or name == "heliobus":
            continue
        names.add(name)
        try:
            further = map(Requirement, requires(one.name) or [])
        except PackageNotFoundError:
            continue
        extras = ["", *one.extras]
        ahead += [r for r in further if _applies(r, extras)]
    return names


def _applies(requirement: Requirement, extras: list[str]) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in extras)
