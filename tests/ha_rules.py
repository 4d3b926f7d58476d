"""Home Assistant's rules for MQTT discovery, as of 2026.11: what it would drop, or warn about.

The rules are data: ha_rules.json has the schema of a payload and of each platform, and the units
and state classes of each device class. Here is what a schema cannot say.
tests/test_ha_code.py holds all of it against Home Assistant's own code.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from jsonschema import Draft202012Validator, FormatChecker, ValidationError

from tests import ha_templates
from tests.helpers import ROOT

Payload = dict[str, Any]

RULES: Mapping[str, Any] = json.loads((ROOT / "tests" / "ha_rules.json").read_text())
PLATFORMS = tuple(name for name in RULES["schemas"] if name != "device")
SUPPORTED = frozenset(RULES["$defs"]["component"]["properties"]["platform"]["enum"])
TOPIC = re.compile(r"[^/]+/(?P<component>\w+)/(?:[a-zA-Z0-9_-]+/)?(?P<id>[a-zA-Z0-9_-]+)/config")
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ufdd0-\ufdef\ufffe\uffff]")
FORMATS = FormatChecker(formats=())


def rejections(topic: str, payload: bytes) -> list[str]:
    """Give each reason why Home Assistant would drop this message or a part of it, or warn."""
    found = TOPIC.fullmatch(topic)
    if not found:
        return [f"{topic}: not PREFIX/COMPONENT/[NODE/]ID/config of a-z, A-Z, 0-9, _ and -"]
    component = found["component"]
    if component not in {*SUPPORTED, "device"}:
        return [f"{topic}: Home Assistant listens to no component {component!r}"]
    try:
        given = json.loads(payload.decode() or "{}", parse_constant=_refuse)
    except ValueError as error:
        return [f"no JSON: {error}"]
    if not isinstance(given, dict):
        return [f"no JSON object: {given!r}"]
    _write_out(given)
    if not payload or given == {"migrate_discovery": True}:
        return []  # ends, or hands over, what was announced here
    faults = ["`migrate_discovery` is not alone"] if "migrate_discovery" in given else []
    return [*faults, *(_device(given) if component == "device" else _entity(component, given))]


def template_warnings(payload: bytes) -> list[str]:
    """Give what the templates log for a state message without keys, or with all of them."""
    given = json.loads(payload) if payload else {}
    _write_out(given)
    return [
        f"{place}: {warning}"
        for place, text in _templates(given, "")
        if ha_templates.fault(text) is None
        for warning in ha_templates.warnings(text)
    ]


def ignored(topic: str, payload: bytes) -> list[str]:
    """Give the keys of components that Home Assistant passes over without a word."""
    given = json.loads(payload) if payload else {}
    _write_out(given)
    parts = dict(_components(given))
    if not parts:
        parts = {"": {"platform": topic.split("/")[1], **given}}
    return [
        f"{name}: {key}"
        for name, part in parts.items()
        for key in part
        if key not in {*known_keys(part["platform"]), "platform", "~", "migrate_discovery"}
    ]


def unit_faults(
    device_class: str | None, state_class: str | None, unit: str | None
) -> Iterator[str]:
    """Say what of these three does not go together, for a sensor."""
    unit = RULES["same_units"].get(unit, unit) or None
    units = RULES["units"].get(device_class)
    if units is not None and unit not in units:
        yield f"unit {unit!r} does not fit device class {device_class!r}, only {units}"
    if device_class in RULES["not_numeric"] and unit is not None:
        yield f"unit {unit!r} on the device class {device_class!r}, which is no number"
    states = RULES["state_classes"].get(device_class)
    if states is not None and state_class is not None and state_class not in states:
        yield f"state class {state_class!r} is impossible for {device_class!r}, only {states}"
    units = RULES["units_of_state_class"].get(state_class)
    if units is not None and unit not in units:
        yield f"unit {unit!r} does not fit state class {state_class!r}, only {units}"


def _device(given: Payload) -> Iterator[str]:
    """Judge a device; one fault here drops all of it."""
    faults = [*_schema_faults("device", given)]
    if not faults:
        faults = [*_id_faults(given)]
    if faults:
        yield from faults
        return
    for name, part in _components(given):
        platform = part.pop("platform")
        if part:  # a component that has only its platform is removed
            shared = {key: given[key] for key in RULES["shared_options"] if key in given}
            whole = {**shared, **part, "device": given["device"], "origin": given["origin"]}
            yield from (f"{name}: {fault}" for fault in _entity(platform, whole))


def _id_faults(given: Payload) -> Iterator[str]:
    children = given.get("child_devices", [])
    names = Counter([*given.get("components", {})])
    identifiers: Counter[str] = Counter()
    for child in children:
        names.update(child["components"].keys())
        identifiers.update(_listed(child["identifiers"]))
    for what, count in (("component", names), ("child device", identifiers)):
        for name in sorted(name for name, times in count.items() if times > 1):
            yield f"two times {what} {name!r}"
    for name in sorted(identifiers.keys() & set(_listed(given["device"].get("identifiers", [])))):
        yield f"child device {name!r} has the identifier of its device"


def _entity(platform: str, given: Payload) -> Iterator[str]:
    """Judge one component, with all that it inherits from its device."""
    if platform not in PLATFORMS:
        yield f"platform {platform!r} has no rules here, only {', '.join(PLATFORMS)}"
        return
    _put_base(given)
    for key in ("device_class", "state_class"):
        if isinstance(given.get(key), str):
            given[key] = given[key].lower()
    faults = [*_schema_faults(platform, given)]
    yield from faults
    if not faults:
        yield from OF_PLATFORM.get(platform, _no_more)(given)
        entity = str(given.get("default_entity_id", platform + "."))
        if "." in entity and entity.partition(".")[0] != platform:
            yield f"default_entity_id {entity!r} of a {platform}"


def _sensor(given: Payload) -> Iterator[str]:
    state_class, options = given.get("state_class"), given.get("options")
    unit = str(given.get("unit_of_measurement") or "").strip() or None
    if "last_reset_value_template" in given and state_class != "total":
        yield f"`last_reset_value_template` with state class {state_class!r}, not 'total'"
    if options is not None:
        if state_class or unit:
            yield "`options` together with a state class or a unit"
        if given.get("device_class") != "enum":
            yield "`options` without the device class 'enum'"
    yield from unit_faults(given.get("device_class"), state_class, unit)


def _set_number(given: Payload) -> Iterator[str]:
    least, most = float(given.get("min", 1)), float(given.get("max", 100))
    if least > most:
        yield f"min {least:g} is above max {most:g}"
    yield from unit_faults(given.get("device_class"), None, given.get("unit_of_measurement"))


def _no_more(given: Payload) -> Iterator[str]:
    del given
    yield from ()


OF_PLATFORM = {"sensor": _sensor, "number": _set_number}


def _schema_faults(name: str, given: Payload) -> Iterator[str]:
    schema = {**RULES["schemas"][name], "$defs": RULES["$defs"]}
    for error in Draft202012Validator(schema, format_checker=FORMATS).iter_errors(given):
        yield _worded(error)


def _worded(error: ValidationError) -> str:
    place = ".".join(map(str, error.absolute_path))
    message = str(error.cause) if error.validator == "format" else error.message
    schema = error.schema if isinstance(error.schema, dict) else {}
    why = schema.get("why", {}).get(error.validator)
    if why and error.validator == "enum":
        why = f"{error.instance!r} is wrong: {why}"
    return f"{place}: {why or message}".removeprefix(": ")


def _write_out(given: Payload) -> None:
    """Write out each abbreviation, where Home Assistant does."""
    short = RULES["abbreviations"]
    _replace(given, short["component"])
    _replace(given.get("origin"), short["origin"])
    device = given.get("device")
    _replace(device, short["device"])
    if isinstance(device, dict):
        _replace(device.get("child_device"), short["device"])
    for child in _listed(given.get("child_devices")):
        _replace(child, short["device"])
        _replace(child, short["component"])
    for part in (given, *(part for _, part in _components(given))):
        _replace(part, short["component"])
        for one in _listed(part.get("availability")):
            _replace(one, short["component"])


def _replace(given: Any, abbreviations: Mapping[str, str]) -> None:
    if isinstance(given, dict):
        for key in given.keys() & abbreviations:
            given[abbreviations[key]] = given.pop(key)


def _put_base(given: Payload) -> None:
    """Put the base topic `~` where it is meant."""
    base = given.pop("~", None)
    if base is None:
        return
    places = [(given, key) for key in given if key.endswith("topic")]
    places += [(one, "topic") for one in _listed(given.get("availability")) if "topic" in one]
    for place, key in places:
        topic = str(place[key])
        if topic.startswith("~"):
            topic = f"{base}{topic[1:]}"
        if topic.endswith("~"):
            topic = f"{topic[:-1]}{base}"
        place[key] = topic


def _components(given: Payload) -> Iterator[tuple[str, Payload]]:
    """Give the components of a device and of its child devices."""
    for owner in (given, *_listed(given.get("child_devices"))):
        parts = owner.get("components") if isinstance(owner, dict) else None
        if isinstance(parts, dict):
            yield from ((name, part) for name, part in parts.items() if isinstance(part, dict))


def _templates(given: Any, place: str) -> Iterator[tuple[str, str]]:
    if isinstance(given, dict):
        for key, value in given.items():
            if isinstance(value, str) and key.endswith("template"):
                yield f"{place}{key}", value
            else:
                yield from _templates(value, f"{place}{key}.")
    elif isinstance(given, list):
        for number, value in enumerate(given):
            yield from _templates(value, f"{place}{number}.")


def known_keys(platform: str) -> frozenset[str]:
    """Give the keys that a platform knows."""
    defs = RULES["$defs"]
    schemas = (RULES["schemas"].get(platform, {}), defs["entity"], defs["availability"])
    return frozenset(key for schema in schemas for key in schema.get("properties", {}))


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


@FORMATS.checks("template", raises=ValueError)
def _template(value: object) -> bool:
    if fault := ha_templates.fault(str(value)):
        raise ValueError(fault)
    return True


@FORMATS.checks("published topic", raises=ValueError)
def _published(value: object) -> bool:
    _topic(value)
    if re.search(r"[+#]", str(value)):
        raise ValueError(f"wildcard in the topic {value!r} to publish to")
    return True


@FORMATS.checks("listened topic", raises=ValueError)
def _listened(value: object) -> bool:
    _topic(value)
    *levels, last = str(value).split("/")
    if (
        any(len(level) > 1 and re.search(r"[+#]", level) for level in (*levels, last))
        or "#" in levels
    ):
        raise ValueError(f"wildcard at a wrong place in the topic {value!r}")
    return True


def _topic(value: object) -> None:
    topic = str(value)
    if not topic or len(topic.encode()) > 65535 or CONTROL.search(topic):
        raise ValueError(f"no topic: {topic!r:.100}")


@FORMATS.checks("url", raises=ValueError)
def _url(value: object, schemes: tuple[str, ...] = ("http", "https")) -> bool:
    url = urlsplit(str(value).strip())
    if url.scheme not in schemes or not url.hostname or re.search(r"[\s\x00-\x1f]", url.hostname):
        raise ValueError(f"no URL with {' or '.join(schemes)}: {value!r}")
    return url.port is None or url.port > 0


@FORMATS.checks("configuration url", raises=ValueError)
def _configuration_url(value: object) -> bool:
    return _url(value, ("http", "https", "homeassistant"))
