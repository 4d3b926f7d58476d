"""The rules of the house, read from the source itself: who imports whom, what lies where."""

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

import pytest

from tests.helpers import ROOT

N = TypeVar("N", bound=ast.AST)

# A module of the kit imports from its own line of this table or from one above it.
LAYERS = (
    # words, and logic that needs nothing but words
    "errors sample settings topics quantities faults claims line address exchange ports guard lazy"
    " whole_file credentials tls paho slcan modbus modbus_slave captured counters house data_file",
    "contract link dialled can_bus clock checked_yaml simulation calling database",
    "journal blocks cursor bus broker_keys config components rejects waiting database_errors wires"
    " health shelf",
    "bridge listener sink follower archive history polled poller outbox speaking master guarded rtu"
    " modbus_tcp",
    "component source bridging asking listening intake sinking following",
    "process supervisor own_broker tally board grouped cells simulated_site household",
    "catalogue check config_docs decode demo docs prepare simulate up watch",
    "cli_options cli_broker cli",
    "__main__",
)
# The last line that bridges/, sinks/ and broker/ may use.
OPEN_TO_COMPONENTS = next(i for i, names in enumerate(LAYERS) if "bridge" in names.split())
# The first line that may start a broker.
STARTS_BROKERS = next(i for i, names in enumerate(LAYERS) if "own_broker" in names.split())

LONGEST_CHAIN = 6  # imports one after the other
MODULE_LINES = 400
FUNCTION_LINES = 50
POSITIONAL_PARAMETERS = 4
CALLED_BY_OTHERS = {"heliobus/bus.py"}  # paho gives its callbacks five

ASYNCIO = ("broker/embedded.py", "sinks/web/", "bridges/http/")
# Where any error at all may be caught, and why.
CATCH_ALL = MappingProxyType(
    {
        "heliobus/__main__.py": "a bug is logged before the process ends with 1",
        "heliobus/guard.py": "the same, in a child process",
        "heliobus/bus.py": "an error in a callback would end paho's thread in silence",
        "heliobus/decode.py": "a capture may hold anything, and one bad line must not end the rest",
        "heliobus/components.py": "what a plugin does at import must not stop the others",
    }
)
# A codec turns bytes into values: no clock, no socket, no log, no thread, no dice.
IMPURE = frozenset(
    {
        "asyncio",
        "logging",
        "os",
        "pathlib",
        "random",
        "select",
        "signal",
        "socket",
        "subprocess",
        "sys",
        "threading",
        "time",
    }
)
CONTAINERS = frozenset(
    {"Counter", "OrderedDict", "bytearray", "defaultdict", "deque", "dict", "list", "set"}
)
CHANGES = frozenset(
    {
        "add",
        "append",
        "appendleft",
        "clear",
        "extend",
        "insert",
        "pop",
        "popitem",
        "remove",
        "setdefault",
        "sort",
        "update",
    }
)
README_SECTIONS = (
    "What it is",
    "Wiring",
    "Enabling it on the device",
    "Configuration",
    "What it publishes",
    "No answer?",
    "Known limits",
    "Sources",
)
FILES = MappingProxyType(
    {
        "bridges": {
            "__init__.py",
            "codec.py",
            "simulator.py",
            "README.md",
            "sample.yaml",
            "config.json",
        },
        "sinks": {"__init__.py", "README.md", "sample.yaml", "config.json"},
    }
)


@dataclass(frozen=True)
class Module:
    """A source file of ours."""

    name: str
    file: str
    lines: int
    tree: ast.Module

    @property
    def folder(self) -> str:
        """Name the component's or the kit's own folder: heliobus, bridges.voltronic."""
        head, _, rest = self.name.partition(".")
        return head if head == "heliobus" else f"{head}.{rest.partition('.')[0]}"

    @property
    def in_the_kit(self) -> bool:
        return self.folder == "heliobus"


@dataclass(frozen=True)
class Import:
    """What an import names; `lazy` where it is not done when its module is imported."""

    by: Module
    target: str
    line: int
    lazy: bool

    @property
    def ours(self) -> bool:
        return self.target in house()

    def __str__(self) -> str:
        return f"{self.by.file}:{self.line}: imports {self.target}"


