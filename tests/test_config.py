"""heliobus.yaml: what is read, and the one line that each mistake gets."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import bridges
import sinks
from heliobus import config, credentials
from heliobus.errors import ConfigError
from heliobus.settings import BrokerSettings, BrokerStart, JournalSettings, Settings

METERS = {
    "title": "Meters",
    "component": {"properties": {"parity": {"enum": ["none", "even"], "type": "string"}}},
    "device": {
        "required": ["profile"],
        "properties": {
            "profile": {"type": "string", "enum": ["eastron_sdm230", "eastron_sdm630"]},
            "unit": {
                "type": "integer",
                "minimum": 1,
                "maximum": 247,
                "heliobus": {"default": 1, "example": 3},
            },
            "scale": {"type": "number"},
            "names": {"type": "array", "items": {"type": "string"}},
            "extra": {"type": "object"},
        },
    },
}
WEATHER = {
    "title": "Weather",
    "link": False,
    "component": {"properties": {"every": {"heliobus": {"default": "10m"}}}},
}
STORE = {
    "title": "A store",
    "component": {
        "properties": {
            "url": {"type": "string", "maxLength": 20, "heliobus": {"secret": True}},
            "token": {"type": "string", "heliobus": {"secret": True}},
            "token_file": {"type": "string", "heliobus": {"format": "secret_file"}},
            "keep": {"type": "number", "heliobus": {"format": "duration", "default": "30d"}},
        }
    },
}


@pytest.fixture(autouse=True, scope="module")
def components(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Add the bridges `meters` and `forecast` and the sink `store` to those that are there."""
    folder = tmp_path_factory.mktemp("components")
    for package, name, text in (
        (bridges, "meters", METERS),
        (bridges, "forecast", WEATHER),
        (sinks, "store", STORE),
    ):
        home = folder / package.__name__ / name
        home.mkdir(parents=True)
        (home / "config.json").write_text(json.dumps(text))
    bridges.__path__.append(str(folder / "bridges"))
    sinks.__path__.append(str(folder / "sinks"))
    yield
    bridges.__path__.remove(str(folder / "bridges"))
    sinks.__path__.remove(str(folder / "sinks"))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def load(text: str, **environ: str) -> config.Loaded:
    Path("heliobus.yaml").write_text(text)
    return config.read("heliobus.yaml", environ)


