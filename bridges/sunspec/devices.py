"""Which devices a chain is: itself, and those behind it. Pure.

A chain begins with what the device says of itself; each further common model begins another
device. What is of another kind than the inverter around it is one, too: its battery, its meter. A
gateway of OutBack has a device at each port of its HUB.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, TypeAlias

from bridges.sunspec import mapping as maps
from bridges.sunspec.chain import COMMON, Block, Chain
from bridges.sunspec.codec import Reading
from bridges.sunspec.mapping import Maker, Mapped, Meanings
from bridges.sunspec.values import Values, leanings, totals, turned, values_of
from heliobus.bridge import Identity

Readings: TypeAlias = Mapping[str, Mapping[str, Reading]]  # by block, such as 64117#1, and path
Leanings: TypeAlias = Mapping[str, Mapping[str, float]]  # by block and field
_NONE: Leanings = MappingProxyType({})

ITSELF = ""
_GATEWAY = "gateway"
# Of the kinds in one part of a chain the first of these is the device.
_FIRST = ("inverter", "meter", "battery")


@dataclass(frozen=True, slots=True)
class Device:
    """One device of a chain. `common` is the block in which it says who it is."""

    part: str
    kind: str
    blocks: tuple[tuple[Block, Mapped], ...] = ()
    common: Block | None = None
    role: str = ""
    turned: tuple[str, ...] = ()

    @property
    def is_hybrid(self) -> bool:
        """Say whether there is a battery in this part of the chain."""
        return any(mapped.storage for _, mapped in self.blocks)

    def values(self, readings: Readings, signs: Leanings, *, is_hybrid: bool) -> Values:
        """Give its fields, as far as its blocks were read."""
        found = [
            (mapped.leaning(signs.get(block.name, {})), readings[block.name])
            for block, mapped in self.blocks
            if block.name in readings
        ]
        return turned(values_of(found, is_hybrid=is_hybrid), self.turned)


@dataclass(frozen=True, slots=True)
class Layout:
    """The devices of a chain, the device itself first."""

    mapping: Meanings
    maker: Maker | None
    devices: tuple[Device, ...] = ()
    hybrid: frozenset[str] = field(default_factory=frozenset)

    @classmethod
    def nothing(cls) -> "Layout":
        """Give the layout of a device that has not been walked."""
        return cls(maps.Meanings({}), None)

    @property
    def itself(self) -> Device | None:
        """Give the device itself."""
        return self.devices[0] if self.devices else None

    @property
    def is_gateway(self) -> bool:
        """Say whether it is one device for each port, and totals."""
        return bool(self.mapping.totals)

    @property
    def is_empty(self) -> bool:
        """Say whether nothing of it is known."""
        return not self.is_gateway and not any(device.blocks for device in self.devices)

    def leanings(self, readings: Readings, before: Leanings) -> Leanings:
        """Add what was seen now to what was seen of signs before."""
        found = {**before}
        for device in self.devices:
            for block, mapped in device.blocks:
                seen = leanings(mapped, readings.get(block.name, {}))
                known = found.get(block.name, {})
                found[block.name] = {**known, **{n: known.get(n, 0) + x for n, x in seen.items()}}
        return found

    def parts(self, readings: Readings, signs: Leanings = _NONE) -> dict[str, Values]:
        """Give the fields of each device of which something was read."""
        return {
            device.part: device.values(readings, signs, is_hybrid=device.part in self.hybrid)
            for device in self.devices
            if any(block.name in readings for block, _ in device.blocks)
        }

    def totals(self, found: Mapping[str, Values]) -> Values:
        """Give the totals of a gateway over its devices."""
        behind = [device for device in self.devices if device.part != ITSELF]
        parts = {d.part: (d.kind, found[d.part]) for d in behind if d.part in found}
        return totals(self.mapping, parts, {d.kind for d in behind if d.part not in found})


def lay_out(chain: Chain, readings: Readings) -> Layout:
    """Divide a chain, of which the common models and the ports were read."""
    first = chain.devices[0]
    mapping = maps.choose({block.id for block in chain.blocks})
    maker = _maker(mapping, _common(first, readings))
    if mapping.match:
        return Layout(mapping, maker, tuple(_ports(mapping, chain, readings)))
    devices: list[Device] = []
    hybrid: set[str] = set()
    counts: Counter[str] = Counter()
    for at, segment in enumerate(chain.devices):
        found = list(_segment(mapping, segment, readings, is_first=at == 0))
        named = [_named(device, counts) for device in found]
        if any(device.is_hybrid for device in named):
            hybrid.update(device.part for device in named)
        devices += [_turned(device, maker) for device in named]
    return Layout(mapping, maker, tuple(devices), frozenset(hybrid))


def identity(device: Device, readings: Readings, *, maker: str = "") -> Identity:
    """Give who a device says it is, as far as it was read; `maker` where it does not say that."""
    own = readings.get(device.common.name, {}) if device.common else {}
    who = {key: _text(own, (name,)) for key, name in _COMMON.items()}
    for block, mapped in device.blocks:
        points = readings.get(block.name, {})
        for key, names in mapped.identity.items():
            who[key] = _text(points, names) or who[key]
    return Identity(**who | {"maker": (who["maker"] or maker).replace("_", " ")})


def shown(chain: Chain, readings: Readings) -> dict[str, Any]:
    """Give the devices of a chain that was read whole, as `decode` shows them."""
    layout = lay_out(chain, readings)
    parts = layout.parts(readings)
    if layout.is_gateway:
        parts[ITSELF] = parts.get(ITSELF, {}) | layout.totals(parts)
    return {
        device.part: {"kind": device.kind, "values": parts.get(device.part, {})}
        for device in layout.devices
    }


_COMMON = {"maker": "Mn", "model": "Md", "serial": "SN", "firmware": "Vr"}


def _text(points: Mapping[str, Reading], names: Sequence[str]) -> str:
    return ".".join(str(points[name].value) for name in names if name in points)


def _common(segment: Sequence[Block], readings: Readings) -> Mapping[str, Reading]:
    return readings.get(segment[0].name, {}) if segment and segment[0].id == COMMON else {}


def _maker(mapping: Meanings, common: Mapping[str, Reading]) -> Maker | None:
    for maker in mapping.makers:
        if all(_text(common, (name,)).startswith(text) for name, text in maker.match.items()):
            return maker
    return None


# ---------------------------------------------------------------------- SunSpec's own models


def _segment(
    mapping: Meanings, segment: Sequence[Block], readings: Readings, *, is_first: bool
) -> Iterator[Device]:
    """Give the devices of one part of a chain, without their numbers."""
    common = segment[0] if segment and segment[0].id == COMMON else None
    groups: dict[str, list[list[tuple[Block, Mapped]]]] = {}
    for block in segment:
        if (mapped := mapping.models.get(block.id)) is None:
            continue
        of_kind = groups.setdefault(mapped.kind, [[]])
        if any(block.id == other.id for other, _ in of_kind[-1]):  # one more of these
            of_kind.append([])
        of_kind[-1].append((block, mapped))
    kinds = sorted(groups, key=_FIRST.index)
    if is_first and not kinds:
        yield Device(ITSELF, _GATEWAY, common=common)
    role = _role(mapping, _text(_common(segment, readings), ("Opt",)))
    for kind in kinds:
        for blocks in groups[kind]:
            own = common if kind == kinds[0] else None
            itself = is_first and kind == kinds[0] and blocks is groups[kind][0]
            role = role if kind == "meter" else ""
            yield Device(ITSELF if itself else kind, kind, tuple(blocks), own, role)


def _role(mapping: Meanings, option: str) -> str:
    for begins, role in mapping.roles:
        if option.lower().startswith(begins.rstrip("*").lower()):
            return role
    return ""


def _named(device: Device, counts: Counter[str]) -> Device:
    if device.part == ITSELF:
        return device
    counts[device.kind] += 1
    return replace(device, part=f"{device.kind}_{counts[device.kind]}")


def _turned(device: Device, maker: Maker | None) -> Device:
    names = maker.turn.get(device.kind, ()) if maker and device.role != "pv" else ()
    return replace(device, turned=names)


# ---------------------------------------------------------------------- OutBack


def _ports(mapping: Meanings, chain: Chain, readings: Readings) -> Iterator[Device]:
    """Give the gateway, and the device at each port with its settings."""
    known = [
        (block, mapping.models[block.id]) for block in chain.blocks if block.id in mapping.models
    ]
    common = next((block for block in chain.blocks if block.id == COMMON), None)
    own = tuple((block, mapped) for block, mapped in known if mapped.kind == "site")
    yield Device(ITSELF, "site", own, common)
    taken: Counter[str] = Counter()
    settings = [(block, mapped) for block, mapped in known if mapped.pairs]
    for block, mapped in known:
        if not mapped.port or mapped.pairs:
            continue
        port = _port(block, mapped, readings)
        part = f"{mapped.kind}_{port}"
        taken[part] += 1
        pair = next(
            (
                each
                for each in settings
                if block.id in each[1].pairs and _port(*each, readings) == port
            ),
            None,
        )
        if pair:
            settings.remove(pair)
        name = part if taken[part] == 1 else f"{part}_{taken[part]}"
        yield Device(name, mapped.kind, ((block, mapped), *((pair,) if pair else ())))


def _port(block: Block, mapped: Mapped, readings: Readings) -> int | str:
    reading = readings.get(block.name, {}).get(mapped.port)
    return int(reading.value) if reading and isinstance(reading.value, int) else "x"