@cache
def house() -> Mapping[str, Module]:
    """Give all our modules by name."""
    modules = {}
    for folder in ("heliobus", "bridges", "sinks", "broker", "schemas"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            inside = path.relative_to(ROOT)
            if inside.name.startswith("test_") or "tests" in inside.parts:
                continue
            name = ".".join(inside.with_suffix("").parts).removesuffix(".__init__")
            text = path.read_text()
            tree = ast.parse(text, str(inside))
            modules[name] = Module(name, inside.as_posix(), text.count("\n"), tree)
    return MappingProxyType(modules)


@cache
def imports(name: str) -> tuple[Import, ...]:
    """List what a module of ours imports."""
    module = house()[name]
    lazy = {id(inner) for late in _done_later(module.tree) for inner in ast.walk(late)}
    found = []
    for node in ast.walk(module.tree):
        match node:
            case ast.Import():
                targets = {alias.name for alias in node.names}
            case ast.ImportFrom():
                base = "." * node.level + (node.module or "")
                submodules = {f"{base}.{alias.name}" for alias in node.names} & set(house())
                targets = submodules or {base}
            case _:
                continue
        found += [Import(module, target, node.lineno, id(node) in lazy) for target in targets]
    return tuple(found)


def _done_later(tree: ast.Module) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        types_only = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        if types_only or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def none_of(violations: Iterable[object]) -> None:
    """Fail with one line for each violation."""
    lines = sorted(map(str, violations))
    if lines:
        pytest.fail("\n".join(lines), pytrace=False)


def every_import() -> Iterator[Import]:
    for name in house():
        yield from imports(name)


def every(kind: type[N]) -> Iterator[tuple[str, N]]:
    """Give each node of that kind in our source, and where it stands."""
    for module in house().values():
        for node in ast.walk(module.tree):
            if isinstance(node, kind):
                yield f"{module.file}:{getattr(node, 'lineno', 0)}", node


def every_function() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    yield from every(ast.FunctionDef)
    yield from every(ast.AsyncFunctionDef)


def layer(name: str) -> int:
    """Give the line of LAYERS that has this module of the kit; the package itself is above all."""
    short = name.removeprefix("heliobus.")
    return next((i for i, names in enumerate(LAYERS) if short in names.split()), -1)


def test_every_module_of_the_kit_has_its_layer() -> None:
    kit = [name for name, module in house().items() if module.in_the_kit and name != "heliobus"]
    none_of(f"{name} has no line in LAYERS" for name in kit if layer(name) < 0)


def test_imports_run_one_way() -> None:
    within = [one for one in every_import() if one.by.in_the_kit and one.ours]
    none_of(one for one in within if 0 <= layer(one.by.name) < layer(one.target))


def test_the_kit_finds_components_by_name_only() -> None:
    outward = [one for one in every_import() if one.by.in_the_kit]
    none_of(one for one in outward if _top(one) in {"bridges", "sinks"})
    none_of(one for one in outward if _top(one) == "broker" and layer(one.by.name) < STARTS_BROKERS)


def test_components_use_the_kit_and_themselves() -> None:
    outward = [one for one in every_import() if not one.by.in_the_kit and one.ours]
    none_of(
        one
        for one in outward
        if not (_top(one) == "heliobus" and layer(one.target) <= OPEN_TO_COMPONENTS)
        and house()[one.target].folder != one.by.folder
        and {one.by.name.partition(".")[0], _top(one)} != {"broker"}
    )


def _top(one: Import) -> str:
    return one.target.partition(".")[0]


def test_a_codec_is_pure() -> None:
    codecs = [name for name in house() if name.endswith(".codec")]
    parts = {part for codec in codecs for part in _parts(codec)}
    named = [one for part in sorted(parts) for one in imports(part)]
    none_of(
        one
        for one in named
        if _top(one) in IMPURE
        or (one.ours and one.target not in {"heliobus.errors", *parts, one.by.folder})
    )


def _parts(codec: str) -> set[str]:
    """Give the codec and the modules of its own folder that it is made of."""
    folder, found, ahead = house()[codec].folder + ".", set(), [codec]
    while ahead:
        found.add(ahead[-1])
        new = {one.target for one in imports(ahead.pop()) if one.target.startswith(folder)}
        ahead += new - found
    return found


def test_no_imports_go_in_a_circle_or_in_too_long_a_chain() -> None:
    known: dict[str, list[str]] = {}

    def longest(name: str, path: tuple[str, ...]) -> list[str]:
        if name in path:
            pytest.fail("in a circle: " + " -> ".join((*path, name)), pytrace=False)
        if name not in known:
            first = {one.target for one in imports(name) if one.ours and not one.lazy}
            chains = [longest(target, (*path, name)) for target in sorted(first)]
            known[name] = [name, *max(chains, key=len, default=[])]
        return known[name]

    chains = [longest(name, ()) for name in house()]
    none_of(" -> ".join(chain) for chain in chains if len(chain) - 1 > LONGEST_CHAIN)


def test_imports_name_the_whole_module() -> None:
    none_of(where for where, node in every(ast.ImportFrom) if node.level)


def test_asyncio_stays_in_its_rooms() -> None:
    users = [one for one in every_import() if _top(one) == "asyncio"]
    none_of(one for one in users if not one.by.file.startswith(ASYNCIO))


def test_modules_and_functions_stay_small() -> None:
    modules = [f"{m.file}: {m.lines} lines" for m in house().values() if m.lines > MODULE_LINES]
    functions = [
        f"{where}: {node.name} has {length} lines"
        for where, node in every_function()
        if (length := (node.end_lineno or 0) - node.lineno + 1) > FUNCTION_LINES
    ]
    none_of(modules + functions)


def test_functions_take_few_positional_parameters() -> None:
    many = []
    for where, node in every_function():
        names = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args)]
        count = len(names) - (names[:1] in (["self"], ["cls"]))
        if count > POSITIONAL_PARAMETERS and _file(where) not in CALLED_BY_OTHERS:
            many.append(f"{where}: {node.name} takes {count}, the rest must be keyword-only")
    none_of(many)