def mistakes(text: str, **environ: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(text, **environ)
    lines = str(caught.value).splitlines()
    assert all(line.startswith("heliobus.yaml:") for line in lines)
    return [line.removeprefix("heliobus.yaml:") for line in lines]


FARM = """\
site: farm
broker: {url: "mqtt://192.0.2.10:1884", user: me, password: "${SECRET}"}
bridges:
  meters:
    type: meters
    link: "serial:///dev/ttyUSB1?baud=9600"
    parity: even
    every: 2s
    devices:
      grid: {profile: eastron_sdm230, unit: 3}
      pump: {profile: eastron_sdm630, every: 1m, link: "tcp://192.0.2.101:502"}
  sky: {type: forecast, devices: {weather: }, takeover: yes}
sinks:
  archive: {type: store, url: "sqlite:///history.db", backfill: all}
"""


@pytest.mark.usefixtures("here")
def test_a_whole_file_becomes_typed_settings(here: Path) -> None:
    found = load(FARM, SECRET="s3cret").settings
    assert (found.site, found.folder, found.data) == ("farm", here, here / "data")
    assert (found.base_topic, found.broker.host, found.broker.port) == (
        "heliobus",
        "192.0.2.10",
        1884,
    )
    assert (found.broker.username, found.broker.password) == ("me", "s3cret")
    meters, sky = found.bridges["meters"], found.bridges["sky"]
    assert (meters.type, meters.options, meters.takeover) == ("meters", {"parity": "even"}, False)
    grid, pump = meters.devices
    assert (grid.name, grid.every_s, grid.link) == ("grid", 2.0, "serial:///dev/ttyUSB1?baud=9600")
    assert grid.options == {"profile": "eastron_sdm230", "unit": 3}
    assert (pump.every_s, pump.link) == (60.0, "tcp://192.0.2.101:502")
    assert pump.options == {"profile": "eastron_sdm630", "unit": 1}
    assert (sky.devices[0].every_s, sky.devices[0].link, sky.takeover) == (600.0, "", True)
    archive = found.sinks["archive"]
    assert archive.backfill_s is None
    assert archive.options == {"url": "sqlite:///history.db", "keep": 30 * 86400.0}


@pytest.mark.usefixtures("here")
def test_what_is_not_written_is_as_the_settings_say() -> None:
    found = load("site: farm\n")
    broker = BrokerSettings(folder=Path.cwd() / "mqtt")
    assert found.settings == Settings("farm", Path.cwd(), Path.cwd() / "data", broker=broker)
    assert found.warnings == ("there is neither a bridge nor a sink: nothing will run",)


@pytest.mark.usefixtures("here")
def test_journal_and_clock_are_read_with_their_units() -> None:
    found = load(
        "site: farm\njournal: {flush: 1m, keep: 24h, max_size: 64 MB}\nclock: {wait: 90}"
    ).settings
    assert found.journal == JournalSettings(flush_s=60, keep_s=86400, max_size_bytes=64_000_000)
    assert (found.clock.wait_s, found.clock.trust) == (90.0, False)
    assert load("site: farm\nclock: trust").settings.clock.trust


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("word", ["no", "auto", "mosquitto", "embedded"])
def test_the_broker_is_started_as_the_bare_word_says(word: str) -> None:
    assert load(f"site: farm\nbroker: {{start: {word}}}").settings.broker.start == BrokerStart(word)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("mqtt://localhost", (False, "localhost", 1883, None)),
        ("mqtt://me@192.0.2.1:1884/", (False, "192.0.2.1", 1884, "me")),
        ("mqtt://[2001:db8::1]:1885", (False, "2001:db8::1", 1885, None)),
        ("mqtts://broker.example", (True, "broker.example", 8883, None)),
        ("mqtts://broker.example:443", (True, "broker.example", 443, None)),
    ],
)
def test_the_brokers_address_is_taken_apart(
    url: str, expected: tuple[bool, str, int, str | None]
) -> None:
    broker = load(f'site: farm\nbroker: {{url: "{url}"}}').settings.broker
    assert (broker.tls, broker.host, broker.port, broker.username) == expected


CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"
KEY = "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n"


def test_the_files_of_tls_are_found_beside_the_configuration(here: Path) -> None:
    (here / "ca.crt").write_text(CERTIFICATE)
    (here / "own").mkdir()
    broker = load(
        'site: farm\nbroker: {url: "mqtts://a", ca_file: ca.crt, cert_file: own, key_file: own}'
    ).settings.broker
    assert (broker.ca_file, broker.cert_file) == (here / "ca.crt", here / "own")
    assert broker.key_file == here / "own"


@pytest.mark.parametrize(
    ("keys", "fault"),
    [
        ("url: mqtts://a, ca_file: ca", "ca_file: cannot read {}/ca: No such file or directory"),
        ("url: mqtts://a, ca_file: key", "ca_file: {}/key holds no certificate; expected a file"),
        ("url: mqtts://a, cert_file: key", "cert_file: {}/key holds no certificate; expected a"),
        (
            "url: mqtts://a, cert_file: crt, key_file: crt",
            "key_file: {}/crt holds no private key; expected a file in PEM",
        ),
        (
            "url: mqtts://a, key_file: key",
            "key_file: 'cert_file' is missing; name the certificate of this key",
        ),
        ("ca_file: crt", "ca_file: is for TLS only; write mqtts:// in url, or delete it"),
        ("passwords: users, password: x", "passwords: 'password' is there, too; delete one"),
    ],
)
def test_what_is_wrong_with_the_files_of_the_broker_is_one_line(
    here: Path, keys: str, fault: str
) -> None:
    (here / "crt").write_text(CERTIFICATE)
    (here / "key").write_text(KEY)
    [line] = mistakes(f"site: farm\nbroker: {{{keys}}}")
    assert line.startswith("2: broker." + fault.format(here))


def test_a_folder_of_passwords_that_is_not_there_yet_is_warned_about(here: Path) -> None:
    found = load("site: farm\nbroker: {passwords: mqtt/users}")
    assert found.settings.broker.passwords == here / "mqtt" / "users"
    assert found.warnings[0] == (
        f"{here}/mqtt/users: no such folder; 'heliobus broker init' makes one"
    )


