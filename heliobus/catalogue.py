"""The commands `list` and `schema`: what is there to be used."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from heliobus import components
from heliobus.components import Component, Kind
from heliobus.errors import ConfigError, guess


def list_components(out: TextIO) -> int:
    """Print every bridge and sink with its title, maps and profiles; plugins are marked."""
    found = components.describe()
    width = max((len(component.name) for component in found), default=0)
    for kind in Kind:
        print(f"{kind.value}s", file=out)
        for component in found:
            if component.kind is kind:
                print(f"  {component.name:{width}}  {_text(component)}", file=out)
                for name, title in _maps(component):
                    print(f"    map {name}: {title}", file=out)
                for name, title in _profiles(component):
                    print(f"    profile {name}: {title}", file=out)
    return 0


def print_schema(name: str, out: TextIO) -> int:
    """Print the schema of that name, or the names of all. Raise ConfigError."""
    known = _schemas()
    if not name:
        for each in known:
            print(each, file=out)
        return 0
    matches = [each for each in known if name in (each, each.rpartition("/")[2])]
    if len(matches) > 1:
        raise ConfigError(f"{name!r} may be {' or '.join(matches)}; write which")
    if not matches:
        raise ConfigError(f"the schema {name!r} is not known{guess(name, known)}")
    print(known[matches[0]].read_text(encoding="utf-8").rstrip(), file=out)
    return 0


def _text(component: Component) -> str:
    if component.fault:
        return f"cannot run: {component.fault}"
    if component.source == "heliobus":
        return component.title
    return f"{component.title} (plugin {component.source})"


def _maps(component: Component) -> Iterator[tuple[str, str]]:
    """Give the maps of a listener, each with its title, which is in its first line."""
    folder = component.folder
    for path in sorted(folder.glob("maps/*.yaml")) if folder else ():
        with path.open(encoding="utf-8") as file:
            yield path.stem, file.readline().removeprefix("title:").strip(" \n\"'")


def _profiles(component: Component) -> Iterator[tuple[str, str]]:
    """Give the profiles of a bridge, each with its maker and models."""
    heads = {name: _head(component, name) for name in component.profiles}
    for name, head in heads.items():
        maker = head
        while "maker" not in maker and maker.get("extends") in heads:
            maker = heads[maker["extends"]]
        yield name, f"{maker.get('maker', '')} {', '.join(head.get('models', ()))}".strip()


def _head(component: Component, name: str) -> Mapping[str, Any]:
    """Read what a profile of ours says before its registers, which are long."""
    import yaml

    text = Path(str(component.folder), "profiles", f"{name}.yaml").read_text(encoding="utf-8")
    head: Mapping[str, Any] = yaml.safe_load(text.partition("\nregisters:")[0])
    return head


def _schemas() -> dict[str, Path]:
    """Give the schemas by path without ending, and each component's config.json."""
    import schemas

    root = Path(schemas.__path__[0])
    known = {
        path.relative_to(root).with_suffix("").as_posix(): path
        for path in sorted((*root.glob("*.json"), *root.glob("kinds/*.json")))
    }
    for component in components.describe():
        if component.folder is not None:
            known[f"{component.kind.value}s/{component.name}"] = component.folder / "config.json"
    return known
