"""The layout `telegraf_opendtu`: what Telegraf makes of OpenDTU's topics, for known dashboards.

Measurement `mqtt_consumer`, tags `serial` and `channel`, one float per leaf of OpenDTU's topics:
`solar/<serial>/<channel>/<field>`. Channel "0" is the AC side, "1" to "6" are the DC inputs, and
"status", "radio" and "device" are the rest. Telegraf's own tags `host` and `topic` are left out: no
query reads them. So are the totals: as a serial number of theirs dashboards would offer "ac".
"""

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from heliobus.contract import Contract
from heliobus.errors import FrameError
from heliobus.sample import Sample
from sinks.influx.layout import Entry, Fields, HeliobusLayout
from sinks.influx.lines import line

_log = logging.getLogger(__name__)

MEASUREMENT: Final = "mqtt_consumer"
# By whom an inverter must be made to have come from an OpenDTU: it speaks to no others.
MAKER: Final = "hoymiles"
INPUTS: Final = range(1, 7)
_WH_IN_KWH = 1000.0
_DIGITS: Final = re.compile(r"[0-9]{1,15}", re.ASCII)

# OpenDTU's channel and leaf <- field of the contract, and what it is multiplied with.
AC: Final = (
    ("power", "output_w", 1.0),
    ("voltage", "output_v", 1.0),
    ("current", "output_a", 1.0),
    ("frequency", "output_hz", 1.0),
    ("powerfactor", "power_factor", 1.0),
    ("reactivepower", "output_var", 1.0),
    ("temperature", "device_c", 1.0),
    ("yieldday", "yield_today_kwh", _WH_IN_KWH),
    ("yieldtotal", "yield_kwh", 1.0),
    ("powerdc", "pv_w", 1.0),
    ("efficiency", "efficiency_percent", 1.0),
)
DC: Final = (
    ("power", "pv_{:02d}_w", 1.0),
    ("voltage", "pv_{:02d}_v", 1.0),
    ("current", "pv_{:02d}_a", 1.0),
    ("yieldday", "pv_{:02d}_yield_today_kwh", _WH_IN_KWH),
    ("yieldtotal", "pv_{:02d}_yield_kwh", 1.0),
    ("irradiation", "pv_{:02d}_irradiation_percent", 1.0),
)
STATUS: Final = (
    ("reachable", "reachable", 1.0),
    ("producing", "producing", 1.0),
    ("limit_relative", "power_limit_percent", 1.0),
    ("limit_absolute", "power_limit_w", 1.0),
)
RADIO: Final = (
    ("tx_request", "radio_sent_count", 1.0),
    ("tx_re_request", "radio_resent_count", 1.0),
    ("rx_success", "radio_received_count", 1.0),
    ("rx_fail_nothing", "radio_unanswered_count", 1.0),
    ("rx_fail_partial", "radio_partial_count", 1.0),
    ("rx_fail_corrupt", "radio_corrupt_count", 1.0),
    ("rssi", "signal_dbm", 1.0),
)
# Numbers there, and texts here: nobody calculates with them.
DEVICE: Final = (
    ("bootloaderversion", "bootloader_version", 1.0),
    ("hwpartnumber", "hardware_part", 1.0),
)
TABLE: Final = {
    **{("0", leaf): (field, factor) for leaf, field, factor in AC},
    **{(str(n), leaf): (field.format(n), factor) for n in INPUTS for leaf, field, factor in DC},
    **{("status", leaf): (field, factor) for leaf, field, factor in STATUS},
    **{("radio", leaf): (field, factor) for leaf, field, factor in RADIO},
    **{("device", leaf): (field, factor) for leaf, field, factor in DEVICE},
}
# `last_update`: when the DTU last heard of the inverter, in seconds since 1970; or from its age.
UPDATED: Final = "last_update_s"
AGE: Final = "data_age_s"

# Samples of inverters that have not said yet who they are: `info` comes with the first of them.
_MOST_WAITING = 1000
_OF_COMPONENTS = frozenset({"component", "event"})  # every installation has them


class OpenDtuLayout:
    """The layout `telegraf_opendtu`: inverters behind an OpenDTU, and nothing else."""

    def __init__(self, contract: Contract) -> None:
        del contract  # the table above names its fields
        self.text = False
        self.waiting = HeliobusLayout.waiting
        self._serials: dict[tuple[str, str], str] = {}  # "": known, and not of an OpenDTU
        self._held: list[Sample] = []
        self._is_said = False

    def info(self, site: str, device: str, info: Mapping[str, Any]) -> None:
        """Learn an inverter's serial number."""
        maker, serial = info.get("maker"), info.get("serial")
        ours = isinstance(maker, str) and maker.lower() == MAKER and info.get("kind") == "inverter"
        self._serials[site, device] = serial if ours and isinstance(serial, str) else ""

    def entries(self, samples: Sequence[Sample]) -> list[Entry]:
        """Give the samples with their lines; those of inverters not yet known are held back."""
        entries, held = [], []
        for sample in (*self._held, *samples):
            serial = self._serials.get((sample.site, sample.device))
            if sample.kind == "inverter" and serial is None:
                held.append(sample)
            elif sample.kind == "inverter" and serial:
                entries.append(self._entry(sample, serial))
            else:
                self._leave_out(sample)
        for sample in held[:-_MOST_WAITING]:
            self._leave_out(sample)
        self._held = held[-_MOST_WAITING:]
        self.waiting = frozenset((s.site, s.bridge or "", s.device) for s in self._held)
        return entries

    def _entry(self, sample: Sample, serial: str) -> Entry:
        channels: dict[str, Fields] = {}
        for channel, leaf, value in _values(sample):
            channels.setdefault(channel, {})[leaf] = value
        try:
            lines = [
                line(MEASUREMENT, {"serial": serial, "channel": channel}, fields, sample.time_ms)
                for channel, fields in channels.items()
            ]
        except FrameError as error:
            return Entry(sample, fault=str(error))
        return Entry(sample, lines)

    def _leave_out(self, sample: Sample) -> None:
        if self._is_said or sample.kind in _OF_COMPONENTS:
            return
        self._is_said = True
        _log.info(
            "the layout telegraf_opendtu has a place for inverters of an OpenDTU only; others are"
            " left out, such as %s (%s)",
            sample.device,
            sample.kind,
        )


def _values(sample: Sample) -> Iterator[tuple[str, str, float]]:
    for (channel, leaf), (field, factor) in TABLE.items():
        value = sample.values.get(field)
        if isinstance(value, str) and channel == "device" and _DIGITS.fullmatch(value):
            value = int(value)
        if isinstance(value, bool | int | float):
            yield channel, leaf, round(float(value) * factor, 6)
    updated_s, age_s = sample.values.get(UPDATED), sample.values.get(AGE)
    if isinstance(updated_s, int | float):
        yield "status", "last_update", float(updated_s)
    elif isinstance(age_s, int | float):
        yield "status", "last_update", float(round(sample.time_ms / 1000 - age_s))
