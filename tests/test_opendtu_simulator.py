"""The simulated OpenDTU: what it says, what it obeys, and its life at a real broker."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridges.mqtt.simulated_inverter import MODELS
from bridges.mqtt.simulator import SIMULATOR, VARIANTS, Simulator, simulate
from heliobus import components
from heliobus.errors import ConfigError
from heliobus.house import House
from heliobus.line import Faults
from heliobus.settings import BridgeSettings, BrokerSettings, BrokerStart, DeviceSettings
from heliobus.speaking import Speaker, Speaking
from tests.helpers import ROOT, BrokerProcess, require_program, wait_until
from tests.listening import Listening

MIDNIGHT_S = 1_795_219_200.0
DAY_S = 86400.0
ROOF, SHED = "114172608275", "116172608276"


class Clock:
    """A clock that is set by hand."""

    def __init__(self, now_s: float = MIDNIGHT_S + DAY_S / 2) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


class Dtu(Simulator):
    """A simulated OpenDTU with the clock that it has, and what the broker would retain of it."""

    def __init__(self, variant: str = "day", **how: object) -> None:
        self.clock = Clock()
        super().__init__(variant, clock=self.clock, **how)  # type: ignore[arg-type]
        self.retained: dict[str, str] = {}
        self.hear()

    def hear(self, after_s: float = 0.0) -> dict[str, str]:
        """Let time pass; give what was said last on each topic meanwhile."""
        said: dict[str, str] = {}
        step_s = 5.0 if after_s <= 600 else 60.0
        end_s = self.clock.now_s + after_s
        while True:
            for one in self.due():
                said[one.topic.removeprefix("solar/")] = one.payload.decode()
            if self.clock.now_s >= end_s:
                break
            self.clock.now_s = min(end_s, self.clock.now_s + step_s)
        self.retained.update(said)
        return said

    def told(self, command: str, payload: bytes, *, retained: bool = False) -> None:
        self.take(f"solar/{ROOF}/cmd/{command}", payload, retained=retained)


def test_it_is_what_the_kit_serves() -> None:
    assert isinstance(SIMULATOR(), Speaking)


def test_an_unknown_variant_is_refused_with_those_that_exist() -> None:
    with pytest.raises(ConfigError, match="expected one of day, night, clock, boot, no_time"):
        Simulator("noon")


def test_it_says_in_the_order_of_opendtu_and_retained() -> None:
    dtu = Simulator("ethernet", clock=Clock())
    said = dtu.due()
    assert {one.retain for one in said} == {True}
    serial = f"solar/{dtu.inverters[0].serial}"
    assert [one.topic for one in said] == [
        *(f"solar/dtu/{leaf}" for leaf in ("uptime", "ip", "hostname")),
        *(f"solar/dtu/heap/{leaf}" for leaf in ("size", "free", "minfree", "maxalloc")),
        "solar/dtu/temperature",
        f"{serial}/name",
        *(f"{serial}/radio/{leaf}" for leaf in ("tx_request", "tx_re_request", "rx_success")),
        *(f"{serial}/radio/rx_fail_{leaf}" for leaf in ("nothing", "partial", "corrupt")),
        f"{serial}/radio/rssi",
        *(f"{serial}/device/{leaf}" for leaf in ("bootloaderversion", "fwbuildversion")),
        *(f"{serial}/device/{leaf}" for leaf in ("fwbuilddatetime", "hwpartnumber", "hwversion")),
        *(f"{serial}/status/limit_{leaf}" for leaf in ("relative", "absolute")),
        *(f"{serial}/status/{leaf}" for leaf in ("reachable", "producing", "last_update")),
        *(f"{serial}/0/{leaf}" for leaf in ("voltage", "current", "power", "frequency")),
        *(f"{serial}/0/{leaf}" for leaf in ("powerfactor", "reactivepower")),
        *(f"{serial}/1/{leaf}" for leaf in ("name", "voltage", "current", "power")),
        *(f"{serial}/1/{leaf}" for leaf in ("yieldday", "yieldtotal", "irradiation")),
        *(f"{serial}/0/{leaf}" for leaf in ("powerdc", "yieldday", "yieldtotal")),
        *(f"{serial}/0/{leaf}" for leaf in ("temperature", "efficiency")),
        *(f"solar/ac/{leaf}" for leaf in ("power", "yieldtotal", "yieldday", "is_valid")),
        *(f"solar/dc/{leaf}" for leaf in ("power", "irradiation", "is_valid")),
    ]


def test_it_writes_numbers_with_the_decimals_of_opendtu() -> None:
    said = Dtu().hear(10)
    decimals = {
        topic.rpartition("/")[2]: len(payload.partition(".")[2])
        for topic, payload in said.items()
        if topic.startswith((f"{SHED}/0", f"{SHED}/4", f"{SHED}/status"))
    }
    words = {
        0: "yieldday name last_update reachable producing",
        1: "voltage power powerdc temperature reactivepower",
        2: "current frequency limit_relative limit_absolute",
        3: "powerfactor efficiency irradiation yieldtotal",
    }
    assert decimals == {leaf: count for count, leaves in words.items() for leaf in leaves.split()}


def test_it_speaks_every_five_seconds_and_of_an_inverter_when_that_has_answered() -> None:
    dtu = Dtu()
    dtu.clock.now_s += 4.0
    assert dtu.due() == []
    dtu.clock.now_s += 1.0
    first, second = dtu.hear(), dtu.hear(5)
    assert (f"{ROOF}/0/power" in first, f"{SHED}/0/power" in first) == (True, False)
    assert f"{SHED}/status/reachable" in first
    assert f"{SHED}/0/power" in second


def test_totals_are_the_sums_of_the_inverters() -> None:
    said = Dtu().hear(10)
    yields = [float(said[f"{serial}/0/yieldtotal"]) for serial in (ROOF, SHED)]
    assert float(said["ac/yieldtotal"]) == pytest.approx(sum(yields))
    assert int(said["ac/yieldday"]) == sum(int(said[f"{s}/0/yieldday"]) for s in (ROOF, SHED))
    assert said["ac/is_valid"] == said["dc/is_valid"] == "1"


def test_an_inverter_gives_at_most_what_it_is_rated_for() -> None:
    dtu = Dtu()
    for _ in range(100):
        assert float(dtu.hear(60)[f"{ROOF}/0/power"]) <= 800.1


def test_counters_rise_through_the_day_and_that_of_today_begins_anew_at_dawn() -> None:
    dtu, totals, days = Dtu(), [], []
    for _ in range(30):
        said = dtu.hear(3600)
        totals.append(float(dtu.retained[f"{ROOF}/0/yieldtotal"]))
        days.append((dtu.inverters[0].answer() is not None, said[f"{ROOF}/status/reachable"]))
    today = int(dtu.retained[f"{ROOF}/0/yieldday"])
    assert totals == sorted(totals)
    assert (True, "1") in days
    assert (False, "0") in days
    assert 2000 < today < 8000  # of one day, not of two
    assert totals[-1] > totals[0] + today / 1000


def test_at_night_the_last_values_stay_and_are_not_said_again() -> None:
    dtu = Dtu("night")
    assert dtu.retained[f"{ROOF}/status/reachable"] == dtu.retained["ac/is_valid"] == "0"
    assert int(dtu.retained[f"{ROOF}/0/yieldday"]) > 2000
    assert int(dtu.retained[f"{ROOF}/status/last_update"]) < dtu.clock.now_s - 3600
    assert f"{ROOF}/0/yieldday" not in dtu.hear(60)


def test_after_its_start_there_are_zeros_that_count_as_valid() -> None:
    dtu = Dtu("boot")
    told = {leaf: dtu.retained[leaf] for leaf in ("dtu/uptime", "ac/yieldtotal", "ac/is_valid")}
    assert told == {"dtu/uptime": "0", "ac/yieldtotal": "0.000", "ac/is_valid": "1"}
    status = {k: v for k, v in dtu.retained.items() if k.startswith(f"{ROOF}/status")}
    assert status == {
        f"{ROOF}/status/reachable": "1",
        f"{ROOF}/status/producing": "0",
        f"{ROOF}/status/last_update": "0",
    }
    said = dtu.hear(5)
    assert said[f"{ROOF}/status/last_update"] == f"{dtu.clock.now_s:.0f}"
    first_kwh = float(said["ac/yieldtotal"])  # of the first inverter only
    assert 0 < 2 * first_kwh < float(dtu.hear(5)["ac/yieldtotal"])


def test_without_a_time_server_no_inverter_is_ever_asked() -> None:
    dtu = Dtu("no_time")
    said = dtu.hear(600)
    assert said["dtu/uptime"] == "600"
    assert said[f"{ROOF}/status/last_update"] == said[f"{ROOF}/radio/tx_request"] == "0"
    assert said[f"{ROOF}/status/reachable"] == "1"
    assert f"{ROOF}/0/power" not in said


def test_an_inverter_that_vanishes_is_reachable_until_it_has_missed_three_polls() -> None:
    dtu = Dtu()
    dtu.inverters[0].present = False
    reachable = [dtu.hear(10)[f"{ROOF}/status/reachable"] for _ in range(4)]
    assert reachable == ["1", "1", "0", "0"]
    assert dtu.retained["ac/is_valid"] == "0"
    assert dtu.retained[f"{ROOF}/status/producing"] == "1"  # as of its last answer
    dtu.inverters[0].present = True
    assert dtu.hear(10)[f"{ROOF}/status/reachable"] == "1"


@pytest.mark.parametrize(("glitch", "expected"), [("spike", 2113405.0), ("drop", 0.0)])
def test_a_counter_is_wrong_for_one_answer(glitch: str, expected: float) -> None:
    dtu = Dtu()
    before = float(dtu.retained[f"{ROOF}/1/yieldtotal"])
    dtu.inverters[0].glitch = glitch
    assert float(dtu.hear(5)[f"{ROOF}/1/yieldtotal"]) == expected
    assert float(dtu.hear(10)[f"{ROOF}/1/yieldtotal"]) == pytest.approx(before, abs=0.01)


def test_the_variant_trouble_brings_what_owners_report() -> None:
    dtu = Dtu("trouble")
    said = [dtu.hear(5) for _ in range(60)]
    reachable = {one[f"{SHED}/status/reachable"] for one in said}
    totals = {float(one.get(f"{ROOF}/1/yieldtotal", 1)) for one in said}
    assert reachable == {"0", "1"}
    assert {0.0, 2113405.0} < totals


@pytest.mark.parametrize(
    ("kind", "counter"),
    [
        ("silence", "rx_fail_nothing"),
        ("cut", "rx_fail_partial"),
        ("flip", "rx_fail_corrupt"),
        ("noise", "rx_fail_corrupt"),
    ],
)
def test_faults_strike_the_radio(kind: str, counter: str) -> None:
    dtu = Dtu(faults=Faults({kind: 1.0}))
    before = int(dtu.retained[f"{ROOF}/radio/{counter}"])
    said = dtu.hear(60)
    assert int(said[f"{ROOF}/radio/{counter}"]) == before + 6
    assert said[f"{ROOF}/status/reachable"] == "0"


@pytest.mark.parametrize(
    ("command", "payload", "percent"),
    [
        ("limit_nonpersistent_relative", b"42.5", "42.50"),
        ("limit_persistent_relative", b" 42.57 %", "42.50"),
        ("limit_nonpersistent_absolute", b"200", "25.00"),
        ("limit_persistent_absolute", b"2e2", "25.00"),
        ("limit_persistent_relative", b"200", "100.00"),
        ("limit_persistent_relative", b"half", "100.00"),
        ("limit_persistent_relative", b"-5", "100.00"),
    ],
)
def test_it_obeys_limits(command: str, payload: bytes, percent: str) -> None:
    dtu = Dtu()
    dtu.told(command, payload)
    said = dtu.hear(5)
    assert said[f"{ROOF}/status/limit_relative"] == percent
    watts = float(percent) * 8
    assert said[f"{ROOF}/status/limit_absolute"] == f"{watts:.2f}"
    assert float(said[f"{ROOF}/0/power"]) <= watts + 0.2


def test_a_limit_that_is_not_persistent_is_gone_after_the_night() -> None:
    dtu = Dtu()
    dtu.told("limit_persistent_relative", b"80")
    dtu.told("limit_nonpersistent_relative", b"30")
    assert dtu.hear(10)[f"{ROOF}/status/limit_relative"] == "30.00"
    assert dtu.hear(DAY_S)[f"{ROOF}/status/limit_relative"] == "80.00"


def test_it_can_be_switched_off_and_on() -> None:
    dtu = Dtu()
    dtu.told("power", b"0")
    said = dtu.hear(10)
    assert (said[f"{ROOF}/0/power"], said[f"{ROOF}/status/producing"]) == ("0.0", "0")
    dtu.told("power", b"1")
    assert dtu.hear(10)[f"{ROOF}/status/producing"] == "1"


def test_a_restart_begins_the_counter_of_today_anew() -> None:
    dtu = Dtu()
    dtu.told("restart", b"2")
    assert int(dtu.hear(10)[f"{ROOF}/0/yieldday"]) > 1000
    dtu.told("restart", b"1")
    assert int(dtu.hear(10)[f"{ROOF}/0/yieldday"]) < 10


def test_retained_commands_are_passed_over_except_the_dangerous_ones() -> None:
    dtu = Dtu()
    for command in ("limit_nonpersistent_relative", "restart", "reset_rf_stats"):
        dtu.told(command, b"1", retained=True)
    assert not dtu.obeyed
    for command in ("limit_persistent_relative", "limit_persistent_absolute", "power"):
        dtu.told(command, b"0", retained=True)
    assert dtu.obeyed.total() == 3


def test_a_command_that_nobody_hears_or_wants_changes_nothing() -> None:
    dtu = Dtu(faults=Faults({"nak": 1.0}))
    dtu.told("power", b"0")
    asleep = Dtu("night")
    asleep.told("power", b"0")
    asleep.take("solar/116100000000/cmd/power", b"0", retained=False)
    assert not dtu.obeyed
    assert not asleep.obeyed


def test_its_own_discovery_names_topics_that_it_publishes() -> None:
    dtu = Dtu("discovery")
    assert dtu.hear(10).keys() - {"dtu/status"}
    dtu.connected()
    dtu.clock.now_s += 60.0
    said = {topic: body for topic, body in dtu.hear().items() if topic.startswith("homeassistant/")}
    bodies = [json.loads(body) for body in said.values() if body]
    named = {body[key] for body in bodies for key in ("stat_t", "avty_t") if key in body}
    published = {f"solar/{topic}" for topic in dtu.retained} | {"solar/dtu/status"}
    assert named <= published
    assert len({body["uniq_id"] for body in bodies}) == len(bodies) == 13 + 2 * 28
    assert said[f"homeassistant/sensor/dtu_{ROOF}/ch1_Power/config"] == ""  # an option of its own


def test_its_own_discovery_is_not_said_more_often_than_once_a_minute() -> None:
    dtu = Dtu("discovery")
    dtu.connected()
    dtu.hear()
    dtu.connected()
    assert not [topic for topic in dtu.hear(55) if topic.startswith("homeassistant/")]
    assert [topic for topic in dtu.hear(5) if topic.startswith("homeassistant/")]


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_lives_through_a_day_and_a_jump_of_the_clock(variant: str) -> None:
    dtu = Dtu(variant)
    dtu.hear(3600)
    dtu.clock.now_s += 400 * DAY_S
    assert dtu.hear(10)
    dtu.clock.now_s -= 800 * DAY_S
    assert dtu.hear(10)


def test_what_its_inverters_give_is_what_they_feed_into_the_house() -> None:
    clock = Clock()
    house = House(clock)
    dtu = Simulator("clock", house=house, clock=clock)
    others = house.array("aurora", 5000.0, coupled=True)
    for hour in range(24):
        clock.now_s = MIDNIGHT_S + hour * 3600.0
        with house:
            answers = [each.answer() for each in dtu.inverters]
            given_w = sum(answer.w for answer in answers if answer)
            assert given_w + others.w == pytest.approx(house.pv_w, abs=6.5)  # while they sleep
            assert house.night <= (answers == [None, None])


def test_a_limit_of_an_inverter_is_one_of_the_house() -> None:
    clock = Clock()
    house = House(clock)
    dtu = Simulator("clock", house=house, clock=clock)
    dtu.due()
    for serial, command in ((ROOF, b"10"), (SHED, b"0")):
        dtu.take(f"solar/{serial}/cmd/limit_nonpersistent_relative", command, retained=False)
    clock.now_s += 1.0
    with house:
        assert house.pv_w == pytest.approx(80.0)


def test_in_a_house_that_lives_faster_energies_rise_no_faster_than_their_power() -> None:
    clock = Clock()
    house = House(lambda: MIDNIGHT_S + 9 * 3600.0 + 120.0 * (clock.now_s - MIDNIGHT_S - DAY_S / 2))
    dtu = Simulator("quick", house=house, clock=clock)
    kwh, today, watts = ([0.0] * 0 for _ in range(3))
    for _ in range(100):
        for one in dtu.due():
            for leaf, seen in (("0/yieldtotal", kwh), ("0/yieldday", today), ("0/power", watts)):
                if one.topic == f"solar/{ROOF}/{leaf}":
                    seen.append(float(one.payload))
        clock.now_s += 2.0
    assert 0 < kwh[-1] - kwh[0] <= max(watts) / 1000 * 200 / 3600 + 0.001
    assert kwh == sorted(kwh)
    assert 0 < today[-1] - today[0] <= max(watts) * 200 / 3600 + 2
    assert today[0] > 100


def test_what_is_put_in_the_place_of_one_follows_from_what_its_owner_says() -> None:
    known = components.find(components.Kind.BRIDGE, "mqtt")
    assert known is not None
    names = known.config["component"]["properties"]["simulate"]["enum"]
    assert [*names] == [name for name in VARIANTS if name not in ("day", "night")]
    devices = (DeviceSettings("barn", 0, "", {"id": SHED}),)
    for variant in names:
        options = {"map": "opendtu", "simulate": variant}
        bridge = BridgeSettings("dtu", "mqtt", devices, options=options)
        made = simulate(bridge, house=House(Clock()))
        assert made.variant is VARIANTS[variant]
        assert [each.serial for each in made.inverters] == [SHED]
    wrong = BridgeSettings("dtu", "mqtt", (), options={"map": "shelly_gen2"})
    with pytest.raises(ConfigError, match="the map 'shelly_gen2' has no simulator; opendtu has"):
        simulate(wrong, house=House(Clock()))


def test_two_opendtus_may_be_in_one_house() -> None:
    house = House(Clock())
    one, other = (Simulator(house=house, name=name) for name in ("one", "other"))
    assert one.inverters[0].serial == other.inverters[0].serial
    assert one.due()
    assert other.due()


def test_who_joins_the_house_later_than_an_opendtu_is_not_too_late() -> None:
    house = House(Clock())
    dtu = Simulator(house=house)
    dtu.connected()
    house.array("aurora", 5000.0)
    assert dtu.due()


def test_a_quick_one_asks_every_second_and_speaks_every_other() -> None:
    dtu = Dtu("quick")
    assert dtu.due() == []
    dtu.clock.now_s += 2.0
    said = {one.topic for one in dtu.due()}
    assert {f"solar/{ROOF}/0/power", f"solar/{SHED}/0/power"} <= said


def test_fifty_inverters_have_serial_numbers_of_their_own() -> None:
    many = Simulator(models=[MODELS["hm800"]] * 50, clock=Clock())
    assert len({inverter.serial for inverter in many.inverters}) == 50


# ---------------------------------------------------------------- at a broker


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[BrokerProcess]:
    require_program("mosquitto", package="mosquitto")
    process = BrokerProcess(BrokerStart.MOSQUITTO, tmp_path / "broker")
    process.start()
    yield process
    process.stop()


def test_at_a_broker_it_is_online_until_it_leaves(broker: BrokerProcess) -> None:
    with Listening(broker.port, "solar/#") as ear:
        with Speaker(Simulator(), BrokerSettings(port=broker.port)) as speaker:
            wait_until(lambda: "solar/dc/is_valid" in ear.newest, "a whole round")
            assert ear.newest["solar/dtu/status"] == b"online"
        assert speaker.published > 100
        wait_until(lambda: ear.newest["solar/dtu/status"] == b"offline", "the last words")
    with Listening(broker.port, "solar/#") as later:
        wait_until(lambda: later.newest.get(f"solar/{ROOF}/name") == b"Roof 1", "what is retained")
        assert later.newest["solar/dtu/status"] == b"offline"


def test_at_a_broker_it_hears_commands(broker: BrokerProcess) -> None:
    dtu = Simulator()
    with Listening(broker.port, "solar/#") as ear, Speaker(dtu, BrokerSettings(port=broker.port)):
        wait_until(lambda: "solar/dc/is_valid" in ear.newest, "a whole round")
        ear.say(f"solar/{ROOF}/cmd/limit_nonpersistent_relative", b"42")
        wait_until(lambda: dtu.obeyed["limit_nonpersistent_relative"] == 1, "the command")


def test_a_dtu_without_power_leaves_its_will_and_comes_back_with_zeros(
    broker: BrokerProcess,
) -> None:
    dtu = Simulator()
    with (
        Listening(broker.port, "solar/#") as ear,
        Speaker(dtu, BrokerSettings(port=broker.port)) as speaker,
    ):
        wait_until(lambda: "solar/dc/is_valid" in ear.newest, "a whole round")
        speaker.reboot()
        wait_until(lambda: ear.newest["solar/dtu/status"] == b"offline", "its will")
        wait_until(lambda: ear.newest["solar/ac/yieldtotal"] == b"0.000", "zeros")
        assert ear.newest["solar/dtu/status"] == b"online"
        assert speaker.connections == 2


# ---------------------------------------------------------------- the command `sim`


def sim(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "heliobus", "sim", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    "words", [["--pty"], ["--tcp", "127.0.0.1:0"], ["--baud", "9600"], ["--link", "port"]]
)
def test_sim_refuses_the_options_of_a_line(words: list[str]) -> None:
    found = sim("mqtt", *words, "--broker", "mqtt://127.0.0.1")
    assert (found.returncode, found.stdout) == (78, "")
    assert found.stderr == f"{words[0]}: mqtt speaks to a broker; use --broker\n"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ["mqtt"],
            "mqtt speaks to a broker; name it, as in --broker mqtt://127.0.0.1:1883",
        ),
        (
            ["mqtt", "--broker", "127.0.0.1"],
            "--broker: found '127.0.0.1', expected mqtt://[user@]host[:port]",
        ),
        (
            ["mqtt", "--broker", "mqtts://127.0.0.1"],
            "--broker: a simulated device speaks without TLS; write mqtt://",
        ),
        (
            ["voltronic", "--broker", "mqtt://127.0.0.1"],
            "--broker: voltronic is on a line; use --pty, --tcp or --dial",
        ),
        (
            ["mqtt", "--variant", "noon", "--broker", "mqtt://127.0.0.1"],
            "variant: found 'noon', expected one of day, night, clock, boot, no_time, trouble,"
            " ethernet, discovery, quick, full",
        ),
    ],
)
def test_sim_says_what_is_missing_or_wrong(words: list[str], told: str) -> None:
    found = sim(*words)
    assert (found.returncode, found.stdout, found.stderr) == (78, "", f"{told}\n")


def test_sim_ends_where_its_password_cannot_be_read(tmp_path: Path) -> None:
    missing = tmp_path / "none"
    found = sim("mqtt", "--broker", "mqtt://opendtu@127.0.0.1", "--password-file", str(missing))
    told = f"cannot read {missing}: No such file or directory\n"
    assert (found.returncode, found.stdout, found.stderr) == (78, "", told)


def test_sim_says_nothing_of_speaking_while_no_broker_is_there(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "heliobus", "sim", "mqtt", "--broker", "mqtt://127.0.0.1:1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        assert process.stderr is not None
        assert b"127.0.0.1:1: Connection refused. Trying again" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=30)[0]
    finally:
        process.kill()
        process.wait()
    assert said == b"published=0\n"


def test_sim_speaks_to_a_broker_until_it_is_stopped(broker: BrokerProcess, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "heliobus", "sim", "mqtt", "--broker", broker.url],
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        with Listening(broker.port, "solar/#") as ear:
            wait_until(lambda: "solar/dc/is_valid" in ear.newest, "a whole round", 20)
            process.send_signal(signal.SIGINT)
            said = process.communicate(timeout=30)[0]
    finally:
        process.kill()
        process.wait()
    assert said == (
        f"mqtt: an OpenDTU with 2 inverters speaks below solar/ on {broker.url} (Ctrl-C ends it)\n"
        "What it says stays on the broker afterwards, as from a real one.\n"
        "published=119\n"
    )