def test_a_password_in_the_folder_that_others_can_read_is_warned_about(here: Path) -> None:
    (here / "users").mkdir()
    for name, mode in (("axpert", 0o640), ("archive", 0o604), ("watch", 0o600)):
        (here / "users" / name).write_text("geheim\n")
        (here / "users" / name).chmod(mode)
    everyone, group, _ = load("site: farm\nbroker: {passwords: users}").warnings
    assert everyone == (
        f"{here}/users/archive: everyone on this computer can read it (mode 0604);"
        f" run: chmod 600 {here}/users/archive"
    )
    assert group == (
        f"{here}/users/axpert: a group on this computer can read it (mode 0640);"
        f" run: chmod 600 {here}/users/axpert"
    )


def test_the_passwords_of_a_broker_that_we_start_are_found(here: Path) -> None:
    assert load("site: farm\nbroker: {start: auto}").settings.broker.passwords is None
    (here / "mqtt" / "users").mkdir(parents=True)
    broker = load("site: farm\nbroker: {start: auto}").settings.broker
    assert broker.passwords == here / "mqtt" / "users"
    assert load("site: farm\nbroker: {start: no}").settings.broker.passwords is None
    assert load("site: farm\nbroker: {start: auto, password: x}").settings.broker.passwords is None


BRIDGE = 'site: farm\nbridges:\n  a:\n    type: meters\n    link: "tcp://192.0.2.1:502"\n'
GRID = BRIDGE + "    devices:\n      grid:\n        profile: eastron_sdm230\n"


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "1: the file is empty; begin with 'site: farm'"),
        ("# nothing\n\n", "1: the file is empty; begin with 'site: farm'"),
        ("farm", "1: found 'farm', expected a mapping"),
        ("- site: farm", "1: found a list, expected a mapping"),
        ("data: x", "1: 'site' is missing; add it, such as 'site: farm'"),
        ("site:", "1: site: found nothing, expected text such as farm"),
        ("site: [a]", "1: site: found a list, expected text such as farm"),
        ("site: bus", "1: site: the name 'bus' is reserved; choose another"),
        ("site: farm\n\tdata: x", "2: not YAML: found character '\\t' that cannot start any token"),
        ("site: farm\ndata: [a", "2: not YAML: expected ',' or ']', but got '<stream end>'"),
        ("site: farm\n---\nsite: b", "2: not YAML: but found another document"),
        ("site: \x00", "1: not YAML: the character U+0000 is not allowed; delete it"),
        ('site: "\\UFFFFFFFF"', "1: not YAML: "),
        ("a: &a [*a]\nsite: b", "1: its anchors and aliases unfold without end; write them out"),
        ("[" * 5000, "1: nested too deeply; keep it flat"),
        (
            "site: farm\nsite: ranch",
            "2: 'site' is there twice, first in line 1; rename or delete one",
        ),
        ("site: farm\n[a]: b", "2: found a list or mapping as a key, expected a name"),
        ("site: farm\nbrokr: {}", "2: the key 'brokr' is not known; did you mean 'broker'?"),
        (
            "site: farm\nzz: 1",
            "2: the key 'zz' is not known; expected one of base_topic, bridges, broker, clock,"
            " data, journal, sinks, site",
        ),
        (
            "site: farm\nbase_topic: a/#",
            "2: base_topic: found 'a/#', expected letters, digits, _ and -,"
            " with / between levels such as heliobus",
        ),
        (
            "site: farm\nbroker: {url: localhost}",
            "2: broker.url: found 'localhost', expected mqtt://[user@]host[:port]",
        ),
        (
            'site: farm\nbroker: {url: "mqtss://a"}',
            "2: broker.url: the scheme mqtss:// is not known; write mqtt:// or mqtts://",
        ),
        (
            'site: farm\nbroker: {url: "mqtt://u:geheim@a"}',
            "2: broker.url: a password must not stand in the address; use password_file",
        ),
        (
            'site: farm\nbroker: {url: "mqtt://a:99999"}',
            "2: broker.url: the port is 99999, expected 1 to 65535",
        ),
        (
            'site: farm\nbroker: {url: "mqtt://a:18833333"}',
            "2: broker.url: the port is 18833333, expected 1 to 65535",
        ),
        (
            'site: farm\nbroker: {url: "mqtt://me@a", user: you}',
            "2: broker.user: the url names a user, too; delete one of them",
        ),
        (
            "site: farm\nbroker: {start: mosquito}",
            "2: broker.start: 'mosquito' is not known; did you mean 'mosquitto'?",
        ),
        (
            'site: farm\nbroker:\n  url: "mqtt://192.0.2.1"\n  start: auto',
            "4: broker.start: auto starts a broker on this computer, but url names 192.0.2.1;"
            " write 127.0.0.1 there, or start: no",
        ),
        (
            "site: farm\nbroker: {password: !secret mqtt}",
            "2: broker.password: the tag !secret is not known; use ${NAME} or a file",
        ),
        (
            "site: farm\njournal: {keep: 3 moons}",
            "2: journal.keep: found '3 moons', expected a duration such as 5s, 4m, 24h or 7d",
        ),
        (
            "site: farm\njournal: {keep: 5s}",
            "2: journal.keep: found '5s', expected a duration of at least 1m such as 7d",
        ),
        (
            "site: farm\njournal: {max_size: big}",
            "2: journal.max_size: found 'big', expected a size such as 64 kB, 256 MB or 1 GB",
        ),
        (
            "site: farm\nsinks: {a: {type: sql, url: x, keep: 10}}",
            "2: sinks.a.keep: found '10', expected a duration of at least 1h such as 730d",
        ),
        (
            "site: farm\nclock: wait",
            "2: clock: found 'wait', expected trust or {wait: 2m}",
        ),
        (
            BRIDGE,
            "3: bridges.a: 'devices' is missing; add it,"
            " such as 'devices: {inverter: {every: 5s}}'",
        ),
        (BRIDGE + "    devices:", "6: bridges.a.devices: is empty; name at least one device"),
        (
            "site: farm\nbridges:\n  a: {devices: {b: {}}}",
            "3: bridges.a: 'type' is missing; add it, such as 'type: voltronic'",
        ),
        (
            GRID.replace("meters", "meter"),
            "4: bridges.a.type: 'meter' is not known; did you mean 'meters'?",
        ),
        (
            GRID.replace("sdm230", "sdm23"),
            "8: bridges.a.devices.grid.profile: 'eastron_sdm23' is not known;"
            " did you mean 'eastron_sdm230'?",
        ),
        (
            GRID + "        adress: 2",
            "9: bridges.a.devices.grid: the key 'adress' is not known;"
            " expected one of every, extra, link, names, profile, scale, unit",
        ),
        (
            GRID + "        unit: 300",
            "9: bridges.a.devices.grid.unit: found '300', expected a whole number"
            " from 1 to 247 such as 3",
        ),
        (
            GRID + '        unit: "1"',
            "9: bridges.a.devices.grid.unit: found '1', expected a whole number"
            " from 1 to 247 such as 3; leave out the quotes, which make it a text",
        ),
        (
            GRID + "        unit: one",
            "9: bridges.a.devices.grid.unit: found 'one', expected a whole number"
            " from 1 to 247 such as 3",
        ),
        (
            GRID + '        unit: "1"',
            "9: bridges.a.devices.grid.unit: found '1', expected a whole number"
            " from 1 to 247 such as 3",
        ),
        (
            GRID + "        names:\n        - a\n        - [b]",
            "11: bridges.a.devices.grid.names[1]: found a list, expected text",
        ),
        (
            GRID + "        every: 5x",
            "9: bridges.a.devices.grid.every: found '5x',"
            " expected a duration such as 5s, 4m, 24h or 7d",
        ),
        (
            GRID + "    takeover: perhaps",
            "9: bridges.a.takeover: found 'perhaps', expected true or false",
        ),
        (
            GRID + "  b: {type: meters, devices: {grid: {profile: eastron_sdm230,"
            " link: 'tcp://192.0.2.2:502'}}}",
            "9: bridges.b.devices.grid: the device 'grid' belongs to bridges.a already;"
            " device names are unique within a site, choose another",
        ),
        (
            GRID + "sinks:\n  a: {type: store}",
            "10: sinks.a: a bridge is called 'a', too; choose another name",
        ),
        (
            GRID.replace('    link: "tcp://192.0.2.1:502"\n', ""),
            "6: bridges.a.devices.grid: has no link; add one here or to its bridge,"
            " such as 'link: serial:///dev/ttyUSB0'",
        ),
        (
            "site: farm\nbridges:\n  a:\n    type: can\n    devices:\n      b: {}",
            "6: bridges.a.devices.b: has no link; add one here or to its bridge,"
            " such as 'link: can:socketcan/can0'",
        ),
        (
            "site: farm\nbridges:\n  a:\n    type: daly\n    link: can:socketcan/can0\n"
            "    devices:\n      b: {}",
            "7: bridges.a.devices.b: link: 'can:socketcan/can0' is a CAN bus, which 'type: daly'"
            " does not speak; write its serial or network port,"
            " such as 'link: serial:///dev/ttyUSB0'",
        ),
        (
            GRID + "  b:\n    type: studer\n    link: serial:///dev/ttyUSB0\n    devices:\n"
            "      xcom:\n        parts: {vt_1: grid}",
            "14: bridges.b.devices.xcom.parts: the device 'grid' belongs to bridges.a already;"
            " device names are unique within a site, choose another",
        ),
        (
            "site: farm\nbridges:\n  a:\n    type: studer\n    link: listen://127.0.0.1:4001\n"
            "    devices:\n      xcom:\n        parts: {vt_1: east, vt_2: east}",
            "8: bridges.a.devices.xcom.parts: the device 'east' belongs to"
            " bridges.a.devices.xcom already; device names are unique within a site",
        ),
        (
            "site: farm\nbridges:\n  a:\n    type: forecast\n    link: x\n    devices: {b: {}}",
            "5: bridges.a: the key 'link' is not known;"
            " expected one of allow_commands, devices, every, takeover, type",
        ),
        (
            "site: farm\nsinks: {a: {type: store, url: geheim-geheim-geheim-geheim}}",
            "2: sinks.a.url: found a secret, expected text",
        ),
        (
            "site: farm\nsinks: {a: {type: store, token_file: nowhere}}",
            "2: sinks.a.token_file: cannot read {here}/nowhere: No such file or directory",
        ),
        (
            "site: farm\nsinks: {a: {type: store, token_file: .}}",
            "2: sinks.a.token_file: cannot read {here}: Is a directory",
        ),
        (
            "site: farm\nsinks: {a: {type: store, url: '${NOWHERE}'}}",
            "2: sinks.a.url: the environment has no NOWHERE; set it, or write $${ for ${",
        ),
        (
            "site: farm\nsinks: {a: {type: store, url: '${A:-b}'}}",
            "2: sinks.a.url: found ${A:-b}, expected the name of a variable like ${NAME}",
        ),
    ],
)
def test_a_mistake_is_told_in_one_line(text: str, line: str) -> None:
    [found] = mistakes(text)
    assert found.startswith(line.replace("{here}", str(Path.cwd())))
    assert "geheim" not in found


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("text", "place", "better"),
    [
        ("site: The Farm", "1: site: found 'The Farm'", "the_farm"),
        (
            "site: farm\nbridges: {Meters: {type: meters, devices: {}}}",
            "2: bridges.Meters: found 'Meters'",
            "meters",
        ),
        (
            BRIDGE + "    devices:\n      Grid-1: {profile: eastron_sdm230}",
            "7: bridges.a.devices.Grid-1: found 'Grid-1'",
            "grid_1",
        ),
    ],
)
def test_a_bad_name_is_told_once_with_a_good_one(text: str, place: str, better: str) -> None:
    [found] = mistakes(text)
    assert found.startswith(f"{place}, expected ")
    assert found.endswith(f"; did you mean '{better}'?")


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    "text",
    [
        "site: farm\nsinks:\n  a:\n    type:sql\n    url: x",
        "site: farm\nsinks:\n  a:\n    type: sql\n   url: x",
        "site: farm\nsinks: {a: {type: sql}\nclock: trust",
        "site: farm\n  data: x",
    ],
)
def test_what_yaml_cannot_parse_says_where_to_look(text: str) -> None:
    [found] = mistakes(text)
    assert re.match("[0-9]+: not YAML: ", found)
    assert found.endswith(
        "; check the indentation, a space after each colon, and closing brackets,"
        " here or in the line before"
    )


