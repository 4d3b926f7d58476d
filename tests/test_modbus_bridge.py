"""The bridge to register devices, against a device that speaks RTU bytes over TCP."""

import io
import logging
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bridges.modbus import BRIDGE, Modbus
from bridges.modbus.profiles import names
from heliobus import check
from heliobus.bridge import Identity, check_links
from heliobus.errors import ConfigError, FrameError
from heliobus.link import Silence
from heliobus.master import Master
from heliobus.modbus import Refused, crc
from heliobus.polled import Polled
from heliobus.settings import DeviceSettings
from heliobus.simulation import serve_tcp

METER = """\
maker: Acme
models: [M1, M2]
kind: meter
role: grid
source: [its document]
verified: document
serial: [9600 8N1]
max_registers: 40
probe: {name: voltage_v, min: 80, max: 300}
registers:
  - {name: voltage_v, at: 0, divide: 10}
  - {name: current_a, at: 1, type: i16, divide: 100}
  - {name: power_w, at: 2, type: i32}
  - {name: frequency_hz, at: 4, divide: 100}
  - {name: power_factor, at: 8, divide: 1000, absent: [65535]}
  - {name: import_kwh, at: 20, type: u32, divide: 100, group: slow}
identity:
  serial: {at: 60, type: text, count: 4}
  firmware: {at: 64, divide: 100}
"""
HELD = {0: 2301, 1: 0xFFF6, 2: 0xFFFF, 3: 0xFF06, 4: 4998, 8: 987, 20: 1, 21: 34464}
HELD |= {60: 0x5351, 61: 0x3132, 62: 0x3334, 63: 0, 64: 120}
FAST = {
    "voltage_v": 230.1,
    "current_a": -0.1,
    "power_w": -250,
    "frequency_hz": 49.98,
    "power_factor": 0.987,
}


class Device:
    """A device at unit 1 whose holding registers are given; all others hold 0."""

    def __init__(self, held: Mapping[int, int]) -> None:
        self.held = dict(held)
        self.asked: list[tuple[int, int]] = []  # start and count
        self.lacking: set[int] = set()
        self.code = 2  # with which it refuses
        self.most = 125
        self.too_many = 3  # with which it refuses more
        self.silent_after: int | None = None  # so many requests
        self.objects: Mapping[int, str] | None = None
        self.identified = 0
        self._got = b""

    def take(self, data: bytes) -> bytes:
        """Answer whole requests."""
        self._got += data
        pdu = self._got[1:-2]
        if len(self._got) < (7 if pdu[:1] == b"\x2b" else 8):
            return b""
        unit, self._got = self._got[:1], b""
        if self.silent_after == 0:
            self.asked.append((0, 0))
            return b""
        answer = self._answer(pdu) if unit == b"\x01" else b""
        return unit + answer + crc(unit + answer) if answer else b""

    def _answer(self, pdu: bytes) -> bytes:
        if pdu[0] == 8:
            return pdu
        if pdu[0] == 0x2B:
            self.identified += 1
            return self._objects()
        start, count = int.from_bytes(pdu[1:3]), int.from_bytes(pdu[3:5])
        self.asked.append((start, count))
        if self.silent_after is not None and len(self.asked) > self.silent_after:
            return b""
        if count > self.most:
            return bytes([pdu[0] | 0x80, self.too_many])
        if self.lacking & set(range(start, start + count)):
            return bytes([pdu[0] | 0x80, self.code])
        words = [self.held.get(at, 0) for at in range(start, start + count)]
        return bytes([pdu[0], 2 * count]) + b"".join(word.to_bytes(2) for word in words)

    def _objects(self) -> bytes:
        if self.objects is None:
            return b"\xab\x01"
        body = b"".join(bytes([n, len(t)]) + t.encode() for n, t in self.objects.items())
        return bytes([0x2B, 0x0E, 1, 1, 0, 0, len(self.objects)]) + body

    def turn(self) -> list[tuple[int, int]]:
        """Give what was asked since the last call."""
        asked, self.asked = self.asked, []
        return asked


