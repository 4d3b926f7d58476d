"""The simulated Voltronic inverter: its days, its models, its faults."""

import json
from pathlib import Path

import pytest

from bridges.voltronic.codec import Layout, decode, take_answer
from bridges.voltronic.frame import answer, request
from bridges.voltronic.simulator import SIMULATOR, VARIANTS, Simulator
from heliobus.errors import ConfigError
from heliobus.house import House
from heliobus.line import Counting, Faults, Simulated

MIDNIGHT = 1_790_000_000 - 1_790_000_000 % 86400 + 0.0
DAY_S = 86400.0
VECTORS = Path(__file__).parent.parent / "bridges" / "voltronic" / "vectors"
NAK = answer("NAK")
PI30 = [name for name, variant in VARIANTS.items() if not variant.pi18]


class Clock:
    """A clock that is set by hand."""

    def __init__(self, now_s: float = MIDNIGHT) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


def _ask(device: Simulator, command: str, layout: Layout = Layout.PI30) -> dict[str, object]:
    taken = take_answer(device.take(request(command)))
    assert taken is not None
    return dict(decode(command, taken[0], layout))


def test_it_is_what_the_kit_serves() -> None:
    device: Simulated = SIMULATOR()
    assert isinstance(device, Counting)


def test_an_unknown_variant_is_refused_with_those_that_exist() -> None:
    with pytest.raises(ConfigError, match="expected one of pi30, pi30max, pip_gk, revo, clone, p"):
        Simulator("pi31")


@pytest.mark.parametrize("variant", PI30)
def test_every_variant_has_the_layout_of_its_model(variant: str) -> None:
    device = Simulator(variant, house=House(Clock(MIDNIGHT + DAY_S / 2)))
    layout = Layout.REVO if variant == "revo" else Layout.PI30
    status, ratings = _ask(device, "QPIGS", layout), _ask(device, "QPIRI")
    is_large = variant in ("pi30max", "parallel")
    assert ("grid_feed_w" in status) == is_large
    assert ("yield_today_kwh" in status) == (variant == "revo")
    assert ("output_mode" in ratings) == (variant != "revo")
    assert ("discharge_limit_a" in ratings) == is_large
    assert ("qpiri_extra" in ratings) == (variant == "clone")
    warnings = str(_ask(device, "QPIWS")["warning_bits"])
    assert len(warnings) == (32 if variant in ("pi30", "revo") else 36)


def test_two_simulators_with_the_same_seed_say_the_same() -> None:
    clocks = Clock(MIDNIGHT + 40_000), Clock(MIDNIGHT + 40_000)
    one, two = (Simulator(house=House(clock, seed=5)) for clock in clocks)
    other = Simulator(house=House(clocks[0], seed=6))
    assert one.take(request("QPIGS")) == two.take(request("QPIGS"))
    assert one.take(request("QPIGS")) != other.take(request("QPIGS"))


def test_what_it_says_is_what_the_house_has() -> None:
    clock = Clock(MIDNIGHT + DAY_S)
    house = House(clock)
    device = Simulator(house=house)
    for hour in range(0, 24, 3):
        clock.now_s = MIDNIGHT + DAY_S + hour * 3600
        status, second = _ask(device, "QPIGS"), _ask(device, "QPIGS2")
        pv_w = status["pv_01_w"] + second["pv_02_w"]  # type: ignore[operator]
        with house:
            assert pv_w == pytest.approx(house.pv_w, abs=2)
            assert status["output_w"] == pytest.approx(house.load_w, abs=1)
            assert status["battery_v"] == pytest.approx(house.battery_v, abs=0.01)
            # In whole amperes.
            assert status["battery_a"] == pytest.approx(house.battery_a, abs=0.51)
            assert status["soc_percent"] == pytest.approx(100 * house.soc, abs=0.51)


def test_the_day_is_counted_as_it_was() -> None:
    clock = Clock(MIDNIGHT + DAY_S)
    house = House(clock)
    device = Simulator(house=house)
    summed_wh = 0.0
    for minute in range(1, 24 * 60):
        with house:
            summed_wh += house.pv_w / 60
        clock.now_s = MIDNIGHT + DAY_S + 60 * minute
    today_kwh = _ask(device, f"QED{house.time:%Y%m%d}")["yield_today_kwh"]
    assert today_kwh == pytest.approx(summed_wh / 1000, abs=0.01)
    assert 5.0 < today_kwh < 60.0  # type: ignore[operator]


