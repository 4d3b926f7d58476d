"""Profiles are read: a YAML file, what it extends, and what is wrong with it, line by line."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

from bridges.can.frames import EXTENDED, LARGEST_EXTENDED, Caveat, Dialect, Message, Profile
from bridges.can.rows import Maker, Written
from heliobus import contract as contracts
from heliobus.contract import Contract
from heliobus.shelf import Said, Shelf, Source, finish

_SHELF: Final = Shelf(
    Path(__file__).parent / "profiles", "profile", "can_profile.json", "maker: NAME", inherits=True
)
# Of the file itself alone.
_OWN = frozenset({"extends", "without", "messages", "order", "max_age"})
_USUAL = ("order", "max_age")  # of the messages of a file that do not say
_HEX_OF_29_BITS = 8  # digits, as candump writes it


def folder() -> Path:
    """Give the folder of the profiles that come with heliobus."""
    return _SHELF.folder


def names() -> list[str]:
    """Name the profiles that come with heliobus."""
    return _SHELF.names()


@cache
def contract() -> Contract:
    """Give the contract that profiles are checked against."""
    return contracts.load()


def load(name: str, *, beside: Path) -> Profile:
    """Read a profile by its name, or by a path that starts at `beside`. Raise ConfigError."""
    path = _SHELF.path(name, beside)
    return _shipped(name) if name == path.stem else _made(path, name)


@cache  # devices are often alike, and a Raspberry Pi takes long for a file
def _shipped(name: str) -> Profile:
    return _made(_SHELF.path(name, Path()), name)


def _made(path: Path, name: str) -> Profile:
    sources = _SHELF.read(path, f"profile: {name!r}")
    profile = _Making(sources, contract()).make()
    finish(sources)
    return profile


class _Making:
    """The making of one profile from its file and those that it extends, which come after it."""

    def __init__(self, sources: Sequence[Source], contract: Contract) -> None:
        self._sources = sources
        self._contract = contract
        self._said = Said(sources, _OWN)

    def make(self) -> Profile:
        """Make it also of what is wrong, so that all faults are found at once."""
        values = {key: value for key, value in self._said.values.items() if value is not None}
        kind = self._said.kind(self._contract)
        messages = self._messages(kind)
        return Profile(
            name=self._sources[0].path.stem,
            maker=values.get("maker", ""),
            models=tuple(values.get("models", ())),
            kind=kind,
            messages=messages,
            verified=values.get("verified", ""),
            source=tuple(values.get("source", ())),
            bitrate=values.get("bitrate", 500_000),
            dialects=self._dialects(messages),
            caveats=tuple(
                Caveat(one["text"], one.get("link", ""))
                for one in values.get("caveats", ())
                if one and one.get("text")
            ),
        )

    def _messages(self, kind: str) -> dict[int, Message]:
        """Make the messages in the order of the files, the own ones first.

        What is replaced or taken out is made, too: it may be wrong all the same.
        """
        found: dict[int, Message] = {}
        usual: dict[str, Any] = {}
        for source in reversed(self._sources):
            usual |= {key: source.values[key] for key in _USUAL if source.wrote(key)}
            maker = Maker(self._contract, kind, usual)
            gone = self._without(source, found)
            own: dict[int, Message] = {}
            for word, values in (source.values.get("messages") or {}).items():
                number = identifier(word)
                if number is None:
                    told = f"found {word!r}, expected an identifier such as 0x351"
                    source.fault(("messages", word), f"{told}; of 29 bits with eight digits")
                elif number in own:
                    source.fault(("messages", word), f"the identifier {word} is there twice")
                elif values is not None:
                    written = Written(source, ("messages", word), word, values)
                    own[number] = maker.message(number, written)
            kept = {one: row for one, row in found.items() if one not in gone | own.keys()}
            found = own | kept
        # Else it has none for a reason that is told already.
        has_any = any(source.values.get("messages") for source in self._sources)
        if not found and not has_any and not self._sources[-1].values.get("extends"):
            self._sources[0].fault(("messages",), "has no message; write one at least")
        return found

    def _without(self, source: Source, found: dict[int, Message]) -> set[int]:
        gone = set()
        for index, word in enumerate(source.values.get("without") or ()):
            number = None if word is None else identifier(word)
            if word is not None and number not in found:
                told = f"{word!r} is not a message of what it extends"
                source.fault(("without", f"[{index}]"), told)
            elif number is not None:
                gone.add(number)
        return gone

    def _dialects(self, messages: dict[int, Message]) -> tuple[Dialect, ...]:
        found = []
        for index, one in enumerate(self._said.values.get("dialects") or ()):
            if one is None or not one.get("text"):
                continue
            numbers = []
            for at, word in enumerate(one.get("ids") or ()):
                number = None if word is None else identifier(word)
                if number is not None and number in messages:
                    numbers.append(number)
                elif word is not None:
                    place = ("dialects", f"[{index}]", "ids", f"[{at}]")
                    self._said.fault(f"{word!r} is not one of its messages", *place)
            found.append(Dialect(one["text"], tuple(numbers)))
        return tuple(found)


def identifier(word: str) -> int | None:
    """Read an identifier as it stands in a profile; None for what is none."""
    digits = word.lower().removeprefix("0x")
    try:
        number = int(digits, 16)
    except ValueError:
        return None
    if len(digits) == _HEX_OF_29_BITS:
        return number | EXTENDED if number <= LARGEST_EXTENDED else None
    return number if len(digits) == 3 and number <= 0x7FF else None  # noqa: PLR2004  # digits
