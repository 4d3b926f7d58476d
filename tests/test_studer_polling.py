"""A Studer gateway on its link: what is online, and what becomes of it when something is gone."""

from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from pathlib import Path

import pytest

from bridges.studer import Studer
from bridges.studer.objects import FAMILIES
from heliobus.errors import FrameError
from heliobus.line import Faults
from heliobus.link import open_link
from heliobus.settings import DeviceSettings
from heliobus.simulation import Service, serve_pty, serve_tcp
from tests import pollers
from tests.helpers import free_port, wait_until
from tests.pollers import Seen
from tests.studer_far import BMS, VT, XT, Far

ALL = ["xcom", "xcom_bms", "xcom_vt_1", "xcom_xt_1", "xcom_xt_2"]
_Serve = Callable[[Far], Service]


def polling(url: str) -> AbstractContextManager[Seen]:
    return pollers.polling(url, Studer, DeviceSettings("xcom", 0.1, url, {"timeout": 0.2}))


def house() -> Far:
    return Far({101: XT, 102: XT, 301: VT, 601: BMS})


def test_a_device_that_vanishes_is_offline_and_the_others_go_on() -> None:
    far = house()
    with serve_tcp(far) as service, polling(service.url) as seen:
        wait_until(lambda: seen.online() == ALL, "all devices")
        gone = far.devices.pop(102)
        wait_until(lambda: "xcom_xt_2" not in seen.online(), "a device less")
        told = len(seen.samples["xcom_xt_2"])
        before = len(seen.samples["xcom_xt_1"])
        wait_until(lambda: len(seen.samples["xcom_xt_1"]) > before + 3, "samples of the others")
        assert seen.online() == [name for name in ALL if name != "xcom_xt_2"]
        assert len(seen.samples["xcom_xt_2"]) == told
        far.devices[102] = gone
        wait_until(lambda: seen.online() == ALL, "all devices again")


def test_slow_values_and_settings_are_carried_between_their_turns() -> None:
    with serve_tcp(house()) as service, polling(service.url) as seen:
        wait_until(lambda: "charge_limit_a" in (seen.samples["xcom_xt_1"] or [{}])[-1], "settings")
        assert seen.samples["xcom_xt_1"][-1]["load_today_kwh"] == 4.25
        assert seen.samples["xcom_vt_1"][-1]["yield_kwh"] == 12500.0


def test_a_new_message_is_an_event() -> None:
    far = house()
    far.logs(10, 501, 1_700_000_000)
    with serve_tcp(far) as service, polling(service.url) as seen:
        wait_until(lambda: seen.online() == ALL and not far.flags & 1, "a look at the log")
        far.logs(19, 101, 1_700_000_060)
        wait_until(lambda: seen.events, "an event")
        assert [event.details["subject"] for _, event in seen.events] == ["xcom_xt_1"]


def _tcp(_folder: Path) -> tuple[str, _Serve]:
    port = free_port()
    return f"tcp://127.0.0.1:{port}", lambda far: serve_tcp(far, port=port)


def _pty(folder: Path) -> tuple[str, _Serve]:
    path = folder / "xcom"
    return f"serial://{path}", lambda far: serve_pty(far, baud=115200, link_path=path)


@pytest.mark.parametrize("place", [_tcp, _pty], ids=["tcp", "pty"])
def test_a_lost_link_is_in_use_again_within_5_s_and_repeats_nothing(
    place: Callable[[Path], tuple[str, _Serve]], tmp_path: Path
) -> None:
    far = house()
    url, serve = place(tmp_path)
    with polling(url) as seen:
        with serve(far):
            wait_until(lambda: seen.online() == ALL, "all devices")
        wait_until(lambda: not seen.online(), "no device")
        told = seen.counts()
        far.devices[101][3136] = 7.5
        with serve(far):
            wait_until(lambda: seen.online() == ALL, "all devices again", deadline_s=5.0)
            for name, samples in seen.samples.items():
                assert len(samples) > told[name]
            assert seen.samples["xcom_xt_1"][told["xcom_xt_1"]]["output_w"] == 7500.0


@pytest.mark.parametrize("many", [True, False], ids=["many at once", "one by one"])
def test_whatever_happens_on_the_line_no_value_is_ever_another(many: bool) -> None:  # noqa: FBT001
    numbers = [3000, 3005, 3011, 3021, 3136, 3137]
    far = Far({at: {n: float(at * 10_000 + n) for n in numbers} for at in (101, 102)})
    far.many = many
    faults = Faults(
        dict.fromkeys(("flip", "cut", "noise", "silence", "late", "echo", "echo_only"), 0.04)
    )
    settings = DeviceSettings("xcom", 0.1, "", {"timeout": 0.03})
    bridge, good = Studer(settings), 0
    with serve_tcp(far, faults=faults) as service, closing(open_link(service.url)) as link:
        for _ in range(100):
            try:
                values = bridge.poll(link, "fast").values
            except FrameError:
                continue
            for address, part in ((101, "xt_1"), (102, "xt_2")):
                for each in FAMILIES["xt"].of("fast"):
                    told = values.get(part, {}).get(each.name)
                    truth = (address * 10_000 + each.number) * each.factor
                    assert told in (None, truth), (part, each.name)
                    good += told is not None
    assert good > 100


def test_a_silent_gateway_has_nothing_to_tell() -> None:
    far = house()
    with serve_tcp(far) as service, polling(service.url) as seen:
        wait_until(lambda: seen.online() == ALL, "all devices")
        far.silent = True
        wait_until(lambda: not seen.online(), "no device")
        told = seen.counts()
        far.asked.clear()
        wait_until(lambda: far.asked, "one more try")
        assert seen.counts() == told
        far.silent = False
        wait_until(lambda: seen.online() == ALL, "all devices again")
