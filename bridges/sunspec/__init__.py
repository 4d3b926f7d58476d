"""Bridge to devices that describe their registers by SunSpec: inverters, meters, batteries.

A device is walked once (chain.py): its chain of models says what it is, and which devices are
behind it (devices.py). From then on its models are read one by one, each with its scale factors.
Registers become points by the definitions in models/ (codec.py), points become fields by the
tables in mapping/ (mapping.py reads them, values.py applies them), and fields go to the device that
they belong to (devices.py). All of that is pure; what asks, when, and what is done about devices
that refuse or fall silent is here. Nothing is ever written.
"""

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from bridges.sunspec import models
from bridges.sunspec.chain import COMMON, Block, Chain, Moved, read_block, unchanged, walk
from bridges.sunspec.codec import HEADER, Reading, decode
from bridges.sunspec.devices import ITSELF, Layout, Leanings, identity, lay_out
from bridges.sunspec.mapping import Mapped, adapted, ported
from bridges.sunspec.options import Options
from bridges.sunspec.resting import is_resting
from bridges.sunspec.values import Values, plausible, turned
from heliobus.bridge import Group, Identity, Part, Parts
from heliobus.errors import FrameError
from heliobus.exchange import Silence
from heliobus.faults import Faults
from heliobus.master import Manner, Master, open_master
from heliobus.modbus import (
    HOLDING,
    ILLEGAL_ADDRESS,
    LACKING,
    SILENT_BEHIND_A_GATEWAY,
    Read,
    Refused,
)
from heliobus.settings import DeviceSettings

__all__ = ["BRIDGE", "SunSpec"]

_log = logging.getLogger(__name__)

_FAST, _SLOW, _LAYOUT = "fast", "slow", "layout"
# What was added to a gateway, or was still starting, is found after this time at the latest.
_LAYOUT_S = 600.0
# What one poll takes over a network; on a serial line it is more, and then it is late.
_WIRE_S = 0.5
# A MATE3S stumbles over longer requests (adamcharnock/mate3 asks for 100), and hangs when it is
# asked faster (its README).
_OUTBACK_MOST = 100
_OUTBACK_EVERY_S = 1.0
# A model that never answers is left out after so many polls in which others did.
_MOST_SILENCES = 3

_ReadRegisters = Callable[[int, int], Sequence[int]]


