"""`make bench` runs the benches; here: nothing is measured without a limit."""

from collections import Counter

import pytest

from bench.__main__ import BENCHES, limits, main


def test_each_figure_has_one_limit_and_each_limit_one_figure() -> None:
    figures = Counter(name for names in BENCHES.values() for name in names)
    assert figures == Counter(list(limits()))


def test_a_figure_that_is_not_known_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["qpigs", "speed"]) == 2
    assert "'speed' is not known; there are pss_alone" in capsys.readouterr().err