def test_modules_hold_no_state() -> None:
    changed = [
        f"{module.file}:{line}: {what}"
        for module in house().values()
        for line, what in _state(module.tree)
    ]
    none_of(changed)


def _state(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Give variables of a module that are made to change, and constants that are changed."""
    constants = set()
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for name in [target.id for target in targets if isinstance(target, ast.Name)]:
                constants.add(name)
                if _is_container(node.value) and not name.isupper() and not name.startswith("__"):
                    yield node.lineno, f"{name} is a container, and not named like a constant"
    for inner in ast.walk(tree):
        if isinstance(inner, ast.Global):
            yield inner.lineno, "global"
        elif (changed := _changed(inner)) in constants and changed.isupper():
            yield getattr(inner, "lineno", 0), f"{changed} is changed"


def _changed(node: ast.AST) -> str:
    """Name the variable that a call like NAME.append() or an assignment to NAME[...] changes."""
    match node:
        case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=attr)) if attr in CHANGES:
            return name
        case ast.Subscript(value=ast.Name(id=name), ctx=ast.Store() | ast.Del()):
            return name
    return ""


def _is_container(value: ast.expr | None) -> bool:
    if isinstance(value, ast.Call):
        return ast.unparse(value.func).rpartition(".")[2] in CONTAINERS
    return isinstance(
        value, ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp
    )


def test_nothing_is_validated_by_assert() -> None:
    none_of(where for where, _ in every(ast.Assert))


def test_any_error_at_all_is_caught_in_named_places_only() -> None:
    broad = []
    for where, node in every(ast.ExceptHandler):
        caught = ast.unparse(node.type).strip("()").split(", ") if node.type else ["Exception"]
        handed_on = ast.unparse(node.body[-1]) == "raise"
        if {"Exception", "BaseException"} & set(caught) and not handed_on:
            broad.append(where)
    none_of(where for where in broad if _file(where) not in CATCH_ALL)


def _file(where: str) -> str:
    return where.partition(":")[0]


def _components(folder: str) -> list[Path]:
    return sorted(path.parent for path in (ROOT / folder).glob("*/__init__.py"))


@pytest.mark.parametrize("folder", sorted(FILES))
def test_every_component_has_the_files_of_its_kind(folder: str) -> None:
    expected = [path / name for path in _components(folder) for name in FILES[folder]]
    none_of(str(path.relative_to(ROOT)) for path in expected if not path.is_file())


def test_every_bridge_tells_its_owner_everything() -> None:
    missing = []
    for readme in sorted((ROOT / "bridges").glob("*/README.md")):
        lines = readme.read_text().splitlines()
        missing += [f"{readme}: {title}" for title in README_SECTIONS if f"## {title}" not in lines]
    none_of(missing)
