"""What is measured in a moment: the command's start, and the decoding of one answer."""

import subprocess
import sys
import time
import timeit
from pathlib import Path

from bench.stage import environment
from bridges.voltronic.codec import decode, request, take_answer
from heliobus import components

_STARTS = 5
_DECODED = 5000


def command(_folder: Path) -> dict[str, float]:
    """Start `heliobus --help` and a bare Python by turns; the quickest of each counts."""
    pairs = [(_run_s("-m", "heliobus", "--help"), _run_s("-c", "pass")) for _ in range(_STARTS)]
    helps, passes = zip(*pairs, strict=True)
    return {"help": min(helps) / min(passes)}


def _run_s(*arguments: str) -> float:
    command = [sys.executable, *arguments]
    began_s = time.perf_counter()
    subprocess.run(command, check=True, env=environment(), stdout=subprocess.DEVNULL)
    return time.perf_counter() - began_s


def decoding(_folder: Path) -> dict[str, float]:
    """Turn the bytes of an answer with 24 fields into values, CRC and all."""
    answer: bytes = components.simulator("voltronic")().take(request("QPIGS"))

    def once() -> None:
        taken = take_answer(answer)
        if taken is None:
            raise RuntimeError("the answer is not whole")
        decode("QPIGS", taken[0])

    return {"qpigs": timeit.timeit(once, number=_DECODED) / _DECODED * 1e6}