@pytest.mark.usefixtures("here")
def test_all_mistakes_are_told_at_once_in_the_order_of_the_file() -> None:
    lines = mistakes(
        GRID + "        unit: x\nsinks:\n  s: {type: sore}\n  a: {type: store}\nx: 1\n"
    )
    assert [line.split(": ")[:2] for line in lines] == [
        ["9", "bridges.a.devices.grid.unit"],
        ["11", "sinks.s.type"],
        ["12", "sinks.a"],
        ["13", "the key 'x' is not known; expected one of base_topic, bridges, broker, clock, data,"
         " journal, sinks, site"],
    ]  # fmt: skip


@pytest.mark.usefixtures("here")
def test_a_malformed_link_is_told_with_its_line() -> None:
    [line] = mistakes(GRID.replace("tcp://", "tpc://"))
    assert line.startswith("5: bridges.a.link: ")
    assert "tpc" in line


@pytest.mark.usefixtures("here")
def test_a_missing_file_says_what_to_do() -> None:
    with pytest.raises(ConfigError, match=r"^heliobus\.yaml: no such file; write one, or name it"):
        config.load("heliobus.yaml")


def test_a_file_that_cannot_be_read_says_why(here: Path) -> None:
    (here / "heliobus.yaml").write_text("")
    with pytest.raises(ConfigError, match=r"heliobus\.yaml/x: cannot be read: Not a directory"):
        config.load("heliobus.yaml/x")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        config.load(here)
    (here / "heliobus.yaml").write_bytes(b"site: farm\ndata: \xff\n")
    with pytest.raises(ConfigError, match=r"^heliobus\.yaml:2: not UTF-8 text; save the file as"):
        config.load("heliobus.yaml")


