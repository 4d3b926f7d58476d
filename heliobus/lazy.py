"""Modules that load when they are first used, where a library imports more than we ever need."""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any


def postpone(*names: str) -> None:
    """Have later imports of these modules load nothing until an attribute of them is used.

    What is loaded already stays so. importlib's LazyLoader loads at the first import statement.
    """
    for name in names:
        if name not in sys.modules:
            stand_in = sys.modules[name] = _Postponed(name)
            package, _, child = name.rpartition(".")
            if package:
                setattr(import_module(package), child, stand_in)


class _Postponed(ModuleType):
    """Stands for a module and hands on whatever is asked of it."""

    def __getattr__(self, attribute: str) -> Any:
        name = self.__name__
        if attribute.startswith("__"):  # only how it was imported; no use of it
            raise AttributeError(f"module {name!r} has no attribute {attribute!r}")
        if sys.modules.get(name) is self:
            del sys.modules[name]
        return getattr(import_module(name), attribute)
