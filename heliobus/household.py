"""The demo's household: which devices are in it, on which links, and how its day goes."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from heliobus.house import DAY_S
from heliobus.settings import BridgeSettings, DeviceSettings, Settings, SinkSettings
from heliobus.simulated_site import ARCHIVE

EVERY_S = 2.0
# Three on one line take two seconds, and fifteen where all sleep: that must not look stale.
_EVERY_S: Final = {"aurora": 6.0}
# In the demo a day takes twelve minutes, and it begins in the morning. The clock goes in steps, so
# that what was asked one after the other is still of one moment, and adds up.
FASTER = 120.0
DAY_MIN = DAY_S / FASTER / 60
HOLD_S = 6.0
MORNING_S = 9 * 3600.0
# So long may a machine be busy with the rest of the house before an answer counts as missing.
_PATIENCE_S = 5.0

_TRISTAR: Final[Mapping[str, Any]] = {
    "profile": "morningstar_tristar_mppt",
    "connect": "per_request",
}
_ROOF, _XCOM = "serial:///dev/ttyUSB3?baud=19200", "serial:///dev/ttyUSB4?baud=38400&parity=E"
_ONCE = {"retries": 0}  # or falling asleep takes them a minute
_Described = Mapping[str, tuple[str, Mapping[str, Any]]]
# Bridge: its type, and of each device the link and the options. Nothing of it is there.
HOUSEHOLD: Final[Mapping[str, tuple[str, _Described]]] = {
    "axpert": ("voltronic", {
        "inverter": ("serial:///dev/ttyUSB0?baud=2400", {"layout": "pi30"}),
    }),
    "chargers": ("modbus", {
        f"tristar_{at}": (f"tcp://192.0.2.{100 + at}:502", _TRISTAR) for at in (1, 2)
    }),
    "outback": ("sunspec", {"mate3s": ("tcp://192.0.2.90:502", {"simulate": "mate3s"})}),
    "meters": ("modbus", {
        "house": ("serial:///dev/ttyUSB1?baud=9600", {"profile": "eastron_sdm230", "role": "load"}),
    }),
    "daly": ("daly", {"bank": ("serial:///dev/ttyUSB2?baud=9600", {})}),
    "can": ("can", {"pylontech": ("can:slcan//dev/ttyACM0?bitrate=500000", {})}),
    "aurora": ("aurora", {
        "east": (_ROOF, {"address": 2, **_ONCE}),
        "south": (_ROOF, {"address": 3, **_ONCE}),
        "west": (_ROOF, {"address": 4, **_ONCE}),
        "roof": (_ROOF, {"total": "all"}),
    }),
    "studer": ("studer", {"xcom": (_XCOM, {"slow": HOLD_S})}),
    "opendtu": ("mqtt", {
        "shed": ("", {"id": "114172608275"}),
        "barn": ("", {"id": "116172608276"}),
    }),
}  # fmt: skip
_OF_BRIDGES: Final[Mapping[str, Mapping[str, Any]]] = {
    "opendtu": {"map": "opendtu", "simulate": "quick"}
}
ABOUT: Final = (
    "an Axpert, two TriStars, a MATE3S and all at its hub, an SDM230 meter, a Daly and a",
    "Pylontech battery, three Auroras, an Xcom with XT, VarioTracks and battery, an OpenDTU",
    f"their day takes {DAY_MIN:.0f} minutes",
)


def installation(folder: Path) -> Settings:
    """Give the settings of the demo's installation, as if its devices were there."""
    return Settings(
        site="demo",
        folder=folder,
        data=folder,
        bridges={name: _bridge(name, *described) for name, described in HOUSEHOLD.items()},
        sinks={"archive": SinkSettings("archive", "sql", options={"url": f"sqlite:///{ARCHIVE}"})},
    )


def _bridge(
    name: str, kind: str, devices: Mapping[str, tuple[str, Mapping[str, Any]]]
) -> BridgeSettings:
    return BridgeSettings(
        name,
        kind,
        tuple(
            DeviceSettings(
                device,
                _EVERY_S.get(kind, EVERY_S),
                link,
                # A total asks nothing itself.
                options if "total" in options else {**options, "timeout": _PATIENCE_S},
            )
            for device, (link, options) in devices.items()
        ),
        options=_OF_BRIDGES.get(name, {}),
    )


def daylight() -> Callable[[], float]:
    """Give the clock of the devices."""
    began_s = time.monotonic()
    today_s = time.time() // DAY_S * DAY_S + MORNING_S
    return lambda: today_s + FASTER * ((time.monotonic() - began_s) // HOLD_S * HOLD_S)
