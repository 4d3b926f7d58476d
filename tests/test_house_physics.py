"""The simulated house: what its members see adds up at any moment, whoever looks when."""

import math
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heliobus.counters import Counters
from heliobus.house import DAY_S, Array, Bank, House, Inverter

MIDNIGHT_S: Final = datetime(2026, 6, 15, tzinfo=UTC).timestamp()  # a Monday
HOUR_S: Final = 3600.0
NOON_S: Final = MIDNIGHT_S + 12 * HOUR_S


class Clock:
    """A clock that is set by hand."""

    def __init__(self, now_s: float = NOON_S) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


class Home:
    """A house with a few members, and a counter."""

    def __init__(
        self,
        *,
        chargers: int = 0,
        hybrids: int = 0,
        inverters: int = 0,
        solar: int = 0,
        banks: int = 0,
        now_s: float = NOON_S,
        seed: int = 1,
    ) -> None:
        self.clock = Clock(now_s)
        self.house = house = House(self.clock, seed=seed)
        self.chargers = [house.array(f"charger {at}", 3200.0) for at in range(chargers)]
        self.solar = [house.array(f"solar {at}", 5000.0, coupled=True) for at in range(solar)]
        self.inverters = [house.inverter(f"hybrid {at}", pv_w=4000.0) for at in range(hybrids)]
        self.inverters += [
            house.inverter(f"inverter {at}", couples=True) for at in range(inverters)
        ]
        self.banks = [house.bank(f"bank {at}") for at in range(banks)]
        self.counters = house.count(self.rates)

    def rates(self) -> dict[str, float]:
        house = self.house
        return {"pv": house.pv_w, "load": house.load_w, "grid": max(0.0, house.grid_w)}

    def at(self, now_s: float) -> House:
        """Look at it once."""
        self.clock.now_s = now_s
        with self.house:
            return self.house

    @property
    def arrays(self) -> list[Array]:
        own = [inverter.array for inverter in self.inverters if inverter.array]
        return [*self.chargers, *self.solar, *own]


WHOLE: Final = {"chargers": 2, "hybrids": 1, "inverters": 1, "solar": 1, "banks": 3}

# Each example lives for days.
FEW: Final = settings(max_examples=25)
homes = st.builds(
    Home,
    chargers=st.integers(0, 3),
    hybrids=st.integers(0, 2),
    inverters=st.integers(0, 2),
    solar=st.integers(0, 2),
    banks=st.integers(0, 3),
    seed=st.integers(0, 999),
)
moments = st.lists(st.floats(0.0, 3 * DAY_S), min_size=1, max_size=4).map(sorted)


# ---------------------------------------------------------------------- powers


@FEW
@given(home=homes, moments=moments)
def test_what_comes_in_goes_out_at_any_moment(home: Home, moments: list[float]) -> None:
    for after_s in moments:
        house = home.at(NOON_S + after_s)
        assert house.pv_w + house.grid_w == pytest.approx(house.load_w + house.battery_w, abs=1e-6)
        assert 0.05 <= house.soc <= 1.0
        assert house.load_w > 0
        assert house.pv_w >= 0


@FEW
@given(home=homes, moments=moments)
def test_the_members_add_up_to_the_house(home: Home, moments: list[float]) -> None:
    for after_s in moments:
        house = home.at(NOON_S + after_s)
        if home.arrays:
            assert sum(array.w for array in home.arrays) == pytest.approx(house.pv_w, abs=1e-6)
        if home.banks:
            assert sum(bank.w for bank in home.banks) == pytest.approx(house.battery_w, abs=1e-6)
        for array in home.arrays:
            assert 0 <= array.w <= array.possible_w + 1e-9 <= array.peak_w + 1e-9
        for each in home.inverters:
            assert each.pv_w + each.grid_w == pytest.approx(
                each.output_w + each.battery_w, abs=1e-6
            )


@FEW
@given(moments=moments)
def test_the_inverters_carry_the_loads_and_share_the_battery_with_the_chargers(
    moments: list[float],
) -> None:
    home = Home(chargers=2, hybrids=1, inverters=2, solar=2, banks=1)
    for after_s in moments:
        house = home.at(NOON_S + after_s)
        inverters, solar_w = home.inverters, sum(array.w for array in home.solar)
        assert sum(each.output_w for each in inverters) + solar_w == pytest.approx(house.load_w)
        assert sum(each.grid_w for each in inverters) == pytest.approx(house.grid_w)
        assert sum(each.battery_w for each in inverters) + sum(
            array.w for array in home.chargers
        ) == pytest.approx(house.battery_w, abs=1e-6)