@pytest.mark.usefixtures("here")
def test_the_environment_fills_values_and_is_never_shown() -> None:
    text = "site: '${SITE}'\nsinks: {a: {type: store, url: 'x-${SECRET}-$${Y}', keep: '${KEEP}'}}"
    found = load(text, SITE="farm", SECRET="s: [}", KEEP="2d").settings
    assert found.site == "farm"
    assert found.sinks["a"].options == {"url": "x-s: [}-${Y}", "keep": 172800.0}
    [line] = mistakes("site: farm\nclock: '${SECRET}'", SECRET="geheim")
    assert line == "2: clock: found '${SECRET}', expected trust or {wait: 2m}"


@pytest.mark.usefixtures("here")
def test_a_number_may_come_from_the_environment() -> None:
    found = load(GRID + "        unit: '${UNIT}'", UNIT="7").settings
    assert found.bridges["a"].devices[0].options["unit"] == 7


def test_a_secret_is_read_from_its_file(here: Path) -> None:
    secret = here / "secrets"
    secret.write_text("geheim\n")
    secret.chmod(0o600)
    found = load("site: farm\nbroker: {password_file: secrets}")
    assert credentials.password(found.settings.broker, "axpert") == "geheim"
    assert "geheim" not in repr(found)
    assert len(found.warnings) == 1  # that nothing will run
    both = "site: farm\nbroker: {password_file: secrets, password: x}"
    assert mistakes(both) == [
        "2: broker.password_file: 'password' is there, too; delete one of them"
    ]


