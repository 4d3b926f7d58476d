"""What the devices of a simulated site say adds up: real bridges ask real simulators on real links.

The clock of the house stands still while they are asked, so that all speak of one moment.
"""

import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest

from bridges.mqtt.simulator import Simulator
from heliobus import components, household
from heliobus.bridge import check_links
from heliobus.polled import Member, Polled
from heliobus.poller import Poller, stop_all
from heliobus.sample import Values
from heliobus.settings import BridgeSettings, DeviceSettings, Settings
from heliobus.simulated_site import SimulatedSite
from tests.helpers import free_port, wait_until
from tests.mqtt_place import Place

MIDNIGHT_S: Final = datetime(2026, 6, 15, tzinfo=UTC).timestamp()
HOUR_S: Final = 3600.0
EVERY_S: Final = 0.2
WITHIN: Final = 0.02

BATTERIES = ("bank", "pylontech", "mate3s_battery_6", "xcom_bms")
CHARGERS = ("tristar_1", "tristar_2", "mate3s_charger_4", "mate3s_charger_5")
TRACKS = ("xcom_vt_1", "xcom_vt_2")
OUTBACKS = tuple(f"mate3s_inverter_{port}" for port in (1, 2, 3))
AURORAS = ("south",)  # one of three: a turn of each takes a second
ASKED = frozenset(
    (*BATTERIES, *CHARGERS, *TRACKS, *OUTBACKS, "inverter", "xcom_xt_1", "house", "mains")
)


class Clock:
    """A clock that is set by hand."""

    def __init__(self, now_s: float) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


def number(values: Mapping[str, Any], field: str) -> float:
    """Give a value that is there."""
    return float(values[field])


def quick(bridge: BridgeSettings) -> BridgeSettings:
    """Give a bridge that asks often, over sockets, which have no speed: all but CAN."""
    devices = [
        replace(
            device,
            every_s=EVERY_S,
            link=device.link.partition("?")[0].replace(
                "serial:///dev/ttyUSB", "socket://192.0.2.7:400"
            ),
        )
        for device in bridge.devices
        if bridge.type != "aurora" or device.name in (*AURORAS, "roof")
    ]
    return replace(bridge, devices=tuple(devices))


