"""`make bench` runs the benches; here: nothing is measured without a limit."""

from collections import Counter
from pathlib import Path

import pytest

from bench import wires
from bench.__main__ import BENCHES, ONCE, limits, main
from bench.noise import CODECS, measure


def test_each_figure_has_one_limit_and_each_limit_one_figure() -> None:
    figures = Counter(name for names in BENCHES.values() for name in names)
    assert figures == Counter(list(limits()))


def test_a_figure_that_is_not_known_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["qpigs", "speed"]) == 2
    assert "'speed' is not known; there are pss_alone" in capsys.readouterr().err


def test_what_is_measured_once_is_measured() -> None:
    assert set(BENCHES) >= ONCE


@pytest.mark.parametrize("name", CODECS)
def test_a_codec_gives_values_of_a_noisy_line(name: str) -> None:
    figures = measure(name, 2000)
    assert list(figures) == [f"{name}_growth", f"{name}_answer"]
    assert figures[f"{name}_answer"] > 0


def test_a_poll_of_daly_gives_all_and_is_never_faster_than_its_bytes(tmp_path: Path) -> None:
    figures = wires.of_daly(tmp_path / "stage", polls=1)
    assert list(figures) == ["daly", "daly_poll"]
    assert figures["daly"] > 1


def test_a_poll_of_aurora_gives_all_and_is_never_faster_than_its_bytes(tmp_path: Path) -> None:
    figures = wires.of_aurora(tmp_path / "stage", polls=1, settles=False)
    assert list(figures) == ["aurora", "aurora_poll"]
    assert figures["aurora"] > 1