class Bench:
    """One device, and the bridge to it."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.device = Device(HELD)
        self._folder = folder
        self._stack = stack
        service = stack.enter_context(serve_tcp(self.device))
        self.url = service.url.replace("tcp://", "socket://")

    def profile(self, name: str, text: str) -> str:
        """Write a profile; give its path."""
        (self._folder / f"{name}.yaml").write_text(text)
        return f"./{name}.yaml"

    def bridge(self, text: str = METER, /, **options: Any) -> tuple[Modbus, Master]:
        """Give the bridge of a profile, and its open link."""
        bridge = BRIDGE(self.settings(text, timeout=0.3, **options))
        link = BRIDGE.open_link(self.url, [bridge])
        self._stack.callback(link.close)
        return bridge, link

    def settings(self, text: str = METER, /, **options: Any) -> DeviceSettings:
        """Give the settings of a device of that profile."""
        options = {"profile": self.profile("acme", text), **options}
        return DeviceSettings("grid", 2.0, self.url, options, self._folder)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with ExitStack() as stack:
        yield Bench(tmp_path, stack)


# ---------------------------------------------------------------------- values


def test_the_values_of_a_beat_come_of_one_request(bench: Bench) -> None:
    bridge, link = bench.bridge()
    assert bridge.poll(link, "fast") == FAST
    assert bench.device.asked == [(0, 9)]


def test_slow_values_have_a_turn_of_their_own(bench: Bench) -> None:
    bridge, link = bench.bridge()
    assert bridge.poll(link, "slow") == {"import_kwh": 1000.0}
    assert bench.device.asked == [(20, 2)]


def test_groups_are_the_beat_then_slow_ones_then_what_is_asked_once(bench: Bench) -> None:
    bridge, _ = bench.bridge()
    assert [(one.name, one.every_s) for one in bridge.groups] == [
        ("fast", 2.0),
        ("slow", 60.0),
        ("once", math.inf),
    ]
    slower, _ = bench.bridge(slow="5m")
    assert slower.groups[1].every_s == 300.0
    plain, _ = bench.bridge(METER.replace("group: slow", "group: fast").partition("identity")[0])
    assert [one.name for one in plain.groups] == ["fast"]


def test_what_is_slow_is_asked_with_the_beat_where_that_is_no_quicker(bench: Bench) -> None:
    bridge, link = bench.bridge(slow="2s")
    assert [one.name for one in bridge.groups] == ["fast", "once"]
    assert bridge.poll(link, "fast") == {**FAST, "import_kwh": 1000.0}
    assert bench.device.asked == [(0, 22)]


def test_the_time_of_a_group_is_that_of_its_bytes_and_pauses(bench: Bench) -> None:
    line = DeviceSettings("grid", 2.0, "serial:///dev/ttyS0", bench.settings().options)
    settings = DeviceSettings(**{**_fields(line), "folder": bench.settings().folder})
    # Request 8 bytes, answer 5 and 9 registers, 11 bits each; the device takes about 60 ms.
    assert BRIDGE(settings).groups[0].wire_s == pytest.approx(0.06 + 31 * 11 / 9600)
    fast = DeviceSettings(**{**_fields(settings), "link": "serial:///dev/ttyS0?baud=19200"})
    assert BRIDGE(fast).groups[0].wire_s == pytest.approx(0.06 + 31 * 11 / 19200)


def _fields(settings: DeviceSettings) -> dict[str, Any]:
    return {name: getattr(settings, name) for name in DeviceSettings.__slots__}


def test_what_a_device_marks_as_absent_is_left_out(bench: Bench) -> None:
    bench.device.held[8] = 0xFFFF
    bridge, link = bench.bridge()
    assert "power_factor" not in bridge.poll(link, "fast")


def test_a_beat_without_any_value_is_told(bench: Bench) -> None:
    lone = METER.partition("probe")[0] + "registers: [{name: power_w, at: 8, absent: [65535]}]\n"
    bench.device.held[8] = 0xFFFF
    bridge, link = bench.bridge(lone)
    with pytest.raises(FrameError, match="it answers, but every value says 'not there'"):
        bridge.poll(link, "fast")


def test_scales_are_read_in_the_turn_of_what_they_scale(bench: Bench) -> None:
    scaled = METER.partition("probe")[0] + (
        "scales: {far: {at: 200, divide: 10}}\n"
        "registers:\n"
        "  - {name: power_w, at: 0, scale: [far]}\n"
        "  - {name: import_kwh, at: 20, scale: [far], group: slow}\n"
    )
    bench.device.held |= {0: 30, 200: 15, 20: 4}
    bridge, link = bench.bridge(scaled)
    assert bridge.poll(link, "fast") == {"power_w": 45.0}
    assert bench.device.turn() == [(200, 1), (0, 1)]
    assert bridge.poll(link, "slow") == {"import_kwh": 6.0}
    assert bench.device.turn() == [(200, 1), (20, 1)]


def test_inverted_fields_have_the_other_sign_and_nothing_else_changes(bench: Bench) -> None:
    bridge, link = bench.bridge(invert=["power_w"])
    assert bridge.poll(link, "fast") == {**FAST, "power_w": 250}


def test_nothing_turned_round_is_still_nothing(bench: Bench) -> None:
    bench.device.held[1] = 0
    bridge, link = bench.bridge(invert=["current_a"])
    assert str(bridge.poll(link, "fast")["current_a"]) == "0.0"


def test_limits_turn_with_the_sign(bench: Bench) -> None:
    export_only = METER.replace("type: i32}", "type: i32, min: -500, max: 0}")
    bridge, link = bench.bridge(export_only, invert=["power_w"])
    assert bridge.poll(link, "fast")["power_w"] == 250


def test_the_word_order_of_all_rows_can_be_switched(bench: Bench) -> None:
    bench.device.held |= {2: 0xFF06, 3: 0xFFFF}
    bridge, link = bench.bridge(words="little")
    assert bridge.poll(link, "fast") == FAST


def test_the_owner_says_how_much_is_asked_at_once(bench: Bench) -> None:
    bridge, link = bench.bridge(max_registers=4)
    assert bridge.poll(link, "fast") == FAST
    assert bench.device.asked == [(0, 4), (4, 1), (8, 1)]


# ---------------------------------------------------------------------- identity


def test_a_device_is_what_its_profile_says_and_what_it_tells(bench: Bench) -> None:
    bridge, link = bench.bridge()
    assert bridge.identity == Identity("Acme", "M1")
    assert bridge.poll(link, "once") == {}
    assert bridge.identity == Identity("Acme", "M1", "SQ1234", "1.2")
    bridge.forget()
    assert bridge.identity == Identity("Acme", "M1")


def test_the_role_is_the_owners_else_the_profiles(bench: Bench) -> None:
    for options, role in (({}, "grid"), ({"role": "pv"}, "pv")):
        settings = bench.settings(**options)
        assert Polled(settings, BRIDGE(settings)).itself.about.role == role


# ---------------------------------------------------------------------- another device


def test_an_implausible_value_is_another_device(bench: Bench) -> None:
    bench.device.held[0] = 12
    bridge, link = bench.bridge()
    expected = (
        "by acme its voltage_v is 1.2, expected at least 80 and at most 300;"
        " is that its profile, and 1 its unit id?"
    )
    for _ in range(2):
        with pytest.raises(FrameError) as told:
            bridge.poll(link, "fast")
        assert str(told.value) == expected


def test_another_word_order_is_guessed(bench: Bench) -> None:
    long = METER.replace("voltage_v, at: 0,", "voltage_v, at: 10, type: u32,")
    bench.device.held |= {10: 2301, 11: 0}
    bridge, link = bench.bridge(long)
    with pytest.raises(FrameError, match=r"with 'words: little' it would be 230\.1"):
        bridge.poll(link, "fast")
    bench.device.held |= {10: 0, 11: 2301}
    bridge, link = bench.bridge(long, words="little")
    with pytest.raises(FrameError, match=r"with 'words: big' it would be 230\.1"):
        bridge.poll(link, "fast")


ONLY_POWER = "extends: eastron_sdm72\nmodels: [M1]\n"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((0, 327), "is 4.58225e-43, which is no measurement; is that its profile, and"),
        ((230, 500), "is 2.11229e-38, which is no measurement; is that its profile, and"),
        ((0, 0x43FA), "with 'words: little' it would be 500: is it set to that order?"),
    ],
    ids=["long", "two", "swapped"],
)
def test_a_device_known_by_its_power_alone_is_doubted_where_nobody_could_measure_it(
    bench: Bench, words: tuple[int, int], told: str
) -> None:
    bench.device.held |= dict(zip((0x34, 0x35), words, strict=True))
    bridge, link = bench.bridge(ONLY_POWER)
    with pytest.raises(FrameError) as caught:
        bridge.poll(link, "fast")
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("words", "power_w"), [((0, 0), 0.0), ((0x3C23, 0xD70A), 0.01), ((0xC37A, 0x4000), -250.25)]
)
def test_a_small_power_and_none_are_no_reason_for_doubt(
    bench: Bench, words: tuple[int, int], power_w: float
) -> None:
    bench.device.held |= dict(zip((0x34, 0x35), words, strict=True))
    bridge, link = bench.bridge(ONLY_POWER)
    assert bridge.poll(link, "fast") == {"power_w": power_w}


def test_what_was_plausible_once_is_not_doubted_later(bench: Bench) -> None:
    bridge, link = bench.bridge()
    bridge.poll(link, "fast")
    bench.device.held[0] = 12  # a power cut
    assert bridge.poll(link, "fast")["voltage_v"] == 1.2
    bridge.forget()
    with pytest.raises(FrameError, match="expected at least 80"):
        bridge.poll(link, "fast")


def test_a_probe_of_another_group_is_asked_at_first_only(bench: Bench) -> None:
    bench.device.held |= {20: 0, 21: 20000}
    bridge, link = bench.bridge(
        METER.replace("probe: {name: voltage_v", "probe: {name: import_kwh")
    )
    bridge.poll(link, "fast")
    bridge.poll(link, "fast")
    assert bench.device.asked == [(0, 22), (0, 9)]


# ---------------------------------------------------------------------- variants

OTHER = METER.replace("at: 0,", "at: 30,").replace("at: 2,", "at: 32,")
WITH_VARIANT = METER.replace("probe:", "variants: [./other.yaml]\nprobe:")
NAMED = OTHER.replace("probe:", "identified: 600V\nprobe:")
TRISTAR = "models: [M1]\nvariants: [morningstar_tristar_mppt_600v]\n"


def variants(bench: Bench, other: str = OTHER) -> tuple[Modbus, Master]:
    bench.profile("other", other)
    return bench.bridge(WITH_VARIANT)


def test_the_variant_that_fits_is_taken_and_told_once(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    bench.device.held |= {0: 5, 30: 2302, 32: 0, 33: 70}
    bridge, link = variants(bench)
    for _ in range(2):
        values = bridge.poll(link, "fast")
        assert (values["voltage_v"], values["power_w"]) == (230.2, 70)
    told = [record.message for record in caplog.records if record.name.startswith("bridges")]
    assert told == ["grid: read as other"]


def test_the_variant_that_names_itself_is_taken_whatever_fits(bench: Bench) -> None:
    bench.device.held |= {30: 2302}
    bench.device.objects = {0: "Acme Corp.", 1: "M1-600V", 2: "v2"}
    bridge, link = variants(bench, NAMED)
    assert bridge.poll(link, "fast")["voltage_v"] == 230.2
    assert bridge.identity == Identity("Acme Corp.", "M1-600V", "", "v2")


def test_the_variant_that_names_itself_is_not_taken_where_its_probe_says_otherwise(
    bench: Bench,
) -> None:
    bench.device.objects = {0: "Acme Corp.", 1: "M1-600V", 2: "v2"}
    bridge, link = variants(bench, NAMED)
    assert bridge.poll(link, "fast")["voltage_v"] == 230.1
    bridge.forget()
    bench.device.held[0] = 5
    with pytest.raises(FrameError, match=r"by acme its voltage_v is 0\.5, .*; by other .* is 0, "):
        bridge.poll(link, "fast")


def test_a_tristar_of_600_v_with_old_firmware_is_read_as_the_others(bench: Bench) -> None:
    bench.device.held = {0: 180, 2: 80, 24: 9830, 27: 32767, 50: 5}  # 54 V, 180 V: no half floats
    bench.device.objects = {0: "Morningstar Corp.", 1: "TS-MPPT-60-600V-48", 2: "v01.01.18"}
    bridge, link = bench.bridge("extends: morningstar_tristar_mppt\n" + TRISTAR)
    values = bridge.poll(link, "fast")
    assert values["battery_v"] == pytest.approx(53.998, abs=0.001)
    assert values["pv_v"] == pytest.approx(179.995, abs=0.001)
    bench.device.held |= {0: 0, 2: 0, 24: 0x5280, 27: 0x5DA0}  # half floats
    bridge.forget()
    values = bridge.poll(link, "fast")
    assert (values["battery_v"], values["pv_v"]) == (52.0, 360.0)


def test_a_device_that_names_no_variant_is_known_by_its_probe(bench: Bench) -> None:
    bench.device.objects = {0: "Acme Corp.", 1: "M1"}
    bridge, link = variants(bench, NAMED)
    assert bridge.poll(link, "fast")["voltage_v"] == 230.1
    assert bench.device.identified == 1


def test_where_no_variant_fits_each_is_told(bench: Bench) -> None:
    bench.device.held |= {0: 5, 30: 6}
    bridge, link = variants(bench)
    with pytest.raises(FrameError) as told:
        bridge.poll(link, "fast")
    assert str(told.value) == (
        "by acme its voltage_v is 0.5, expected at least 80 and at most 300;"
        " by other its voltage_v is 0.6, expected at least 80 and at most 300"
    )


def test_a_silent_device_with_variants_costs_one_timeout(bench: Bench) -> None:
    bench.device.silent_after = 0
    bridge, link = variants(bench)
    with pytest.raises(Silence):
        bridge.poll(link, "fast")
    assert (len(bench.device.asked), bench.device.identified) == (1, 0)


def test_a_silent_device_that_only_its_name_could_tell_is_silent(bench: Bench) -> None:
    bench.device.silent_after = 0
    named = METER.replace("probe: {name: voltage_v, min: 80, max: 300}", "identified: M1")
    bench.profile("other", named)
    bridge, link = bench.bridge(named.replace("identified", "variants: [./other.yaml]\nidentified"))
    with pytest.raises(Silence):
        bridge.poll(link, "fast")
    assert len(bench.device.asked) == 1


def test_what_was_decided_is_forgotten_with_the_link(bench: Bench) -> None:
    bench.device.held |= {30: 2302}
    bridge, link = variants(bench)
    assert bridge.poll(link, "fast")["voltage_v"] == 230.1
    bridge.forget()
    bench.device.held[0] = 5
    assert bridge.poll(link, "fast")["voltage_v"] == 230.2


# ---------------------------------------------------------------------- what a device lacks


@pytest.mark.parametrize("code", [2, 3])
def test_a_studer_that_refuses_several_values_at_once_still_gives_them_all(
    bench: Bench, code: int
) -> None:
    volts = {2 * at: 0x41C8 for at in range(200)}  # 25, whatever it is
    bench.device.held, bench.device.most, bench.device.too_many = volts, 2, code
    bridge, link = bench.bridge(
        "extends: studer_xt\nmodels: [M1]\nunit_id: 1\n", max_registers=60, pause=0
    )
    values: Mapping[str, Any] = {}
    for _ in range(4):
        with suppress(FrameError):
            values = bridge.poll(link, "fast")
    assert {row.name for row in bridge.profile.rows if row.group.value == "fast"} <= set(values)
    bench.device.turn()
    bridge.poll(link, "fast")
    assert {count for _, count in bench.device.turn()} == {2}


def settled(bench: Bench, bridge: Modbus, link: Master, *, turns: int) -> list[tuple[int, int]]:
    """Poll some turns; give the requests of one more."""
    for _ in range(turns):
        bridge.poll(link, "fast")
    bench.device.turn()
    bridge.poll(link, "fast")
    return bench.device.turn()


def test_a_row_that_a_device_lacks_costs_itself_alone(bench: Bench) -> None:
    bench.device.lacking = {4}
    bridge, link = bench.bridge()
    expected = {name: value for name, value in FAST.items() if name != "frequency_hz"}
    assert [bridge.poll(link, "fast") for _ in range(4)] == [expected] * 4


def test_a_row_that_was_refused_twice_is_not_asked_again(bench: Bench) -> None:
    bench.device.lacking = {4}
    bridge, link = bench.bridge()
    assert settled(bench, bridge, link, turns=3) == [(0, 4), (8, 1)]
    bridge.forget()
    assert settled(bench, bridge, link, turns=0)[0] == (0, 9)


def test_what_was_lacking_while_a_device_started_comes_back(bench: Bench) -> None:
    bench.device.lacking = {2, 4}
    bridge, link = bench.bridge()
    for _ in range(10):
        bridge.poll(link, "fast")
    bench.device.lacking = {2}
    for _ in range(60):
        values = bridge.poll(link, "fast")
    assert values == {name: value for name, value in FAST.items() if name != "power_w"}
    assert settled(bench, bridge, link, turns=2) == [(0, 2), (4, 5)]


def test_what_stays_lacking_costs_one_request_in_sixty_turns(bench: Bench) -> None:
    bench.device.lacking = {4}
    bridge, link = bench.bridge()
    assert settled(bench, bridge, link, turns=10) == [(0, 4), (8, 1)]
    for _ in range(120):
        bridge.poll(link, "fast")
    assert sorted(bench.device.turn()) == sorted([(0, 4), (8, 1)] * 120 + [(4, 1)] * 2)


def test_a_row_that_was_refused_once_is_asked_again(bench: Bench) -> None:
    bench.device.lacking = {4}
    bridge, link = bench.bridge()
    bridge.poll(link, "fast")
    bench.device.lacking = set()
    assert bridge.poll(link, "fast") == FAST


def test_what_was_given_once_is_never_taken_for_lacking(bench: Bench) -> None:
    bridge, link = bench.bridge()
    assert bridge.poll(link, "fast") == FAST
    bench.device.lacking = {4}  # it starts anew, say
    for _ in range(5):
        assert "frequency_hz" not in bridge.poll(link, "fast")
    assert len(settled(bench, bridge, link, turns=0)) <= 4
    bench.device.lacking = set()
    assert bridge.poll(link, "fast") == FAST
    assert settled(bench, bridge, link, turns=0) == [(0, 9)]


def test_a_gap_that_a_device_refuses_is_read_around(bench: Bench) -> None:
    bench.device.lacking = {6}  # no row names it
    bridge, link = bench.bridge()
    assert bridge.poll(link, "fast") == FAST
    assert settled(bench, bridge, link, turns=3) == [(0, 5), (8, 1)]


def test_a_gap_and_a_row_that_a_device_lacks_are_both_found_for_good(bench: Bench) -> None:
    bench.device.lacking = {1, 6}
    bridge, link = bench.bridge()
    for turns in (6, 0, 0):
        assert settled(bench, bridge, link, turns=turns) == [(0, 1), (2, 3), (8, 1)]


def test_a_device_that_gives_fewer_registers_is_asked_for_fewer(bench: Bench) -> None:
    bench.device.most = 5
    bridge, link = bench.bridge()
    assert bridge.poll(link, "fast") == FAST
    assert settled(bench, bridge, link, turns=3) == [(0, 4), (4, 5)]


MANY = """\
maker: Acme
models: [B1]
kind: battery
source: [its document]
verified: document
registers:
"""
MANY += "".join(f"  - {{name: cell_{n:02}_v, at: {n}, divide: 1000}}\n" for n in range(40))


@pytest.mark.parametrize(
    "lacking", [{0, 39}, {3, 17, 18, 30}, set(range(20)), set(range(0, 40, 3))]
)
def test_all_that_a_device_lacks_is_found_in_turns_of_few_requests(
    bench: Bench, lacking: set[int]
) -> None:
    bench.device.held = dict.fromkeys(range(40), 3300)
    bench.device.lacking = lacking
    bridge, link = bench.bridge(MANY)
    longest = 0
    for _ in range(14):
        with suppress(FrameError):  # at first nothing may be found at all
            bridge.poll(link, "fast")
        longest = max(longest, len(bench.device.turn()))
    assert set(bridge.poll(link, "fast")) == {f"cell_{n:02}_v" for n in set(range(40)) - lacking}
    starts = {n for n in range(40) if n not in lacking and n - 1 not in {*range(40)} - lacking}
    assert [start for start, _ in bench.device.turn()] == sorted(starts)
    assert longest <= 40  # as many as there are rows


@pytest.mark.parametrize(("code", "told"), [(1, "it does not know function 3"), (2, "none of its")])
def test_a_device_that_refuses_all_is_told(bench: Bench, code: int, told: str) -> None:
    bench.device.lacking, bench.device.code = set(range(125)), code
    bridge, link = bench.bridge()
    for _ in range(5):
        with pytest.raises(FrameError, match=f"{told}.* is acme its profile, and 1 its unit id"):
            bridge.poll(link, "fast")
        assert len(bench.device.turn()) <= 28
    bench.device.lacking = set()
    assert bridge.poll(link, "fast") == FAST
    assert settled(bench, bridge, link, turns=1) == [(0, 9)]


def test_a_device_that_refuses_many_rows_is_not_asked_for_each(bench: Bench) -> None:
    bench.device.lacking = set(range(125))
    bridge, link = bench.bridge(MANY)
    for _ in range(12):
        with pytest.raises(FrameError, match="none of its registers"):
            bridge.poll(link, "fast")
        assert len(bench.device.turn()) <= 28


@pytest.mark.parametrize("code", [4, 5, 6, 10, 11])
def test_other_exceptions_fail_the_turn_and_teach_nothing(bench: Bench, code: int) -> None:
    bench.device.lacking, bench.device.code = {4}, code
    bridge, link = bench.bridge()
    for _ in range(3):
        with pytest.raises(Refused, match=f"exception {code}"):
            bridge.poll(link, "fast")
    bench.device.lacking = set()
    assert bridge.poll(link, "fast") == FAST
    assert bench.device.turn()[-1] == (0, 9)


def test_a_silent_device_costs_one_timeout(bench: Bench) -> None:
    bench.device.silent_after = 0
    bridge, link = bench.bridge(max_registers=4)
    with pytest.raises(Silence, match=r"no answer in 0\.3 s"):
        bridge.poll(link, "fast")
    assert len(bench.device.asked) == 1


def test_a_device_that_has_never_answered_is_told_with_what_to_look_at(bench: Bench) -> None:
    bench.device.silent_after = 0
    bridge, link = bench.bridge(unit=5)
    with pytest.raises(Silence) as error:
        bridge.poll(link, "fast")
    assert str(error.value) == (
        "unit 5, 9 holding registers from 0x0000: no answer in 0.3 s;"
        " is its unit id 5? See 'No answer?' in bridges/modbus/README.md"
    )


def test_one_that_has_never_answered_on_a_line_is_told_with_its_settings(bench: Bench) -> None:
    bridge, link = bench.bridge()
    bench.device.silent_after = 0
    BRIDGE.open_link("serial:///dev/ttyS0?baud=19200", [bridge])  # opens nothing yet
    with pytest.raises(Silence, match=r"0\.3 s; is its unit id 1, and the line 19200 8N1\? See"):
        bridge.poll(link, "fast")


@pytest.mark.parametrize("first", ["a_poll", "a_request"])
def test_a_device_that_has_answered_once_is_not_asked_for_its_settings(
    bench: Bench, first: str
) -> None:
    bridge, link = bench.bridge(max_registers=4)
    bench.device.silent_after = 1
    if first == "a_poll":
        bench.device.silent_after = None
        bridge.poll(link, "fast")
        bridge.forget()
        bench.device.silent_after = 0
    with pytest.raises(Silence, match=r"no answer in 0\.3 s$"):
        bridge.poll(link, "fast")


def test_nothing_is_learned_in_a_turn_that_falls_silent(bench: Bench) -> None:
    bench.device.lacking = {4}
    bridge, link = bench.bridge(max_registers=4)
    for _ in range(3):
        bench.device.silent_after = len(bench.device.asked) + 2  # then register 8
        with pytest.raises(FrameError):
            bridge.poll(link, "fast")
    bench.device.lacking, bench.device.silent_after = set(), None
    assert bridge.poll(link, "fast") == FAST


def test_what_one_group_learned_counts_for_all(bench: Bench) -> None:
    bench.device.lacking = {64}
    bridge, link = bench.bridge()
    bridge.poll(link, "fast")
    for _ in range(2):
        bridge.poll(link, "once")
        bridge.poll(link, "fast")
    assert bridge.identity == Identity("Acme", "M1", "SQ1234", "")
    bench.device.turn()
    bridge.poll(link, "once")
    assert bench.device.turn() == [(60, 4)]


# ---------------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"profile": "eastron_sdm23"}, "profile: 'eastron_sdm23' is not known; did you mean"),
        (
            {"profile": "SDM230"},
            "profile: 'SDM230' is not known; did you mean 'eastron_sdm230'?",
        ),
        ({"profile": "sdm72"}, "profile: 'sdm72' is not known; did you mean 'eastron_sdm72'?"),
        ({"profile": "BSP"}, "profile: 'BSP' is not known; did you mean 'studer_bsp'?"),
        (
            {"invert": ["pwoer_w"]},
            "invert: 'pwoer_w' is not a number of acme; did you mean 'power_w'",
        ),
        (
            {"invert": ["power_w", "import_kwh"]},
            "invert: 'import_kwh' is never below 0; name powers and currents only",
        ),
        (
            {"invert": ["voltage_v"]},
            "invert: 'voltage_v' is never below 0; name powers and currents only",
        ),
        (
            {"profile": "anker_solix_plug", "role": "grid"},
            "role: only a meter has one, and anker_solix_plug is of kind relay",
        ),
        ({"max_registers": 1}, "max_registers: found 1, but power_w alone needs 2"),
    ],
)
def test_settings_that_cannot_work_are_told(
    bench: Bench, options: Mapping[str, Any], told: str
) -> None:
    with pytest.raises(ConfigError) as error:
        BRIDGE(bench.settings(**options))
    assert str(error.value).startswith(told)
    assert "\n" not in str(error.value)


def test_no_device_of_a_serial_line_is_unit_0(bench: Bench) -> None:
    assert BRIDGE(bench.settings(unit=0)).unit == 0  # a gateway may have it
    with pytest.raises(ConfigError) as error:
        BRIDGE(replace(bench.settings(unit=0), link="serial:///dev/ttyS0"))
    assert str(error.value) == (
        "unit: found 0, which calls all devices of a line, and none answers;"
        " write the one that is set on the device, from 1 to 247"
    )


@pytest.mark.parametrize(
    ("function", "at", "told"),
    [
        (3, 40019, "subtract 40001, so that 40019 is 18"),
        (4, 30019, "subtract 30001, so that 30019 is 18"),
        (4, 40019, ""),
        (3, 30019, ""),
        (3, 40000, ""),
        (4, 18, ""),
    ],
)
def test_registers_counted_as_in_manuals_are_doubted(
    bench: Bench, function: int, at: int, told: str
) -> None:
    head = METER.partition("\nregisters:")[0].replace("probe:", "# probe:")
    rows = f"\nregisters: [{{name: voltage_v, at: {at}, function: {function}}}]\n"
    found = "".join(BRIDGE(bench.settings(f"{head}{rows}")).warnings)
    assert found.endswith(told)
    assert bool(found) is bool(told)


def test_no_profile_that_comes_with_heliobus_is_doubted() -> None:
    for name in names():
        assert BRIDGE(DeviceSettings("a", 5.0, "", {"profile": name})).warnings == ()


def test_a_line_is_set_as_its_devices_are_from_the_factory(bench: Bench) -> None:
    slow = METER.replace("[9600 8N1]", "[2400 8N1, 9600 8N1]")
    even = METER.replace("[9600 8N1]", "[9600 8E1]")
    bridges: Callable[..., list[Modbus]] = lambda *texts: [  # noqa: E731  # a table of them
        BRIDGE(bench.settings(text)) for text in texts
    ]
    assert line("serial:///dev/ttyS0", bridges(slow)) == "2400 8N1"
    assert line("serial:///dev/ttyS0", bridges(slow, METER)) == "9600 8N1"
    assert line("serial:///dev/ttyS0?baud=19200", bridges(even)) == "19200 8E1"
    assert line("serial:///dev/ttyS0?parity=N", bridges(even, METER)) == "9600 8N1"
    assert line("tcp://192.0.2.1:502", bridges(even, METER)) == ""


def line(url: str, bridges: list[Modbus]) -> str:
    from bridges.modbus.serial_line import line_of

    said = line_of(url, [bridge.profile for bridge in bridges])
    return f"{said['baud']} {said['bytesize']}{said['parity']}{said['stopbits']}" if said else ""


def test_devices_that_differ_from_the_factory_are_told_for_their_line(bench: Bench) -> None:
    meter = BRIDGE(bench.settings())
    even = METER.replace("[9600 8N1]", "[9600 8E1]")
    other = BRIDGE(bench.settings(profile=bench.profile("even", even)))
    with pytest.raises(ConfigError) as error:
        check_links(BRIDGE, {"serial:///dev/ttyS0?baud=9600": [meter, other]})
    assert str(error.value) == (
        "link: found 'serial:///dev/ttyS0?baud=9600', but from the factory acme has 9600 8N1 and"
        " even 9600 8E1;"
        " set all devices of the line alike and write how,"
        " such as 'serial:///dev/ttyS0?baud=9600&bytesize=8&parity=N&stopbits=1'"
    )


def test_devices_of_one_link_need_units_of_their_own(bench: Bench) -> None:
    url = "tcp://192.0.2.1:502"
    grid = BRIDGE(bench.settings())
    pump = BRIDGE(replace(bench.settings(unit=1), name="pump"))
    with pytest.raises(ConfigError) as error:
        check_links(BRIDGE, {url: [grid, pump]})
    assert str(error.value) == (
        "unit: grid and pump are both unit 1 of 'tcp://192.0.2.1:502';"
        " write the 'unit' of each, as it is set on the device"
    )
    check_links(BRIDGE, {url: [grid], "tcp://192.0.2.2:502": [pump]})
    # Two views of one device, such as the two sets of clamps of a meter.
    check_links(BRIDGE, {url: [BRIDGE(bench.settings(unit=1)), pump]})


def test_the_check_tells_of_such_a_line_where_its_link_stands(bench: Bench, tmp_path: Path) -> None:
    even = bench.profile("even", METER.replace("[9600 8N1]", "[9600 8E1]"))
    bench.profile("acme", METER)
    file = tmp_path / "heliobus.yaml"
    file.write_text(f"""\
site: farm
bridges:
  meters:
    type: modbus
    link: serial:///dev/ttyS0
    devices:
      grid: {{profile: ./acme.yaml, every: 2s}}
      pump: {{profile: {even}, every: 2s}}
""")
    with pytest.raises(ConfigError) as error:
        check.run(file, io.StringIO())
    told = f"{file}:5: bridges.meters.link: found 'serial:///dev/ttyS0', but from the factory acme"
    assert str(error.value).startswith(told)
