"""heliobus.yaml of bridges whose devices are found, and of other brokers in it."""

import io
import textwrap
from pathlib import Path

import pytest

from heliobus import check, components, config, config_docs
from heliobus.errors import ConfigError
from heliobus.settings import BridgeSettings, BrokerSettings, DeviceSettings
from tests.processes import PLUGINS


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the listener of the tests be found."""
    monkeypatch.syspath_prepend(str(PLUGINS))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "heliobus.yaml"


def bridge(path: Path, text: str) -> BridgeSettings:
    """Read a file with one bridge."""
    path.write_text(
        f"site: farm\nbridges:\n  roof:\n    type: plain\n{textwrap.indent(text, '    ')}"
    )
    return config.load(path).bridges["roof"]


def faults(path: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        bridge(path, text)
    return [line.removeprefix(f"{path}:") for line in str(refused.value).splitlines()]


def test_devices_that_are_found_need_not_be_named(path: Path) -> None:
    assert bridge(path, "") == BridgeSettings("roof", "plain", (), options={"prefix": "plant"})


def test_devices_that_are_found_may_be_named_with_keys_of_their_own(path: Path) -> None:
    found = bridge(path, "every: 10s\ndevices: {hm800: {title: Garage}, dtu: {every: 1m}}\n")
    assert found.every_s == 10.0
    assert found.devices == (
        DeviceSettings("hm800", 10.0, "", {"title": "Garage"}, folder=path.parent),
        DeviceSettings("dtu", 60.0, "", folder=path.parent),
    )


def test_how_often_a_named_device_speaks_need_not_be_said(path: Path) -> None:
    found = bridge(path, "devices: {hm800: {}}\n")
    assert found.devices == (DeviceSettings("hm800", 0.0, "", folder=path.parent),)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("link: serial:///dev/ttyUSB0\n", "5: bridges.roof: the key 'link' is not known"),
        (
            "devices: {hm800: {link: 'tcp://192.0.2.1:1'}}\n",
            "5: bridges.roof.devices.hm800: the key 'link' is not known",
        ),
        (
            "devices: {hm800: {titel: x}}\n",
            "5: bridges.roof.devices.hm800: the key 'titel' is not known; did you mean 'title'?",
        ),
        ("devices: {HM800: {}}\n", "5: bridges.roof.devices.HM800: "),
    ],
)
def test_what_a_found_device_cannot_have_is_refused(path: Path, text: str, fault: str) -> None:
    (found,) = faults(path, text)
    assert found.startswith(fault)


def test_a_device_that_two_bridges_name_is_refused(path: Path) -> None:
    path.write_text(
        "site: farm\nbridges:\n"
        "  one: {type: plain, devices: {hm800: {}}}\n"
        "  two: {type: plain, devices: {hm800: {}}}\n"
    )
    with pytest.raises(ConfigError, match=r"'hm800' belongs to bridges\.one already"):
        config.load(path)


# ---------------------------------------------------------------------- another broker


def test_another_broker_is_read_as_ours_is(path: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x\n")
    secret.chmod(0o600)
    found = bridge(path, "broker: {url: 'mqtts://solar@192.0.2.10', password_file: secret}\n")
    assert found.options["broker"] == BrokerSettings(
        host="192.0.2.10",
        port=8883,
        tls=True,
        username="solar",
        password_file=secret,
        folder=Path("mqtt"),
        key="bridges.roof.broker",
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "broker:\n  user: solar\n",
            [
                "5: bridges.roof.broker: 'url' is missing; add it, such as 'url: mqtt://192.0.2.10:1883'"
            ],
        ),
        (
            "broker:\n  url: mqtt://192.0.2.10\n  start: auto\n",
            ["7: bridges.roof.broker: the key 'start' is not known; expected one of "],
        ),
        (
            "broker:\n  url: http://192.0.2.10\n",
            [
                "6: bridges.roof.broker.url: the scheme http:// is not known; write mqtt:// or mqtts://"
            ],
        ),
        (
            "broker:\n  url: mqtt://192.0.2.10\n  password: x\n  password_file: y\n",
            [
                "8: bridges.roof.broker.password_file: 'password' is there, too; delete one",
                "8: bridges.roof.broker.password_file: cannot read ",
            ],
        ),
        (
            "broker:\n  url: mqtt://a@192.0.2.10\n  user: b\n",
            ["7: bridges.roof.broker.user: the url names a user, too; delete one of them"],
        ),
        (
            "broker: 192.0.2.10\n",
            ["5: bridges.roof.broker: found '192.0.2.10', expected a mapping"],
        ),
    ],
)
def test_what_is_wrong_with_another_broker_is_told_where_it_stands(
    path: Path, text: str, told: list[str]
) -> None:
    found = faults(path, text)
    assert len(found) == len(told)
    for one, begin in zip(sorted(found), sorted(told), strict=True):
        assert one.startswith(begin)


# ---------------------------------------------------------------------- what a person sees

MQTT = "site: farm\nbridges:\n  dtu:\n    type: mqtt\n    map: opendtu\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "    invert: [no_such_v]\n",
            "6: bridges.dtu.invert: 'no_such_v' is not a number of the contract",
        ),
        ("    known: {x: y}\n", "6: bridges.dtu.known: the map does not ask for 'x'; delete it"),
        (
            "    invert: battery_w\n",
            "6: bridges.dtu.invert: found 'battery_w', expected a list such as [battery_w]",
        ),
        (
            "    base: solar/\n",
            "6: bridges.dtu.base: found 'solar/', expected a topic without #, +, braces and a / at"
            " its ends such as solar; did you mean 'solar'?",
        ),
        (
            "    broker: mqtt://192.0.2.1\n",
            "6: bridges.dtu.broker: found 'mqtt://192.0.2.1', expected a mapping"
            " such as {url: 'mqtt://192.0.2.20:1883'}",
        ),
        ("    only_named: 3\n", "6: bridges.dtu.only_named: found '3', expected true or false"),
        (
            "  barn: {type: opendtu}\n",
            "6: bridges.barn.type: 'opendtu' is a map: write 'type: mqtt' and 'map: opendtu'",
        ),
        (
            "  barn: {type: mqtt, map: opendtu, base: solar}\n",
            "6: bridges.barn: hears the same as bridges.dtu; give one of them another 'base'"
            " or 'broker', or delete it",
        ),
    ],
    ids=["invert", "known", "list", "slash", "broker", "boolean", "map as type", "twice"],
)
def test_check_says_in_one_line_what_a_bridge_of_maps_cannot_have(
    tmp_path: Path, text: str, told: str
) -> None:
    path = tmp_path / "heliobus.yaml"
    path.write_text(MQTT + text)
    with pytest.raises(ConfigError) as error:
        check.run(path, io.StringIO())
    assert str(error.value) == f"{path}:{told}"


@pytest.mark.parametrize(
    "text",
    [
        "  barn: {type: mqtt, map: opendtu, base: barn}\n",
        "  barn: {type: mqtt, map: opendtu, broker: {url: 'mqtt://192.0.2.1'}}\n",
        "  barn: {type: mqtt, map: opendtu, only_named: true, devices: {hm800: {}}}\n",
    ],
    ids=["base", "broker", "only named"],
)
def test_check_lets_two_bridges_have_one_map_where_they_hear_different_things(
    tmp_path: Path, text: str
) -> None:
    path = tmp_path / "heliobus.yaml"
    path.write_text(MQTT + text)
    assert check.run(path, io.StringIO()) == 0


def test_check_says_that_devices_are_found(path: Path) -> None:
    bridge(path, "devices: {hm800: {every: 5s}}\n")
    out = io.StringIO()
    assert check.run(path, out) == 0
    assert "  bridge roof: plain, devices as they are found, hm800 every 5 s\n" in out.getvalue()


def test_the_reference_says_how_another_broker_is_written() -> None:
    plain = components.find(components.Kind.BRIDGE, "plain")
    assert plain is not None
    text = config_docs._component(plain)  # noqa: SLF001 - plugins are not on the page
    assert "Its devices are found: it needs no `link`, and `devices` may be left out." in text
    assert "Its keys are those of [`broker`](#broker), but for what concerns our own." in text
