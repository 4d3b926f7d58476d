r"""A bridge for tests, as another package would offer it: faster than any serial line.

-> "pump\n"      <- "pump 17\n"      the 17th answer of the device `pump`
"""

from heliobus.bridge import Group, Identity
from heliobus.errors import FrameError
from heliobus.link import Link, ask
from heliobus.sample import Values
from heliobus.settings import DeviceSettings


class Fast:
    """One counter; its values have every type that a value can have."""

    kind = "inverter"
    identity = Identity(maker="Test", model="Counter")

    def __init__(self, device: DeviceSettings) -> None:
        self._name = device.name.encode()
        self.groups = (Group("count", device.every_s, 0.001),)

    def poll(self, link: Link, group: str) -> Values:
        """Ask for the next count. Raise FrameError, LinkError."""
        count = ask(link, self._name + b"\n", self._take, timeout_s=10.0, what=group)
        return {
            "pv_w": count / 8,
            "load_today_kwh": count,
            "fault_code": count % 7,
            "charging": count % 2 == 0,
            "alarms": ["tenth"] if count % 10 == 0 else [],
            "fault": f"count {count}",
        }

    def forget(self) -> None:
        """Forget nothing: nothing is learned."""

    def _take(self, got: bytes) -> tuple[int, int] | None:
        line, end, _ = got.partition(b"\n")
        if not end:
            return None
        name, _, count = line.partition(b" ")
        if name != self._name or not count.isdigit():
            raise FrameError(f"found {line!r:.60}, expected {self._name.decode()} and a count")
        return int(count), len(line) + 1
