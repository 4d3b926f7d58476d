"""What an OpenDTU publishes every 5 s: topics below its base and payloads, in its own order.

Read for it: src/MqttHandleDtu.cpp, MqttHandleInverter.cpp, MqttHandleInverterTotal.cpp, the
columns of digits in lib/Hoymiles/src/inverters/*.cpp of tbnobody/OpenDTU.
"""

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Final

from bridges.mqtt.simulated_inverter import STRING_MOST_W, Answer, Inverter

HOSTNAME: Final = "OpenDTU-07F614"
IP: Final = "192.0.2.90"
_MISSED_POLLS: Final = 2  # more of them: the inverter is not reachable
_RADIO: Final = (
    *("tx_request", "tx_re_request", "rx_success"),
    *("rx_fail_nothing", "rx_fail_partial", "rx_fail_corrupt"),
)

Texts = Iterator[tuple[str, str]]


@dataclass
class Known:
    """What a DTU knows of one inverter, until it starts anew."""

    answer: Answer
    updated_s: float | None = None
    fresh: bool = False
    missed: int = 0
    rssi: int = -127
    limit_percent: float | None = None
    radio: Counter[str] = field(default_factory=Counter)

    @property
    def reachable(self) -> bool:
        """Say whether it has not missed too many polls. Before the first it has missed none."""
        return self.missed <= _MISSED_POLLS

    def learn(self, answer: Answer, inverter: Inverter, at_s: float) -> None:
        """Take in an answer."""
        self.answer, self.updated_s, self.fresh, self.missed = answer, at_s, True, 0
        self.limit_percent = inverter.limit_percent
        self.rssi = -30  # this radio gives -30 or -80
        self.radio["rx_success"] += 1


def of_dtu(uptime_s: int, *, on_wifi: bool) -> Texts:
    """Give what it says of itself."""
    yield "dtu/uptime", f"{uptime_s}"
    yield "dtu/ip", IP
    yield "dtu/hostname", HOSTNAME
    yield "dtu/heap/size", "327680"
    yield "dtu/heap/free", f"{148_000 - uptime_s * 37 % 9000}"
    yield "dtu/heap/minfree", "112404"
    yield "dtu/heap/maxalloc", "65524"
    if on_wifi:
        yield "dtu/rssi", f"{-61 - uptime_s // 5 % 7}"
        yield "dtu/bssid", "02:00:5E:10:00:01"
    yield "dtu/temperature", f"{44 + uptime_s // 60 % 50 / 10:.2f}"


def of_inverter(inverter: Inverter, known: Known) -> Texts:
    """Give what it says of one inverter: of its channels only after a new answer."""
    for leaf, payload in _state(inverter, known):
        yield f"{inverter.serial}/{leaf}", payload
    if known.fresh:
        known.fresh = False
        for leaf, payload in _channels(known.answer):
            yield f"{inverter.serial}/{leaf}", payload


def _state(inverter: Inverter, known: Known) -> Texts:
    yield "name", inverter.name
    for name in _RADIO:
        yield f"radio/{name}", f"{known.radio[name]}"
    yield "radio/rssi", f"{known.rssi}"
    if known.updated_s is not None:
        yield "device/bootloaderversion", "104"
        yield "device/fwbuildversion", "10016"
        yield "device/fwbuilddatetime", "2022-11-10 16:11:00"
        yield "device/hwpartnumber", "269553683"
        yield "device/hwversion", "01.10"
    if known.limit_percent is not None:
        yield "status/limit_relative", f"{known.limit_percent:.2f}"
        yield "status/limit_absolute", f"{known.limit_percent * inverter.model.rated_w / 100:.2f}"
    yield "status/reachable", f"{known.reachable:d}"
    yield "status/producing", f"{known.answer.w > 0:d}"
    yield "status/last_update", f"{known.updated_s or 0:.0f}"


def _channels(answer: Answer) -> Texts:
    """Give the AC side, the strings, and what is of the inverter as a whole."""
    yield "0/voltage", f"{answer.v:.1f}"
    yield "0/current", f"{answer.a:.2f}"
    yield "0/power", f"{answer.w:.1f}"
    yield "0/frequency", f"{answer.hz:.2f}"
    yield "0/powerfactor", f"{answer.power_factor:.3f}"
    yield "0/reactivepower", f"{answer.var:.1f}"
    for at, string in enumerate(answer.strings, 1):
        yield f"{at}/name", f"String {at}"
        yield f"{at}/voltage", f"{string.v:.1f}"
        yield f"{at}/current", f"{string.a:.2f}"
        yield f"{at}/power", f"{string.w:.1f}"
        yield f"{at}/yieldday", f"{string.today_wh}"
        yield f"{at}/yieldtotal", f"{string.total_wh / 1000:.3f}"
        yield f"{at}/irradiation", f"{string.w / STRING_MOST_W * 100:.3f}"
    dc_w = sum(string.w for string in answer.strings)
    yield "0/powerdc", f"{dc_w:.1f}"
    yield "0/yieldday", f"{sum(string.today_wh for string in answer.strings)}"
    yield "0/yieldtotal", f"{sum(string.total_wh for string in answer.strings) / 1000:.3f}"
    yield "0/temperature", f"{answer.celsius:.1f}"
    yield "0/efficiency", f"{answer.w / dc_w * 100 if dc_w else 0:.3f}"


def of_all(knowledge: Collection[Known]) -> Texts:
    """Give the totals: sums of what is known, whether that is fresh or not."""
    strings = [string for known in knowledge for string in known.answer.strings]
    valid = f"{all(known.reachable for known in knowledge):d}"
    dc_w = sum(string.w for string in strings)
    yield "ac/power", f"{sum(known.answer.w for known in knowledge):.1f}"
    yield "ac/yieldtotal", f"{sum(string.total_wh for string in strings) / 1000:.3f}"
    yield "ac/yieldday", f"{sum(string.today_wh for string in strings)}"
    yield "ac/is_valid", valid
    yield "dc/power", f"{dc_w:.1f}"
    yield "dc/irradiation", f"{dc_w / len(strings) / STRING_MOST_W * 100:.3f}"
    yield "dc/is_valid", valid