@pytest.mark.parametrize("members", [WHOLE, {"chargers": 1}, {"solar": 1}], ids=str)
def test_there_is_no_sun_at_night(members: dict[str, int]) -> None:
    home = Home(**members)
    for hour in (0.0, 3.0, 5.9, 19.1, 23.0):
        house = home.at(MIDNIGHT_S + DAY_S + hour * HOUR_S)
        assert (house.night, house.pv_w) == (True, 0.0)
    assert home.at(MIDNIGHT_S + DAY_S + 36 * HOUR_S).pv_w > 500


def test_panels_give_nothing_while_their_converters_sleep() -> None:
    home = Home(**WHOLE)
    seen = set()
    for minute in range(60):
        house = home.at(MIDNIGHT_S + DAY_S + 18 * HOUR_S + 60.0 * minute)
        seen.add(house.night)
        assert all((array.w > 0) is not house.night for array in home.arrays)
    assert seen == {False, True}


def test_an_empty_battery_calls_the_mains_which_carries_the_loads_and_charges() -> None:
    home = Home(**WHOLE, now_s=MIDNIGHT_S + 23 * HOUR_S)
    home.at(MIDNIGHT_S + 23 * HOUR_S).soc = 0.151
    seen: list[bool] = []
    for minute in range(0, 24 * 60, 5):
        house = home.at(MIDNIGHT_S + 23 * HOUR_S + minute * 60)
        seen += [house.on_mains] if seen[-1:] != [house.on_mains] else []
        if house.on_mains:
            assert house.battery_w > 0
            assert house.grid_w > house.load_w
            assert 225 < house.mains_v < 235
            assert 49.9 < house.mains_hz < 50.1
            assert all(each.grid_w > each.load_w for each in home.inverters)
        else:
            assert (house.grid_w, house.mains_v, house.mains_hz) == (0.0, 0.0, 0.0)
    assert seen == [False, True, False]


def test_a_house_in_which_nothing_stores_gives_its_surplus_to_the_mains() -> None:
    home = Home(solar=1)
    noon, night = [home.at(at_s).grid_w for at_s in (NOON_S, NOON_S + 12 * HOUR_S)]
    assert noon < -500 < 0 < night
    assert home.house.battery_w == 0


def test_a_full_battery_throttles_all_panels_alike() -> None:
    home = Home(**WHOLE)
    home.at(NOON_S).soc = 1.0
    house = home.at(NOON_S + 1)
    assert house.pv_w == pytest.approx(house.load_w)
    shares = {round(array.w / array.possible_w, 6) for array in home.arrays}
    assert len(shares) == 1
    assert shares.pop() < 1


def test_a_limited_converter_takes_no_more_and_the_rest_still_adds_up() -> None:
    home = Home(solar=2)
    home.solar[0].most_w = 200.0
    house = home.at(NOON_S)
    assert home.solar[0].w == 200.0 < home.solar[1].w
    assert house.pv_w == home.solar[0].w + home.solar[1].w
    assert house.grid_w == house.load_w - house.pv_w


@pytest.mark.parametrize("soc", [0.05, 0.2, 0.5, 0.9, 1.0])
def test_the_battery_has_the_voltage_of_its_charge(soc: float) -> None:
    home = Home(**WHOLE)
    home.at(NOON_S).soc = soc
    house = home.at(NOON_S + 1)
    assert 47 < house.battery_v < 58
    assert house.battery_v * house.battery_a == pytest.approx(house.battery_w)


def test_what_nobody_shows_is_there_all_the_same() -> None:
    house = House(Clock())
    with house:
        assert house.pv_w > 500
        assert house.grid_w == house.load_w - house.pv_w
    lone = House(Clock())
    bank = lone.bank("bms")
    with lone:
        assert bank.w == lone.battery_w == lone.pv_w - lone.load_w
        assert bank.capacity_wh == 15_600.0


