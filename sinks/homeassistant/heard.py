"""What others have said on the bus and on Home Assistant's topics, read with care.

Anybody may publish anything there: what cannot be used is refused in one line, never more.
"""

import re
from collections.abc import Mapping
from typing import Any

from heliobus.errors import FrameError
from heliobus.sample import load_object
from sinks.homeassistant.devices import ORIGIN, Payload
from sinks.homeassistant.names import Place

Body = dict[str, Any]
DTU = re.compile(r"dtu_([0-9A-Fa-f]+)")
PLATFORMS = ("sensor", "binary_sensor", "number", "select", "switch", "button")


def info(payload: bytes) -> Body:
    """Read what a device says about itself. Raise FrameError."""
    body = load_object(payload)
    if not isinstance(body.get("kind"), str):
        raise FrameError(f"kind: found {body.get('kind')!r:.60}, expected the name of a kind")
    return body


def status(payload: bytes) -> Body:
    """Read what a component says about itself. Raise FrameError."""
    return load_object(payload)


def own_config(where: Place, base: str, payload: bytes) -> Payload | None:
    """Read what we have told Home Assistant; None: it is not ours, or of no use. Raise FrameError.

    Another installation may name its devices alike, but has another base topic.
    """
    body = load_object(payload)
    origin, device, cmps = body.get("o"), body.get("dev"), body.get("cmps")
    if not isinstance(origin, Mapping) or origin.get("name") != ORIGIN["name"]:
        return None
    availability = body.get("avty")
    first = availability[0] if isinstance(availability, list) and availability else {}
    topic = first.get("t") if isinstance(first, Mapping) else None
    if not isinstance(topic, str) or not topic.startswith(f"{base}/{where.site}/"):
        return None
    if not isinstance(device, dict) or not isinstance(cmps, dict):
        raise FrameError("found no device or entities in it, expected a config of heliobus")
    device = {key: one for key, one in device.items() if isinstance(one, str) or key == "ids"}
    cmps = {key: one for key, one in cmps.items() if _is_entity(where.unique_id(key), one)}
    return {**body, "dev": device, "cmps": cmps}


def _is_entity(unique: str, one: object) -> bool:
    """Say whether it is an entity as we make them, or the word that one is to be removed."""
    if not isinstance(one, dict) or one.get("p") not in PLATFORMS:
        return False
    return len(one) == 1 or (
        one.get("uniq_id") == unique and isinstance(one.get("def_ent_id"), str)
    )


def foreign_serials(node: str, payload: bytes) -> frozenset[str]:
    """Give the serial numbers of an inverter that OpenDTU announces. Raise FrameError."""
    if (match := DTU.fullmatch(node)) is None:
        return frozenset()
    body = load_object(payload)
    origin = body.get("o", body.get("origin"))
    if isinstance(origin, Mapping) and origin.get("name") == ORIGIN["name"]:
        return frozenset()
    device = body.get("dev", body.get("device"))
    ids = device.get("ids", device.get("identifiers")) if isinstance(device, Mapping) else None
    found = [match[1], *(ids if isinstance(ids, list) else [ids])]
    return frozenset(one.casefold() for one in found if isinstance(one, str) and one)
