"""Whether an inverter may fall silent now because the sun is going down. Pure."""

from bridges.sunspec.values import Values

_MODES = frozenset({"off", "asleep", "starting", "standby", "shutting_down"})
# An inverter that had faded out to this share of its rating, or to so many watts.
_FAINT = 0.03
_FAINT_W = 50.0


def is_resting(values: Values, rated_w: float | None, *, is_hybrid: bool) -> bool:
    """Judge by what it said last.

    One with a battery works at night: little power says nothing of the sun.
    """
    mode, output_w = values.get("mode"), values.get("output_w")
    if mode in _MODES:
        return True
    if is_hybrid or mode == "fault" or not isinstance(output_w, int | float):
        return False
    return abs(output_w) <= (rated_w * _FAINT if rated_w else _FAINT_W)
