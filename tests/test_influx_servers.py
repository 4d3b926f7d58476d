"""The real servers that other tests use: they keep what they are to keep, also when killed."""

from pathlib import Path

import pytest

from tests.helpers import wait_until
from tests.influx_servers import InfluxDB1, VictoriaMetrics

pytestmark = pytest.mark.database


def test_influxdb_keeps_what_it_acknowledged_when_it_is_killed(tmp_path: Path) -> None:
    with InfluxDB1(tmp_path) as server:
        assert server.write(b"battery,device=bank battery_v=52.5 1795255200000\n") == (204, "")
        server.kill()
        server.start()
        assert server.query("SELECT battery_v, device FROM battery") == [
            {
                "measurement": "battery",
                "time": 1795255200000,
                "battery_v": 52.5,
                "device": "bank",
            }
        ]


def test_victoriametrics_gives_back_what_it_has_settled(tmp_path: Path) -> None:
    with VictoriaMetrics(tmp_path) as server:
        line = b"battery,device=bank battery_v=52.5 1795243200000\n"
        assert server.post("/api/v2/write", line, precision="ms") == (204, "")
        stored = {"battery_battery_v{bank}": {1795243200000: 52.5}}
        wait_until(lambda: server.export() == stored, "the sample")
        server.stop()
        server.start()
        assert server.export() == stored
