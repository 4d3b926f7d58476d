"""Finding bridges and sinks: folders here, entry points elsewhere."""

import json
import sys
from pathlib import Path

import pytest

import bridges
import sinks
from heliobus import components
from heliobus.components import Kind
from heliobus.errors import ConfigError
from heliobus.settings import DeviceSettings

CONFIG = json.dumps({"title": "Acme inverters", "component": {}, "device": {}})


def folder(home: Path, name: str, code: str, config: str = CONFIG) -> Path:
    """Write a package."""
    place = home / name
    place.mkdir(parents=True)
    (place / "__init__.py").write_text(code)
    (place / "config.json").write_text(config)
    return place


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a folder of bridges of our own that is looked through, too."""
    home = tmp_path / "bridges"
    home.mkdir()
    monkeypatch.setattr(bridges, "__path__", [*bridges.__path__, str(home)])
    forget_imports(monkeypatch)
    return home


@pytest.fixture
def site_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a folder on the import path, as a venv's."""
    home = tmp_path / "site-packages"
    home.mkdir()
    monkeypatch.syspath_prepend(str(home))
    forget_imports(monkeypatch)
    return home


def forget_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget after the test what it imported."""
    monkeypatch.setattr(sys, "modules", sys.modules.copy())


def plugin(home: Path, *points: str, group: str = "heliobus.bridges") -> None:
    """Install the distribution heliobus-acme with these entry points."""
    info = home / "heliobus_acme-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: heliobus-acme\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n" + "\n".join(points) + "\n")


def test_what_is_in_the_folders_is_found_with_its_title() -> None:
    found = {(each.kind, each.name): each for each in components.describe()}
    assert found[Kind.BRIDGE, "voltronic"].source == "heliobus"
    assert found[Kind.SINK, "sql"].title == "SQL archive"


def test_listing_imports_no_component(own: Path) -> None:
    folder(own, "acme", "raise SystemExit('imported')")
    assert "acme" in [each.name for each in components.describe(Kind.BRIDGE)]


def test_the_exports_of_a_folder_are_given(own: Path) -> None:
    place = folder(own, "acme", "class BRIDGE: ...\ndef decode_line(a, b): ...\n")
    (place / "simulator.py").write_text("class SIMULATOR: ...\n")
    assert components.bridge("acme").__name__ == "BRIDGE"
    assert components.decoder("acme").__name__ == "decode_line"
    assert components.simulator("acme").__name__ == "SIMULATOR"


def test_a_sink_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sinks, "__path__", [*sinks.__path__, str(tmp_path)])
    forget_imports(monkeypatch)
    folder(tmp_path, "acme", "class SINK: ...\n")
    assert components.sink("acme").__name__ == "SINK"


def test_a_wrong_name_gets_a_suggestion(own: Path) -> None:
    folder(own, "acme", "")
    with pytest.raises(ConfigError) as caught:
        components.bridge("acne")
    assert str(caught.value) == "the bridge 'acne' is not known; did you mean 'acme'?"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("", "the bridge 'acme' (heliobus) has no BRIDGE in its module bridges.acme"),
        (
            "import acme_library",
            "the bridge 'acme' (heliobus) needs the Python package 'acme_library',"
            " which is not installed",
        ),
        (
            "1 / 0",
            "the bridge 'acme' (heliobus) cannot be imported: ZeroDivisionError: division by zero",
        ),
        (
            "raise ValueError('a\\nb')",
            "the bridge 'acme' (heliobus) cannot be imported: ValueError: a",
        ),
    ],
)
def test_an_import_that_fails_is_told_in_one_line(own: Path, code: str, reason: str) -> None:
    folder(own, "acme", code)
    with pytest.raises(ConfigError) as caught:
        components.bridge("acme")
    assert str(caught.value) == reason


def test_a_bridge_without_a_simulator_says_so(own: Path) -> None:
    folder(own, "acme", "")
    with pytest.raises(ConfigError, match=r"^the bridge 'acme' \(heliobus\) has no simulator$"):
        components.simulator("acme")


@pytest.mark.parametrize(
    ("config", "fault"),
    [
        ("{", "the bridge 'acme' (heliobus): its config.json is not JSON: "),
        ("[]", "the bridge 'acme' (heliobus): its config.json is not a JSON object"),
    ],
)
def test_a_damaged_config_json_is_a_fault_of_that_component_only(
    own: Path, config: str, fault: str
) -> None:
    folder(own, "acme", "class BRIDGE: ...", config)
    found = components.find(Kind.BRIDGE, "acme")
    assert found is not None
    assert f"{found.what}: {found.fault}".startswith(fault)
    assert len(components.describe()) > 2
    with pytest.raises(ConfigError, match=r"config\.json"):
        components.bridge("acme")


def test_a_plugin_is_found_by_its_entry_point_without_being_imported(site_packages: Path) -> None:
    folder(site_packages, "heliobus_acme", "raise SystemExit('imported')")
    plugin(site_packages, "acme = heliobus_acme:Acme")
    found = components.find(Kind.BRIDGE, "acme")
    assert found is not None
    assert (found.title, found.source, found.fault) == ("Acme inverters", "heliobus-acme", "")


def test_a_plugin_gives_its_class_decoder_and_simulator(site_packages: Path) -> None:
    place = folder(site_packages, "heliobus_acme", "class Acme: ...\ndef decode_line(a, b): ...\n")
    (place / "simulator.py").write_text("class SIMULATOR: ...\n")
    plugin(site_packages, "acme = heliobus_acme:Acme")
    assert components.bridge("acme").__name__ == "Acme"
    assert components.decoder("acme").__name__ == "decode_line"
    assert components.simulator("acme").__name__ == "SIMULATOR"


def test_a_sink_of_a_plugin_is_given(site_packages: Path) -> None:
    folder(site_packages, "heliobus_acme", "class Acme: ...\n")
    plugin(site_packages, "acme = heliobus_acme:Acme", group="heliobus.sinks")
    assert components.sink("acme").__name__ == "Acme"
    assert components.find(Kind.BRIDGE, "acme") is None


def test_a_bridge_that_listens_says_so_in_its_config(own: Path) -> None:
    folder(own, "acme", "", json.dumps({"title": "Acme", "devices": "found"}))
    assert components.listens("acme")
    assert not components.listens("voltronic")


def test_a_bridge_whose_devices_are_found_says_so_in_its_config() -> None:
    said = {name: components.finds(name) for name in ("modbus", "mqtt", "sunspec", "voltronic")}
    assert said == {"modbus": False, "mqtt": True, "sunspec": True, "voltronic": False}


@pytest.mark.parametrize(("options", "finds"), [({}, False), ({"parallel": 3}, True)])
def test_a_bridge_that_is_a_gateway_by_an_option_finds_devices_with_it(
    options: dict[str, int], *, finds: bool
) -> None:
    device = DeviceSettings("axpert", 5.0, "serial:///dev/ttyUSB0", options)
    assert components.finds("voltronic", [device]) is finds


def test_a_sink_that_issues_commands_says_so_in_its_config() -> None:
    said = {name: components.issues(name) for name in ("homeassistant", "influx", "sql")}
    assert said == {"homeassistant": True, "influx": False, "sql": False}


def test_what_a_component_needs_on_the_broker_is_given(own: Path, tmp_path: Path) -> None:
    foreign = json.dumps({"title": "Acme", "foreign": True})
    folder(
        own,
        "acme",
        "def foreign_topics(options): return [('read', options['base'] + '/#')]\n",
        foreign,
    )
    folder(
        own,
        "beta",
        "def foreign_topics(options, folder): return [('write', folder.name)]\n",
        foreign,
    )
    options = {"base": "solar"}
    found = [
        components.foreign_topics(Kind.BRIDGE, name, options, folder=tmp_path / "here")
        for name in ("acme", "beta", "voltronic")
    ]
    assert found == [[("read", "solar/#")], [("write", "here")], []]


def test_what_needs_nothing_there_is_not_imported(site_packages: Path, tmp_path: Path) -> None:
    code = '"""It has no foreign_topics."""\nimport a_library_that_is_not_here\n'
    folder(site_packages, "heliobus_acme", code)
    plugin(site_packages, "acme = heliobus_acme:Acme", group="heliobus.sinks")
    assert components.foreign_topics(Kind.SINK, "acme", {}, folder=tmp_path) == []


@pytest.mark.parametrize(
    ("point", "fault"),
    [
        ("acme = heliobus_gone:Acme", "its module heliobus_gone is not there"),
        ("acme = heliobus_gone.a.b:Acme", "its module heliobus_gone.a.b cannot be found: Module"),
        ("acme = heliobus_bare:Acme", "its config.json cannot be read: No such file"),
        ("acme = heliobus_boom.inner:Acme", "cannot be found: ZeroDivisionError: division by"),
    ],
)
def test_a_broken_plugin_is_told_and_harms_no_other(
    site_packages: Path, point: str, fault: str
) -> None:
    (site_packages / "heliobus_bare").mkdir()
    (site_packages / "heliobus_bare" / "__init__.py").write_text("")
    folder(site_packages, "heliobus_boom", "1 / 0")
    plugin(site_packages, point)
    found = components.find(Kind.BRIDGE, "acme")
    assert found is not None
    assert found.what == "the bridge 'acme' (heliobus-acme)"
    assert fault in found.fault
    assert components.bridge("voltronic").__name__ == "Voltronic"


def test_ours_wins_over_a_plugin_of_the_same_name(site_packages: Path) -> None:
    folder(site_packages, "heliobus_acme", "class Acme: ...\n")
    plugin(site_packages, "voltronic = heliobus_acme:Acme")
    assert components.bridge("voltronic").__name__ == "Voltronic"
