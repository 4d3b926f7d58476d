"""One device that does not answer, among others that do: with the real loop of a link."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from heliobus.bridge import Group, Identity
from heliobus.master import Manner, Master, open_master
from heliobus.modbus import Read, rtu
from heliobus.polled import Polled
from heliobus.poller import Poller, stop_all
from heliobus.sample import Values
from heliobus.settings import DeviceSettings
from tests.helpers import free_port, wait_until
from tests.modbus_far import Far, far_pty, far_tcp, mbap

DEAD = 3
EVERY_S, TIMEOUT_S = 0.1, 0.5


class Meter:
    """A bridge that reads two registers of its unit in one request, and two others in the next."""

    kind = "meter"
    identity = Identity()
    groups = (Group("fast", EVERY_S, 0.01),)

    def __init__(self, unit: int, timeout_s: float = TIMEOUT_S) -> None:
        self._unit = unit
        self._manner = Manner(timeout_s)

    @staticmethod
    def open_link(url: str, devices: Sequence["Meter"]) -> Master:
        """Open the way to these meters."""
        assert devices
        return open_master(url)

    def poll(self, link: Master, group: str) -> Values:
        assert group == "fast"
        power, _ = link.read(Read(self._unit, 4, 0x0C, 2), self._manner)
        energy, _ = link.read(Read(self._unit, 4, 0x48, 2), self._manner)
        return {"power_w": power, "import_kwh": energy}

    def forget(self) -> None: ...


def answer(request: bytes) -> bytes:
    """Answer like a unit whose registers hold their own addresses; the dead one: nothing."""
    unit, start = request[0], request[2:4]
    return b"" if unit == DEAD else rtu(unit, b"\x04\x04" + start + b"\0\0")


def polled(unit: int, timeout_s: float = TIMEOUT_S) -> Polled:
    device = Polled(DeviceSettings(f"unit_{unit}", EVERY_S, ""), Meter(unit, timeout_s))
    device.allowed = True
    return device


@contextmanager
def polling(*links: tuple[str, Sequence[Polled]]) -> Iterator[Sequence[Poller]]:
    """Ask devices, each link in a thread of its own."""
    pollers = [
        Poller(
            url,
            devices,
            on_sample=lambda *_: None,
            on_change=lambda _: None,
            on_event=lambda *_: None,
        )
        for url, devices in links
    ]
    for poller in pollers:
        poller.start()
    try:
        yield pollers
    finally:
        stop_all(pollers)


def test_a_dead_unit_costs_the_others_one_request_for_each_of_its_turns() -> None:
    far = far_pty(lambda request: [answer(request)])
    devices = {unit: polled(unit) for unit in range(1, 6)}
    with far, polling((far.url, list(devices.values()))):
        wait_until(lambda: devices[DEAD].errors == 3, "three turns of the dead unit")
        asked = [request[0] for request in far.asked]
    turns = [at for at, unit in enumerate(asked) if unit == DEAD]
    assert len(turns) == 3
    assert {request[1] for request in far.asked} == {4}  # and no loop-backs
    for unit in devices.keys() - {DEAD}:
        assert devices[unit].errors == 0
        # Between its turns are back-offs of 1 and 2 s, in which the others have theirs.
        assert asked[turns[0] : turns[1]].count(unit) >= 2 * 4
        assert asked[turns[1] : turns[2]].count(unit) >= 2 * 8


def test_a_dead_device_of_its_own_costs_the_others_nothing() -> None:
    devices = [polled(unit) for unit in range(1, 7)]
    with ExitStack() as stack:
        fars = [stack.enter_context(_device(silent=unit == DEAD)) for unit in range(1, 7)]
        links = [(far.url, [device]) for far, device in zip(fars, devices, strict=True)]
        stack.enter_context(polling(*links))
        wait_until(lambda: devices[DEAD - 1].errors == 2, "two turns of the dead device")
        live = [device for device in devices if device.name != f"unit_{DEAD}"]
        wait_until(lambda: all(device.polls >= 10 for device in live), "ten polls of the others")
    assert [device.errors for device in live] == [0] * 5
    assert len(fars[DEAD - 1].asked) <= 4


def _device(*, silent: bool) -> Far:
    return far_tcp(lambda request: () if silent else [mbap(request, answer(request[6:])[1:-2])])


def test_a_stop_does_not_wait_for_a_device_that_does_not_answer() -> None:
    far = far_tcp(lambda _: ())
    with far:
        with polling((far.url, [polled(DEAD, timeout_s=30)])) as pollers:
            wait_until(lambda: far.asked, "the request")
        assert not pollers[0].alive


def test_devices_are_offline_while_their_gateway_is_away_and_asked_when_it_is_back() -> None:
    device = polled(1)
    url = f"tcp://127.0.0.1:{free_port()}"
    with polling((url, [device])):
        wait_until(lambda: "refused; check the port" in device.error, "the lost link")
        back = far_tcp(
            lambda request: [mbap(request, answer(request[6:])[1:-2])],
            port=int(url.rpartition(":")[2]),
        )
        with back:
            wait_until(lambda: device.polls, "its first poll")