def test_another_seed_is_another_day() -> None:
    one, same, other = (Home(**WHOLE, seed=seed).at(NOON_S) for seed in (3, 3, 4))
    assert (one.load_w, one.sun, one.soc) == (same.load_w, same.sun, same.soc)
    assert one.load_w != other.load_w


# ---------------------------------------------------------------------- time


def seen_by(home: Home) -> tuple[float, ...]:
    house, counters = home.house, home.counters
    spans = (counters.total, counters.month, counters.today, counters.yesterday)
    powers = (house.soc, house.pv_w, house.grid_w, house.battery_w)
    return (*powers, *(span[name] for span in spans for name in ("pv", "load", "grid")))


@FEW
@given(looks=st.lists(st.floats(0.0, DAY_S), max_size=40).map(sorted))
def test_it_does_not_matter_who_looks_when_and_how_often(looks: list[float]) -> None:
    often, seldom = (Home(**WHOLE, now_s=NOON_S + 17) for _ in range(2))
    for after_s in looks:
        often.at(NOON_S + 17 + after_s)
    for home in (often, seldom):
        home.at(NOON_S + 17 + DAY_S)
    assert seen_by(often) == pytest.approx(seen_by(seldom), rel=1e-9, abs=1e-6)


def test_watchers_are_told_of_full_minutes_and_of_midnight() -> None:
    clock = Clock(MIDNIGHT_S + 23.99 * HOUR_S)
    house = House(clock)
    with house:
        pass
    told: list[tuple[float, bool]] = []
    young = House(clock)
    young.watch(lambda is_new: told.append((young.now_s - MIDNIGHT_S - DAY_S, is_new)))
    with young:
        told.clear()
    for clock.now_s in (MIDNIGHT_S + DAY_S - 1, MIDNIGHT_S + DAY_S + 61.5):
        with young:
            pass
    assert told == [(0.0, True), (60.0, False)]


def test_counters_are_the_sums_of_the_powers_and_never_fall() -> None:
    home = Home(**WHOLE, now_s=MIDNIGHT_S)
    home.at(MIDNIGHT_S)
    sums, begin = dict.fromkeys(home.rates(), 0.0), dict(home.counters.total)
    before = dict(begin)
    for minute in range(2 * 24 * 60):
        for name, rate in home.rates().items():
            sums[name] += rate / 60.0
        home.at(MIDNIGHT_S + (minute + 1) * 60.0)
        assert all(home.counters.total[name] >= before[name] for name in before)
        before = dict(home.counters.total)
    for name, begun in begin.items():
        assert home.counters.total[name] - begun == pytest.approx(sums[name])
    assert sums["pv"] > 10_000


def test_midnight_puts_today_away_as_yesterday() -> None:
    home = Home(**WHOLE)
    home.at(MIDNIGHT_S + DAY_S - 1)
    today = dict(home.counters.today)
    assert today["pv"] > 5000
    home.at(MIDNIGHT_S + DAY_S + 1)
    assert home.counters.yesterday["pv"] == pytest.approx(today["pv"], rel=1e-6)
    assert home.counters.today["pv"] == 0
    assert 0 < home.counters.today["load"] < 2


@pytest.mark.parametrize(
    ("day", "begins"),
    [
        (datetime(2026, 6, 16, tzinfo=UTC), "today"),
        (datetime(2026, 6, 22, tzinfo=UTC), "today week"),
        (datetime(2026, 7, 1, tzinfo=UTC), "today month"),
        (datetime(2027, 1, 1, tzinfo=UTC), "today month year"),
        (datetime(2029, 1, 1, tzinfo=UTC), "today week month year"),
    ],
    ids=lambda value: f"{value:%Y-%m-%d}" if isinstance(value, datetime) else value,
)
def test_spans_begin_anew_when_their_time_has_come(day: datetime, begins: str) -> None:
    at_s = day.timestamp()
    home = Home(chargers=1, now_s=at_s - 60)
    home.at(at_s - 1)
    spans = ("today", "week", "month", "year")
    assert all(getattr(home.counters, span)["load"] > 100 for span in spans)
    total = home.counters.total["load"]
    home.at(at_s + 1)
    assert [span for span in spans if getattr(home.counters, span)["load"] < 10] == begins.split()
    assert home.counters.total["load"] > total