class Home:
    """The devices of the demo in one house, with a meter of the mains; and what they say."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock(MIDNIGHT_S + 8 * HOUR_S)
        self.said: dict[str, Values] = {}
        self.times: Counter[str] = Counter()
        self._stop = threading.Event()
        self.site = SimulatedSite(self._settings(folder), folder, clock=self.clock)
        self.site.open(free_port())
        self.house = self.site.house
        self._place = Place(name="opendtu")
        self._dtu = Simulator("clock", house=self.house, clock=lambda: self._place.now.ms / 1000.0)
        self._play = threading.Thread(target=self.site.play, args=[self._stop])
        self._play.start()
        self.site.wait()
        self._pollers = [each for bridge in self._bridges for each in self._asking(bridge)]
        for poller in self._pollers:
            poller.start()

    @staticmethod
    def _settings(folder: Path) -> Settings:
        settings = household.installation(folder)
        bridges = {
            name: quick(bridge)
            for name, bridge in settings.bridges.items()
            if not components.listens(bridge.type)
        }
        mains = {"profile": "eastron_sdm230", "role": "grid"}
        meter = DeviceSettings("mains", EVERY_S, "tcp://192.0.2.8:502", mains)
        bridges["mains"] = BridgeSettings("mains", "modbus", (meter,))
        return replace(settings, bridges=bridges)

    @property
    def _bridges(self) -> Iterator[BridgeSettings]:
        yield from self.site.settings.bridges.values()

    def _asking(self, bridge: BridgeSettings) -> Iterator[Poller]:
        kind = components.bridge(bridge.type)
        by_link: dict[str, list[Polled]] = {}
        for device in bridge.devices:
            polled = Polled(device, kind(device))
            polled.allowed = True
            by_link.setdefault(device.link, []).append(polled)
        check_links(kind, {url: [one.bridge for one in ds] for url, ds in by_link.items()})
        for url, devices in by_link.items():
            yield Poller(
                url,
                devices,
                on_sample=self._hear,
                on_change=lambda _member: None,
                on_event=lambda _device, _event: None,
            )

    def _hear(self, member: Member, values: Values, _measured_s: float) -> None:
        self.said[member.name] = values
        self.times[member.name] += 1

    def at(self, now_s: float, *, soc: float | None = None) -> None:
        """Let it be this moment, and wait until all have spoken of it."""
        if soc is not None:
            with self.house:
                self.house.soc = soc
        self.clock.now_s = now_s
        with self.house as house:
            awake = () if house.night else (*AURORAS, "roof")
        before = Counter(self.times)  # what comes next may be half of the moment before

        def heard() -> bool:
            return all(self.times[name] >= before[name] + 2 for name in (*ASKED, *awake))

        wait_until(heard, "all devices", 30)
        for _ in range(4):
            self._place.hear(
                *((one.topic, one.payload.decode()) for one in self._dtu.due()), base=""
            )
            self._place.wait(5.0)

    def sum(self, field: str, *names: str) -> float:
        """Add up what devices say."""
        return sum(number(self.said[name], field) for name in names)

    @property
    def coupled_w(self) -> float:
        """Give what solar inverters feed in."""
        if self.house.night:
            return 0.0
        return self.sum("output_w", "roof") + number(self._place.newest("opendtu"), "output_w")

    @property
    def battery_w(self) -> float:
        """Give what the batteries say."""
        return self.sum("battery_w", *BATTERIES)

    @property
    def inverted_w(self) -> float:
        """Give what the battery inverters put into the battery, without their chargers."""
        xt, outback = self.said["xcom_xt_1"], self.said["mate3s_battery_6"]
        return (
            self.sum("battery_w", "inverter")
            + number(outback, "shunt_01_a") * number(outback, "battery_v")
            + number(xt, "battery_a") * number(xt, "battery_v")
        )

    @property
    def charged_w(self) -> float:
        """Give what the charge controllers put into it."""
        return self.sum("battery_w", *CHARGERS) + self.sum("pv_w", *TRACKS)

    @property
    def pv_w(self) -> float:
        """Give what all panels give."""
        own_w = self.sum("pv_w", *CHARGERS, *TRACKS, "inverter")
        return own_w + self.coupled_w

    @property
    def output_w(self) -> float:
        """Give what the battery inverters deliver."""
        return self.sum("output_w", "inverter", "xcom_xt_1") + self.sum("load_w", *OUTBACKS)

    def adds_up(self) -> None:
        """Check the balances, within 2 % of what flows."""
        load_w, mains_w = self.sum("power_w", "house"), self.sum("power_w", "mains")
        allowed_w = WITHIN * max(load_w, self.pv_w, abs(self.battery_w))
        assert self.battery_w == pytest.approx(self.charged_w + self.inverted_w, abs=allowed_w)
        assert self.output_w + self.coupled_w == pytest.approx(load_w, abs=allowed_w)
        assert self.pv_w + mains_w == pytest.approx(load_w + self.battery_w, abs=allowed_w)
        for name in BATTERIES:
            soc_percent = number(self.said[name], "soc_percent")
            assert soc_percent == pytest.approx(100 * self.house.soc, abs=1.0)

    def stop(self) -> None:
        """End it."""
        stop_all(self._pollers)
        self._stop.set()
        self._play.join()


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """Give a home that is played and asked."""
    home = Home(tmp_path)
    yield home
    home.stop()


def test_what_all_devices_say_adds_up_at_noon(home: Home) -> None:
    home.at(MIDNIGHT_S + 12 * HOUR_S)
    home.adds_up()
    assert home.pv_w > 5000
    assert home.sum("power_w", "mains") == 0


@pytest.mark.slow
def test_what_all_devices_say_adds_up_at_any_time(home: Home) -> None:
    for hour in (8.0, 17.75):
        home.at(MIDNIGHT_S + hour * HOUR_S)
        home.adds_up()
        assert home.pv_w > 1000
    home.at(MIDNIGHT_S + 23 * HOUR_S)
    home.adds_up()
    assert home.pv_w == 0
    assert home.battery_w < -1000
    home.at(MIDNIGHT_S + 24 * HOUR_S, soc=0.1501)  # the battery is as good as empty
    home.adds_up()
    assert home.battery_w > 1000
    assert home.sum("power_w", "mains") > home.sum("power_w", "house") > 1000
