"""The installation examples/outback_tristar: this very file, without hardware, to the dashboard."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from heliobus import config, contract
from heliobus.sample import Sample, parse_sample
from sinks.influx.layout import HeliobusLayout
from tests.grafana_house import END_MS
from tests.grafana_servers import Server, fault
from tests.helpers import ROOT, free_port, require_program, wait_until
from tests.influx_servers import InfluxDB1
from tests.processes import Ear, Program

EXAMPLE = ROOT / "examples" / "outback_tristar"
PAGE = (EXAMPLE / "README.md").read_text()
CHARGERS = {f"charger_{number}" for number in range(1, 7)}
DEVICES = {"mate", "radian_1", "radian_2", "radian_3", "battery"} | CHARGERS


def configure(folder: Path) -> Path:
    """Write the file as it is, but for the one folder that belongs to the service."""
    text = (EXAMPLE / "heliobus.yaml").read_text()
    assert text.count("data: /var/lib/heliobus\n") == 1
    path = folder / "heliobus.yaml"
    path.write_text(text.replace("data: /var/lib/heliobus\n", "data: data\n"))
    return path


class Listener(Ear):
    """One who hears the example's site."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.client.on_connect = lambda client, *_: client.subscribe("heliobus/ranch/#", 1)

    def samples(self) -> list[Sample]:
        """Give every sample that was heard."""
        heard = [(m.topic.split("/")[2], bytes(m.payload)) for m in self.heard("/state")]
        return [parse_sample("ranch", device, payload) for device, payload in heard]


def newest(samples: Sequence[Sample]) -> Mapping[str, Sample]:
    return {sample.device: sample for sample in samples}


# ---------------------------------------------------------------------- the file


def test_the_file_is_valid_and_asks_six_chargers_at_six_addresses(tmp_path: Path) -> None:
    settings = config.read(configure(tmp_path), broker_files=False).settings
    chargers = settings.bridges["chargers"].devices
    assert {device.name for device in chargers} == CHARGERS
    assert {device.link for device in chargers} == {
        f"tcp://192.0.2.{address}:502" for address in range(101, 107)
    }
    assert {
        device.every_s for bridge in settings.bridges.values() for device in bridge.devices
    } == {10.0}
    assert settings.sinks["influx"].options["bucket"] == "power"


def test_the_page_names_what_there_is() -> None:
    commands = re.findall(r"^(?:sudo (?:-u heliobus )?)?heliobus ([a-z]+)", PAGE, re.MULTILINE)
    assert {"up", "watch", "history", "broker", "prepare", "check"} <= set(commands)
    assert "examples/outback_tristar/heliobus.yaml" in PAGE
    uid = re.findall(r"/d/([\w-]+)\?kiosk", PAGE)
    board = json.loads((ROOT / "grafana/dashboards/influxql/power-room.json").read_text())
    assert uid == [board["uid"]]


# ---------------------------------------------------------------------- the whole


@pytest.mark.broker
@pytest.mark.database
@pytest.mark.slow
def test_this_very_file_fills_the_power_room_without_its_hardware(tmp_path: Path) -> None:
    require_program("mosquitto", package="mosquitto")
    configure(tmp_path)
    program = Program(tmp_path, "up", "--simulate", "--port", str(free_port()))
    with program, Listener(_port_of(program)) as ear:
        wait_until(
            lambda: newest(ear.samples()).keys() >= DEVICES, f"all devices\n{program.said}", 20
        )
        first = len(ear.samples())
        wait_until(lambda: len(ear.samples()) >= 2 * first, "a second sample of each", 20)
        _looked_at(tmp_path)
        assert program.stop() == 0
    samples = ear.samples()
    _adds_up(newest(samples))
    assert not re.search("WARNING|ERROR", program.said)
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["simulated"]
    with InfluxDB1(tmp_path / "influxdb") as server:
        _fill(server, samples)
        assert _faults(Server("influxql", server.query), "power-room") == []
        assert _faults(Server("influxql", server.query), "chargers") == []


def _port_of(program: Program) -> int:
    return int(re.findall(r" on 127\.0\.0\.1:(\d+)", program.says("broker  "))[0])


def _looked_at(folder: Path) -> None:
    """Ask the simulated archive as the page says."""
    (line,) = re.findall(r"^heliobus (history --simulate .*)$", PAGE, re.MULTILINE)
    done = subprocess.run(
        [sys.executable, "-m", "heliobus", *line.split()],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "charger_1 pv_w (W)" in done.stdout


def _adds_up(newest: Mapping[str, Sample]) -> None:
    """Show that the devices are those of the file, each with what it alone can tell."""
    assert newest.keys() == DEVICES
    assert all(sample.marks["simulated"] is True for sample in newest.values())
    kinds = {name: sample.kind for name, sample in newest.items()}
    assert {kinds[name] for name in CHARGERS} == {"charger"}
    assert [kinds[f"radian_{port}"] for port in (1, 2, 3)] == ["inverter"] * 3
    assert (kinds["mate"], kinds["battery"]) == ("site", "battery")
    out_w = sum(_number(newest[f"radian_{port}"], "output_w") for port in (1, 2, 3))
    assert _number(newest["mate"], "load_w") == pytest.approx(out_w)
    assert _number(newest["battery"], "soc_percent") == _number(newest["mate"], "soc_percent")
    assert all(40 < _number(newest[name], "battery_v") < 64 for name in CHARGERS)


def _number(sample: Sample, field: str) -> float:
    value = sample.values[field]
    assert isinstance(value, int | float)
    return value


def _fill(server: InfluxDB1, samples: Sequence[Sample]) -> None:
    """Store them by the sink's own lines, as if the last had come just now."""
    later_ms = END_MS - max(sample.time_ms for sample in samples)
    moved = [replace(sample, time_ms=sample.time_ms + later_ms) for sample in samples]
    layout = HeliobusLayout(contract.load())
    lines = [line for entry in layout.entries(moved) for line in entry.lines]
    status, text = server.write(b"\n".join(lines))
    assert status == 204, text


def _faults(server: Server, name: str) -> list[str]:
    """Ask every panel of a dashboard, as Grafana does."""
    page, faults = server.page(name), []
    for panel in page["panels"]:
        for target in panel.get("targets", ()):
            rows = server.target(target, server.view(page, panel))
            if found := fault(rows, panel):
                faults.append(f"{panel['title']} {target['refId']}: {found}")
    return faults
