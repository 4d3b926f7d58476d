"""The sun, the clouds and the habits of a simulated house: functions of the time and the seed."""

import math
from hashlib import blake2b

_DAY_S = 86400.0
_HOUR_S = 3600.0
_CLOUD_S = 420.0
_LOAD_S = 90.0
# All devices are under the same clouds.
_CLOUDS_SEED = 0


def chance(what: str) -> float:
    """Give a number from 0 to 1 that depends on nothing but the text."""
    return int.from_bytes(blake2b(what.encode(), digest_size=4).digest()) / 2**32


def wander(now_s: float, what: str, *, seed: int, slow: bool = False) -> float:
    """Give smooth noise from 0 to 1, which changes in a minute or, `slow`, in some."""
    at, part = divmod(now_s / (_CLOUD_S if slow else _LOAD_S), 1.0)
    ends = [chance(f"{seed} {what} {at + k:.0f}") for k in (0, 1)]
    smooth = part * part * (3.0 - 2.0 * part)
    return ends[0] + (ends[1] - ends[0]) * smooth


def sun(now_s: float) -> float:
    """Give the share of a clear noon's sun."""
    hour = now_s % _DAY_S / _HOUR_S
    height = float(max(0.0, math.sin(math.pi * (hour - 6.0) / 13.0)) ** 1.3)
    clouds = max(0.0, wander(now_s, "clouds", seed=_CLOUDS_SEED, slow=True) - 0.45) / 0.55
    return height * (1.0 - 0.75 * clouds)


def load_w(now_s: float, seed: int) -> float:
    """Give what the loads of the house take."""
    hour = now_s % _DAY_S / _HOUR_S
    habit_w = sum(
        peak_w * math.exp(-(((hour - at) / width) ** 2))
        for at, width, peak_w in ((7.5, 1.0, 600.0), (13.0, 1.5, 350.0), (20.0, 2.2, 800.0))
    )
    return 190.0 + 12.0 * (seed % 9) + habit_w + 120.0 * wander(now_s, "load", seed=seed)