def test_a_secret_that_everyone_can_read_is_warned_about(here: Path) -> None:
    secret = here / "mqtt"
    secret.write_text("geheim")
    secret.chmod(0o644)
    [warning, _] = load("site: farm\nbroker: {password_file: mqtt}").warnings
    assert warning == (
        f"{secret}: everyone on this computer can read it (mode 0644); run: chmod 600 {secret}"
    )


def test_an_empty_secret_is_a_mistake(here: Path) -> None:
    (here / "mqtt").write_text("\n")
    (here / "latin").write_bytes(b"\xfcber")
    assert mistakes("site: farm\nbroker: {password_file: mqtt}") == [
        f"2: broker.password_file: {here}/mqtt is empty; write the secret into it"
    ]
    assert mistakes("site: farm\nbroker: {password_file: latin}") == [
        f"2: broker.password_file: cannot read {here}/latin: not UTF-8 text"
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_secret_that_we_may_not_read_says_its_mode_and_who_we_are(
    common_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(common_path)
    (common_path / "mqtt").write_text("geheim")
    (common_path / "mqtt").chmod(0o600)
    (common_path / "heliobus.yaml").write_text("site: farm\nbroker: {password_file: mqtt}")
    os.seteuid(65534)
    try:
        with pytest.raises(ConfigError) as caught:
            config.load("heliobus.yaml")
    finally:
        os.seteuid(0)
    assert str(caught.value) == (
        f"heliobus.yaml:2: broker.password_file: cannot read {common_path}/mqtt: Permission denied"
        " (mode 0600, owner 0, we are user 65534)"
    )


@pytest.mark.usefixtures("here")
def test_anchors_and_merges_work_and_own_keys_win() -> None:
    found = load(
        "site: farm\n"
        "x-common: &common {profile: eastron_sdm230, every: 1s, link: 'tcp://192.0.2.1:502'}\n"
        "bridges:\n  a:\n    type: meters\n    devices:\n"
        "      grid: {<<: *common, every: 2s}\n      pump: *common\n      pool: {<<: [*common]}\n"
    ).settings
    grid, pump, pool = found.bridges["a"].devices
    assert [device.every_s for device in (grid, pump, pool)] == [2.0, 1.0, 1.0]
    assert mistakes("site: farm\nclock: {<<: 1}") == ["2: clock: '<<' merges mappings only"]


@pytest.mark.usefixtures("here")
def test_many_aliases_of_aliases_are_refused() -> None:
    laughs = "".join(f"x-{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 9))
    assert mistakes("site: farm\nx-0: &a0 [ha]\n" + laughs) == [
        "1: its anchors and aliases unfold without end; write them out"
    ]


@pytest.mark.usefixtures("here")
def test_free_values_are_read_as_plain_yaml() -> None:
    text = (
        "        extra: {a: 1, b: 0x10, c: 1.5, d: yes, e: '1', f: 007, g: 1e3, h: .nan,"
        " i: {j: [x]}}"
    )
    extra = load(GRID + text).settings.bridges["a"].devices[0].options["extra"]
    numbers = {"a": 1, "b": 16, "c": 1.5, "g": 1000.0}
    assert extra == numbers | {"d": True, "e": "1", "f": "007", "h": ".nan", "i": {"j": ["x"]}}


def outcome(path: Path) -> list[str]:
    """Give the lines of the mistakes; none for a good file. Anything else is raised."""
    try:
        config.read(path, {"A": "x"})
    except ConfigError as error:
        return str(error).split("\n")
    return []


WORDS = st.sampled_from(
    [
        *("site", "farm", "bridges", "sinks", "broker", "clock", "type", "devices", "meters"),
        *("store", "link", "every", "5s", "a", ":", "{", "}", "[", "]", ",", "- ", "\n", "\n  "),
        *("&a ", "*a", "<<", "${A}", "$", "!!int ", "!x ", '"', "'", "|", ">", "\t", "#", "\\"),
        *("~", "no", "0", "1e999", "?", "%", "@", "\x00", "\ud7ff", "---\n", "...\n"),
    ]
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.one_of(st.text(), st.lists(WORDS).map(" ".join), st.lists(WORDS).map("".join)))
def test_any_text_gives_settings_or_told_mistakes(here: Path, text: str) -> None:
    path = here / "heliobus.yaml"
    path.write_bytes(text.encode(errors="surrogatepass"))
    assert all(re.match(f"{path}:[0-9]+: .", line) for line in outcome(path))


TREES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=9), WORDS),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(WORDS | st.text(), inner, max_size=4)
    ),
)
PLACES = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(
        ["site", "base_topic", "data", "broker", "journal", "clock", "bridges", "sinks"], TREES
    ),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(PLACES)
def test_any_tree_gives_settings_or_told_mistakes(here: Path, tree: object) -> None:
    path = here / "heliobus.yaml"
    path.write_text(yaml.safe_dump(tree))
    assert all(re.match(f"{path}:[0-9]+: .", line) for line in outcome(path))
