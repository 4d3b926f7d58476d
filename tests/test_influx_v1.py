"""Our lines in a real InfluxDB 1.x, read back by InfluxQL; for the sink itself it is too old."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from heliobus import contract
from heliobus.errors import SinkError
from heliobus.sample import Sample
from sinks.influx.layout import HeliobusLayout
from sinks.influx.lines import line
from sinks.influx.opendtu import OpenDtuLayout
from tests.influx_servers import InfluxDB1
from tests.influx_sink import influx
from tests.samples import BEGIN_MS, sample

pytestmark = pytest.mark.database
CONTRACT = contract.load()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[InfluxDB1]:
    with InfluxDB1(tmp_path / "influxdb") as running:
        yield running


def test_every_kind_of_value_is_read_back(server: InfluxDB1) -> None:
    values = {
        "pv_w": 120,
        "battery_v": 52.125,
        "charging": True,
        "mode": "battery",
        "alarms": ["overload", 'a "quoted" \\ one'],
        "fault": "a, b=c d",
    }
    layout = HeliobusLayout(CONTRACT)
    (entry,) = layout.entries([sample(values=values)])
    assert server.write(b"\n".join(entry.lines)) == (204, "")
    (row,) = server.query("SELECT * FROM inverter")
    assert row == {
        "measurement": "inverter",
        "time": BEGIN_MS,
        "site": "farm",
        "device": "inverter",
        "pv_w": 120,
        "battery_v": 52.125,
        "charging": 1,
        "mode": "battery",
        "mode_code": 11,
        "alarms": '["overload","a \\"quoted\\" \\\\ one"]',
        "alarms_count": 2,
        "fault": "a, b=c d",
    }
    types = server.query("SHOW FIELD KEYS FROM inverter")
    assert {row["fieldKey"] for row in types if row["fieldType"] != "float"} == {
        "mode",
        "alarms",
        "fault",
    }


@pytest.mark.parametrize("text", ["a b", "a,b", "a=b", 'a"b', "grün", "a,b c=d,"])
def test_every_tag_is_read_back(server: InfluxDB1, text: str) -> None:
    assert server.write(line("meter", {"serial": text}, {"power_w": 1.0}, BEGIN_MS)) == (204, "")
    assert server.query("SELECT serial, power_w FROM meter")[0]["serial"] == text


def test_what_is_written_again_replaces(server: InfluxDB1) -> None:
    layout = HeliobusLayout(CONTRACT)

    def write(one: Sample) -> None:
        (entry,) = layout.entries([one])
        assert server.write(b"\n".join(entry.lines)) == (204, "")

    write(sample(values={"pv_w": 1, "battery_v": 52}))
    write(sample(values={"pv_w": 2, "battery_v": 52}))
    rows = server.query("SELECT pv_w, battery_v FROM inverter")
    assert [(row["pv_w"], row["battery_v"]) for row in rows] == [(2, 52)]


def test_the_lines_for_opendtu_are_read_back_by_channel(server: InfluxDB1) -> None:
    layout = OpenDtuLayout(CONTRACT)
    layout.info("farm", "inverter", {"kind": "inverter", "maker": "Hoymiles", "serial": "1141"})
    values = {"output_w": 400, "yield_today_kwh": 1.5, "pv_01_w": 210, "producing": True}
    (entry,) = layout.entries([sample(values=values)])
    assert server.write(b"\n".join(entry.lines)) == (204, "")
    rows = server.query(
        "SELECT power, yieldday, producing FROM mqtt_consumer"
        " WHERE serial = '1141' GROUP BY channel"
    )
    assert [(r["channel"], r["power"], r["yieldday"], r["producing"]) for r in rows] == [
        ("0", 400, 1500, None),
        ("1", 210, None, None),
        ("status", None, None, 1),
    ]


def test_a_server_without_api_v2_write_is_named(server: InfluxDB1, tmp_path: Path) -> None:
    sink = influx(server.url, tmp_path, org="", bucket="solar/autogen")
    sink.open()
    with pytest.raises(SinkError) as raised:
        sink.write([sample(0)], {})
    assert str(raised.value) == (
        f"{server.url}: answered 404 (404 page not found); it is InfluxDB 1.6.7~rc0;"
        " expected InfluxDB 1.8 or newer, which has /api/v2/write, at this url"
    )
