"""Whether an inverter may fall silent now because the sun is going down. Pure."""

from collections.abc import Mapping

# "wait sun/grid" and "waiting sun".
_WAITING_SUN = frozenset({1, 30})
# An inverter that had faded out to this share of its rating, or to so many watts.
_FAINT, _FAINT_W = 0.03, 50.0


def is_resting(beat: Mapping[str, object], rated_w: float) -> bool:
    """Judge by its last beat; `rated_w` 0: not known."""
    if beat.get("global_state_code") in _WAITING_SUN:
        return True
    output_w = beat.get("output_w")
    if beat.get("mode") == "fault" or not isinstance(output_w, int | float):
        return False
    return abs(output_w) <= max(rated_w * _FAINT, _FAINT_W)
