"""The templates of discovery: valid Jinja2, and silent for every state message.

Home Assistant writes a warning into its log each time a template meets something undefined.
"""

import json
import logging
from collections.abc import Iterator, Mapping
from typing import Any

from jinja2 import TemplateError, Undefined, make_logging_undefined, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

REQUIRED: Any = object()


class _Log(logging.Logger):
    """Keep what Jinja2 logs."""

    def __init__(self) -> None:
        super().__init__("template")
        self.lines: list[str] = []

    def handle(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def _number(kind: type[int | float], value: Any, default: Any) -> Any:
    try:
        return kind(float(value))
    except (TypeError, ValueError):
        if default is REQUIRED:
            raise ValueError(f"{value!r} is no number, and the filter has no default") from None
        return default


def _float(value: Any, default: Any = REQUIRED) -> Any:
    return _number(float, value, default)


def _int(value: Any, default: Any = REQUIRED) -> Any:
    return _number(int, value, default)


def _choose(value: Any, yes: Any = True, no: Any = False) -> Any:  # noqa: FBT002 - as in Home Assistant
    return yes if value else no


def _is_number(value: Any) -> bool:
    return _number(float, value, None) is not None


# Of Home Assistant's many filters those that state messages need. Others are refused here.
FILTERS = {
    "float": _float,
    "int": _int,
    "iif": _choose,
    "is_number": _is_number,
    "from_json": json.loads,
    "to_json": json.dumps,
}


def fault(text: str) -> str | None:
    """Say why this is no template, None where it is one."""
    try:
        _environment(Undefined).from_string(text)
    except TemplateError as error:
        return f"bad template `{text}`: {error}"
    return None


def warnings(text: str) -> Iterator[str]:
    """Give what Home Assistant would log for an empty object, and for one with all keys."""
    for what, state in (("an empty object", {}), ("an object with all keys", _whole(text))):
        log = _Log()
        template = _environment(make_logging_undefined(log)).from_string(text)
        try:
            template.render(value=json.dumps(state), value_json=state)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is Home Assistant's log
            log.lines = log.lines or [f"{type(error).__name__}: {error}"]
        yield from (f"`{text}` with {what}: {line}" for line in log.lines)


def _environment(undefined: type[Undefined]) -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        undefined=undefined, extensions=["jinja2.ext.loopcontrols", "jinja2.ext.do"]
    )
    environment.filters.update(FILTERS)
    environment.globals.update(float=_float, int=_int, iif=_choose)
    return environment


def _whole(text: str) -> Mapping[str, Any]:
    """Give a state message that has every key which the template asks for."""
    whole: dict[str, Any] = {}
    tree = _environment(Undefined).parse(text)
    for node in tree.find_all((nodes.Getattr, nodes.Getitem, nodes.Call)):
        path = _path(node)
        place = whole
        for key in (path or ())[:-1]:
            if not isinstance(place.get(key), dict):
                place[key] = {}
            place = place[key]
        if path:
            place.setdefault(path[-1], 1)
    return whole


def _path(node: nodes.Node) -> list[str] | None:
    """Give ["a", "b"] for `value_json.a["b"]` and for `value_json.a.get("b")`."""
    if isinstance(node, nodes.Name):
        return [] if node.name == "value_json" else None
    if isinstance(node, nodes.Call):
        if not (isinstance(node.node, nodes.Getattr) and node.node.attr == "get" and node.args):
            return None
        above, key = _path(node.node.node), node.args[0]
    elif isinstance(node, nodes.Getattr):
        above, key = _path(node.node), nodes.Const(node.attr)
    elif isinstance(node, nodes.Getitem):
        above, key = _path(node.node), node.arg
    else:
        return None
    if above is None or not (isinstance(key, nodes.Const) and isinstance(key.value, str)):
        return None
    return [*above, key.value]