def test_earlier_days_have_been_like_yesterday() -> None:
    home = Home(**WHOLE)
    home.at(NOON_S)
    counters = home.counters
    usual = counters.yesterday["pv"]
    assert usual > 5000
    today = counters.today["pv"]
    assert counters.month["pv"] == pytest.approx(14 * usual + today)
    assert counters.week["pv"] == pytest.approx(today)
    assert counters.year["pv"] == pytest.approx(165 * usual + today)
    assert counters.total["pv"] == pytest.approx(896 * usual + today)


def test_a_clock_that_was_set_back_takes_nothing_away() -> None:
    home = Home(**WHOLE)
    home.at(NOON_S)
    before = dict(home.counters.total)
    house = home.at(NOON_S - 10 * HOUR_S)
    assert house.now_s == NOON_S - 10 * HOUR_S
    assert house.night
    assert home.counters.total == before
    home.at(NOON_S - 9 * HOUR_S)
    assert home.counters.total["load"] > before["load"]


def test_a_clock_that_jumped_years_has_a_new_day_and_does_not_live_all_of_it() -> None:
    home = Home(**WHOLE)
    home.at(NOON_S)
    total = home.counters.total["load"]
    house = home.at(NOON_S + 2000 * DAY_S)
    assert house.now_s == NOON_S + 2000 * DAY_S
    assert 0 < home.counters.total["load"] - total < 100_000
    for span in (home.counters.year, home.counters.month, home.counters.today):
        assert span["load"] == pytest.approx(home.counters.total["load"] - total, rel=1e-3)


def test_the_clock_may_begin_in_1970() -> None:
    home = Home(**WHOLE, now_s=5.0)
    house = home.at(7.0)
    assert house.night
    assert math.isfinite(house.battery_w)
    assert home.counters.total["pv"] >= 0


# ---------------------------------------------------------------------- who may join and look


JOINING: Final[dict[str, Callable[[House], Array | Inverter | Bank | Counters | None]]] = {
    "array": lambda house: house.array("late", 100.0),
    "inverter": lambda house: house.inverter("late"),
    "bank": lambda house: house.bank("late"),
    "count": lambda house: house.count(dict),
    "watch": lambda house: house.watch(lambda _: None),
}


@pytest.mark.parametrize("how", JOINING)
def test_who_comes_too_late_is_refused(how: str) -> None:
    house = House(Clock())
    with house:
        pass
    with pytest.raises(RuntimeError, match="joins too late: the house has been looked at"):
        JOINING[how](house)


def test_no_two_have_one_name() -> None:
    house = House(Clock())
    house.array("roof", 100.0)
    with pytest.raises(ValueError, match="'roof' is in the house already"):
        house.inverter("roof", pv_w=100.0)
    house.bank("roof")


def test_nothing_moves_while_somebody_looks() -> None:
    home = Home(**WHOLE)
    with home.house as house:
        before = house.now_s, house.pv_w, house.load_w
        home.clock.now_s += HOUR_S
        with house:
            assert (house.now_s, house.pv_w, house.load_w) == before
    with house:
        assert house.now_s == before[0] + HOUR_S


def test_who_fails_while_looking_leaves_the_house_to_others() -> None:
    broken = threading.Event()
    house = House(lambda: 1 / 0 if broken.is_set() else NOON_S)
    with house:
        pass
    broken.set()
    with pytest.raises(ZeroDivisionError), house:
        pass
    broken.clear()
    other = threading.Thread(target=house.__enter__, daemon=True)
    other.start()
    other.join(10)
    assert not other.is_alive()


def test_threads_that_look_at_once_each_see_one_moment() -> None:
    home = Home(**WHOLE)
    lock, wrong = threading.Lock(), []

    def look() -> None:
        for _ in range(200):
            with lock:
                home.clock.now_s += 7.0
            with home.house as house:
                told = (house.now_s, home.chargers[0].w, home.banks[0].w, home.counters.total["pv"])
                balance = house.pv_w + house.grid_w - house.load_w - house.battery_w
                again = (
                    house.now_s,
                    home.chargers[0].w,
                    home.banks[0].w,
                    home.counters.total["pv"],
                )
                wrong.extend([balance] if abs(balance) > 1e-6 or told != again else [])

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    quiet = Home(**WHOLE)
    for each in (home, quiet):
        each.at(NOON_S + 3 * HOUR_S)
    assert seen_by(home) == pytest.approx(seen_by(quiet), rel=1e-9, abs=1e-6)