def test_counters_only_rise_and_today_falls_to_zero_at_midnight() -> None:
    clock = Clock()
    device = Simulator(house=House(clock))
    totals, days = [], []
    for hour in range(60):
        clock.now_s = MIDNIGHT + hour * 3600
        date = str(_ask(device, "QT")["device_time"])[:10].replace("-", "")
        totals.append(_ask(device, "QET")["yield_kwh"])
        days.append(_ask(device, f"QED{date}")["yield_today_kwh"])
    assert totals == sorted(totals)  # type: ignore[type-var]
    assert days[0] == days[24] == days[48] == 0.0
    assert days[23] > 5.0  # type: ignore[operator]


def test_an_empty_battery_calls_the_mains() -> None:
    clock = Clock(MIDNIGHT + 1000.0)
    house = House(clock)
    device = Simulator(house=house)
    assert _ask(device, "QMOD")["mode"] == "battery"
    house.soc = 0.1
    clock.now_s += 200.0
    assert _ask(device, "QMOD")["mode"] == "line"
    assert _ask(device, "QPIGS")["grid_v"] == pytest.approx(230, abs=3)
    assert "grid_lost" not in _ask(device, "QPIWS")["notices"]  # type: ignore[operator]


def test_a_clock_that_jumps_years_ahead_is_followed_at_once() -> None:
    clock = Clock()
    device = Simulator(house=House(clock))
    clock.now_s += 20 * 365 * DAY_S
    assert str(_ask(device, "QT")["device_time"]) > "2040"
    clock.now_s -= 20 * 365 * DAY_S
    assert _ask(device, "QPIGS")


def test_what_it_does_not_understand_is_refused() -> None:
    device = Simulator("pi30")
    assert device.take(b"QPI\r") == NAK
    assert device.take(b"POP02\xe2\x0a\r") == NAK  # the checksum is not escaped
    assert device.take(request("QXYZ")) == NAK
    assert device.take(request("QPIGS2")) == NAK


def test_a_clone_echoes_or_ignores_what_it_does_not_know() -> None:
    device = Simulator("clone")
    assert device.take(request("QPIGS2")) == request("QPIGS2")
    assert device.take(request("QSID")) == b""
    assert device.take(request("QPI")).endswith(b"\r\n")


def test_requests_may_come_in_pieces_and_together() -> None:
    device = Simulator()
    assert [device.take(bytes([byte])) for byte in request("QPI")][:-1] == [b""] * 5
    assert device.take(request("QPI") * 2) == answer("PI30") * 2


def test_it_answers_again_after_any_noise() -> None:
    device = Simulator()
    for _ in range(100):
        assert device.take(b"x" * 1000) == b""
    assert device.take(request("QPI")) == NAK
    assert device.take(request("QPI")) == answer("PI30")


def test_refusals_and_warnings_come_on_demand() -> None:
    device = Simulator("pi30", house=House(Clock(MIDNIGHT + DAY_S / 2)))
    device.warning_bits |= {1, 9}
    assert _ask(device, "QPIWS")["faults"] == ["inverter_fault", "over_temperature"]
    device.refused.add("QMOD")
    assert device.take(request("QMOD")) == NAK
    device.refused.clear()
    assert _ask(device, "QMOD")["mode"] == "battery"


def test_refusals_can_strike_at_random() -> None:
    device = Simulator(faults=Faults({"nak": 1.0}))
    assert device.take(request("QPIGS")) == NAK


def test_it_counts_what_was_asked_and_what_went_out_whole() -> None:
    device = Simulator()
    for command, whole in (("QPIGS", True), ("QPIGS", False), ("QMOD", True), ("QXYZ", True)):
        sent = device.take(request(command))
        device.sent(sent, whole=whole)
    assert device.answered_polls == 1
    assert device.asked == {"QPIGS": 2, "QMOD": 1, "QXYZ": 1}


@pytest.mark.parametrize(
    "vector",
    [
        pytest.param(vector, id=vector["name"])
        for vector in json.loads((VECTORS / "simulated.json").read_text())
    ],
)
def test_it_says_what_it_said_before(vector: dict[str, str]) -> None:
    _, variant, command = vector["name"].split("/")
    device = Simulator(variant, house=House(Clock(MIDNIGHT + 41_000)))
    assert device.take(request(command)).hex().startswith(vector["response_hex"])