class SunSpec:
    """One SunSpec device, and those behind it. Options: see config.json."""

    def __init__(self, device: DeviceSettings) -> None:
        self._name = device.name
        self._options = options = Options.of(device.options)
        self._manner = Manner(options.timeout_s, options.pause_s, options.keep)
        self.groups: Sequence[Group] = (
            Group(_FAST, device.every_s, _WIRE_S),
            Group(_SLOW, max(options.slow_s, device.every_s), _WIRE_S),
            Group(_LAYOUT, _LAYOUT_S, _WIRE_S),
        )
        self._faults = Faults(_log)
        self._chain: Chain | None = None
        self._layout = Layout.nothing()
        self._told: dict[str, Mapping[str, Reading]] = {}  # who they are, by the block
        self._slow: dict[str, Values] = {}
        self._signs: Leanings = {}
        self._given: set[Block] = set()
        self._refused: set[Block] = set()
        self._fell_silent: set[Block] = set()  # at their last turn
        self._silences: Counter[Block] = Counter()  # while others answered
        self._is_there = False  # the device answered at its last turn
        self._doubtful = False
        self._fresh = False  # walked since the last look
        self._resting = False
        self._parts = {part: Part("", name=name) for part, name in options.parts.items()}

    @staticmethod
    def open_link(url: str, devices: Sequence["SunSpec"]) -> Master:  # noqa: ARG004 - all alike
        """Open the way to these devices."""
        return open_master(url, line={"baud": "9600", "parity": "N", "stopbits": "1"})

    @property
    def kind(self) -> str:
        """Name the kind, "" until its chain is known."""
        return self._layout.itself.kind if self._layout.itself else ""

    @property
    def role(self) -> str:
        """Say what it measures where its owner does not."""
        return self._layout.itself.role if self._layout.itself else ""

    @property
    def identity(self) -> Identity:
        """Give what the device has said of itself."""
        itself = self._layout.itself
        return identity(itself, self._told) if itself else Identity()

    @property
    def parts(self) -> Mapping[str, Part]:
        """Give the devices behind it."""
        return self._parts

    def forget(self) -> None:
        """Doubt what was learned: another device may be there, or one more behind it."""
        self._doubtful = True
        self._signs = {}

    def poll(self, link: Master, group: str) -> Parts:
        """Ask one group. Raise FrameError, LinkError."""
        try:
            return self._poll(partial(self._read, link), group)
        finally:
            if self._options.release:
                link.release()

    def asleep(self, *, lost: bool) -> Values | None:  # noqa: ARG002 - its link is within it
        """Give what an inverter says at night: nothing but that it is asleep."""
        return {"mode": "asleep"} if self._resting else None

    # ------------------------------------------------------------------ asking

    def _poll(self, read: _ReadRegisters, group: str) -> Parts:
        self._look(read, again=group == _LAYOUT)
        if group == _LAYOUT:
            self._refused.clear()  # what was refused at dawn may be there by now
            return Parts({})
        try:
            found = self._parts_of(self._ask(read, group))
        except Moved as error:
            _log.info("%s: %s", self._name, error)
            self._learn(read)
            found = self._parts_of(self._ask(read, group))
        if group == _SLOW:
            self._slow = found
            self._name_parts()
            return Parts(found)
        return Parts(self._fast(found))

    def _read(self, link: Master, start: int, count: int) -> Sequence[int]:
        try:
            return link.read(Read(self._options.unit, HOLDING, start, count), self._manner)
        except Refused as error:
            if error.code in SILENT_BEHIND_A_GATEWAY:
                raise Silence(str(error)) from error
            raise

    def _ask(self, read: _ReadRegisters, group: str) -> dict[str, Mapping[str, Reading]]:
        """Read the models of a group. Raise FrameError where none can be read, Moved."""
        is_there, self._is_there = self._is_there and group != _FAST, False
        found: dict[str, Mapping[str, Reading]] = {}
        refused: dict[Block, Refused] = {}
        silent: dict[Block, FrameError] = {}
        for block, mapped in self._wanted(group):
            try:
                found[block.name] = self._at_port(block, mapped.port, self._block(read, block))
            except (Refused, Silence) as error:
                if isinstance(error, Refused) and error.code in LACKING:
                    refused[block] = error
                    continue
                self._fell_silent.add(block)
                if not found and not is_there:
                    raise
                silent[block] = error
                if len(silent) > 1:  # perhaps it went away meanwhile: no timeout for each model
                    break
            else:
                self._answered(block)
        if refused and not found and group == _FAST:
            raise next(iter(refused.values()))
        self._is_there = is_there or bool(found)
        self._leave_out(refused)
        self._bear(silent)
        return found

    def _answered(self, block: Block) -> None:
        self._given.add(block)
        self._fell_silent.discard(block)
        self._silences.pop(block, None)
        self._faults.over(block.name, f"{self._name}: model {block.id} is read again")

    def _wanted(self, group: str) -> list[tuple[Block, Mapped]]:
        """Give the models of a group, those that fell silent last."""
        wanted = [
            (block, mapped)
            for device in self._layout.devices
            for block, mapped in device.blocks
            if mapped.slow == (group == _SLOW) and block not in self._refused
        ]
        return sorted(wanted, key=lambda each: each[0] in self._fell_silent)

    def _at_port(
        self, block: Block, port: str, points: Mapping[str, Reading]
    ) -> Mapping[str, Reading]:
        """See that a block is still of the same device: all of a kind look alike. Raise Moved."""
        was, now = (each.get(port) for each in (self._told.get(block.name, {}), points))
        if was != now:
            raise Moved(
                f"model {block.id} at {block.at} is of another port; walking the chain again"
            )
        return points

    def _block(self, read: _ReadRegisters, block: Block) -> Mapping[str, Reading]:
        model = models.find(block.id)
        words = read_block(read, block, most=self._most)
        return decode(adapted(model, self._layout.maker), words) if model else {}

    @property
    def _most(self) -> int:
        most = self._options.max_registers
        return min(most, _OUTBACK_MOST) if self._layout.is_gateway else most

    def _leave_out(self, refused: Mapping[Block, Refused]) -> None:
        """Ask no more for what was refused, unless it has once been given: it may be busy."""
        for block, error in refused.items():
            if block not in self._given:
                self._refused.add(block)
            elif error.code == ILLEGAL_ADDRESS:
                self._doubtful = True
            self._report(block, error)

    def _bear(self, silent: Mapping[Block, FrameError]) -> None:
        """Go on without what fell silent, or was busy, while others answered."""
        for block, error in silent.items():
            self._silences[block] += 1
            if block not in self._given and self._silences[block] >= _MOST_SILENCES:
                self._refused.add(block)
            self._report(block, error)

    def _report(self, block: Block, error: FrameError) -> None:
        self._faults.report(
            block.name,
            f"{self._name}: model {block.id} at {block.at} cannot be read ({error}); going on"
            " without it",
        )

    # ------------------------------------------------------------------ values

    def _parts_of(self, readings: Mapping[str, Mapping[str, Reading]]) -> dict[str, Values]:
        told = {name: points for name, points in readings.items() if name in self._names}
        self._told.update(told)
        self._signs = self._layout.leanings(readings, self._signs)
        found = self._layout.parts(readings, self._signs)
        return {
            part: turned(values, self._options.inverted.get(part, ()))
            for part, values in found.items()
        }

    @property
    def _names(self) -> frozenset[str]:
        """Name the blocks in which devices say who they are."""
        blocks = (each for device in self._layout.devices for each in device.blocks)
        return frozenset(block.name for block, mapped in blocks if mapped.identity)

    def _fast(self, found: dict[str, Values]) -> dict[str, Values]:
        found = {part: plausible(own, self._rated_w(part)) for part, own in found.items()}
        if self._layout.is_gateway:
            whole = {part: {**self._slow.get(part, {}), **own} for part, own in found.items()}
            found[ITSELF] = found.get(ITSELF, {}) | self._layout.totals(whole)
        if self.kind == "inverter" and ITSELF in found:
            is_hybrid = ITSELF in self._layout.hybrid
            own = found[ITSELF]
            self._resting = is_resting(own, self._rated_w(ITSELF), is_hybrid=is_hybrid)
        return found

    def _rated_w(self, part: str) -> float | None:
        rated = self._slow.get(part, {}).get("output_rated_w")
        return rated if isinstance(rated, int | float) else None

    # ------------------------------------------------------------------ the chain

    def _look(self, read: _ReadRegisters, *, again: bool) -> None:
        """Know the chain: walk it at first, and again where it is not what it was."""
        fresh, self._fresh = self._fresh, self._fresh and not again
        if self._chain is None:
            self._learn(read)
        elif self._doubtful or (again and not fresh):
            # A chain that nothing ends may have become longer.
            may_go_on = self._chain.end is None and again
            if may_go_on or not self._is_same(read, self._chain):
                self._learn(read)
            self._doubtful = False

    def _is_same(self, read: _ReadRegisters, chain: Chain) -> bool:
        if not unchanged(read, chain):
            return False
        first = chain.blocks[0]
        said = self._told.get(first.name)
        return said is None or self._block(read, first) == said

    def _learn(self, read: _ReadRegisters) -> None:
        """Walk the chain, and hear who is there."""
        chain = walk(read, self._options.bases)
        for warning in set(chain.warnings) - set(self._chain.warnings if self._chain else ()):
            # Many devices end their chain like this; only a silence may hide something.
            _log.log(logging.INFO if chain.sure else logging.WARNING, "%s: %s", self._name, warning)
        told = self._introductions(read, chain)
        layout = lay_out(chain, told)
        if layout.is_empty:
            found = ", ".join(str(block.id) for block in chain.blocks)
            raise FrameError(f"it has models {found}, of which heliobus can show none")
        if told != self._told:
            self._slow, self._signs = {}, {}  # of another device
        self._chain, self._layout, self._told = chain, layout, told
        self._refused.clear()
        self._doubtful, self._fresh = False, chain.sure
        self._name_parts()
        self._compare_parts()
        if layout.is_gateway:
            self._slow_down()

    def _slow_down(self) -> None:
        beat, *others = self.groups
        if beat.every_s < _OUTBACK_EVERY_S:
            _log.warning(
                "%s: asked every %g s at most: a MATE3 may hang", self._name, _OUTBACK_EVERY_S
            )
            self.groups = (replace(beat, every_s=_OUTBACK_EVERY_S), *others)

    def _introductions(
        self, read: _ReadRegisters, chain: Chain
    ) -> dict[str, Mapping[str, Reading]]:
        """Read what each device says of itself, and at which ports of a gateway they are."""
        found = {}
        with_port = ported(block.id for block in chain.blocks)
        for block in chain.blocks:
            try:
                if block.id == COMMON:
                    found[block.name] = self._block(read, block)
                elif block.id in with_port and (model := models.find(block.id)) is not None:
                    found[block.name] = decode(model, read(block.at, HEADER + 1))
            except Refused as error:
                if error.code not in LACKING:
                    raise
                self._report(block, error)
        return found

    def _name_parts(self) -> None:
        """Tell of the devices behind it; what was told of before stays."""
        role = self._options.role
        new = {
            device.part: Part(
                kind=device.kind,
                identity=identity(device, self._told, maker=self.identity.maker),
                role=(device.role or role) if device.kind == "meter" else "",
                name=self._options.parts.get(device.part, ""),
            )
            for device in self._layout.devices
            if device.part != ITSELF
        }
        self._parts = {**self._parts, **new}

    def _compare_parts(self) -> None:
        """Say which parts of the configuration are not there: off, or misspelled."""
        there = [device.part for device in self._layout.devices if device.part != ITSELF]
        if missing := [part for part in self._options.parts if part not in there]:
            known = ", ".join(there) or "none"
            text = f"{self._name}: parts: no {', '.join(missing)} behind it; there are: {known}"
            self._faults.report("parts", text)
        else:
            self._faults.over("parts", f"{self._name}: all that parts names is there")


BRIDGE = SunSpec
