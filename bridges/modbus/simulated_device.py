"""One simulated device with registers, as its profile says: a PDU in, a PDU out.

What it shows is a scene. Registers that no row names are 0 where the device lets them be read
along with others. Only what reads is answered; all else is refused, and writes are counted.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from bridges.modbus.codec import decode, encode
from bridges.modbus.registers import Group, Profile, Row
from bridges.modbus.simulated_scene import Scene
from bridges.modbus.types import TYPES, Value, Values
from heliobus.line import Faults
from heliobus.modbus import (
    DEVICE_FAILURE,
    FAILED,
    HOLDING,
    ILLEGAL_ADDRESS,
    ILLEGAL_FUNCTION,
    ILLEGAL_VALUE,
    INPUT,
    MOST_REGISTERS,
)
from heliobus.modbus_slave import IDENTIFY, LOOP_BACK, READ_IDENTIFICATION

_READ_BYTES = 5
_BASIC = 1
_WEAK_MOST = 100
# How far beyond its rows a device lets zeros be read.
_ROOM = 64
_SCALES: Mapping[str, float] = MappingProxyType({"v_pu": 180.0, "i_pu": 80.0})
_REVISION = "v01.04.02"


@dataclass(frozen=True, slots=True)
class Habits:
    """What no profile says: which functions one maker's devices know."""

    loop_back: bool = True
    identifies: bool = False


# Morningstar: TriStar MPPT MODBUS Specification v10, its list of functions.
_HABITS: Mapping[str, Habits] = MappingProxyType(
    {"Morningstar": Habits(loop_back=False, identifies=True)}
)


class Device:
    """A device of `profile` that shows `scene`.

    `polls` counts the polls of its fast rows that were answered whole.
    """

    def __init__(self, profile: Profile, scene: Scene) -> None:
        self.profile = profile
        self.scene = scene
        self.polls = 0
        self._habits = _HABITS.get(profile.maker, Habits())
        self._scales = {name: _SCALES.get(name, 1.0) for name in profile.scales}
        self._told = (*profile.scales.values(), *profile.identity.values(), *profile.rows)
        self._functions = {row.function for row in self._told}
        self._named = self._whole(self._told)
        fast = [row for row in profile.rows if row.group is Group.FAST]
        probe = [profile.probe] if profile.probe else []  # asked along at first
        asked = (*fast, *profile.scales.values(), *probe)
        align = profile.align
        self._starts = {(row.function, row.at // align * align) for row in asked}
        self._ends = {(row.function, -(-row.end // align) * align) for row in asked}
        self._fast = {(row.function, at) for row in fast for at in range(row.at, row.end)}
        self._unread = set(self._fast)

    def image(self, rows: Iterable[Row]) -> dict[tuple[int, int], int]:
        """Give the registers of some rows, all of one moment."""
        words: dict[tuple[int, int], int] = {}
        with self.scene.house:
            for row in rows:
                self._lay(row, words)
        return words

    def values(self) -> Values:
        """Give what its registers say, as the contract has it."""
        return decode(self.profile.rows, self.profile.scales, self.image(self._told))

    def wanted(self, row: Row) -> Value:
        """Give what a row is to say at this moment."""
        if row.type == "enum":
            known = [text for text in self.scene.texts(row.name) if text in row.texts.values()]
            return known[0] if known else next(iter(row.texts.values()), 0)
        if row.type == "bits":
            return bool(self.scene.number(row.name)) if row.is_flag else []
        if row.type == "text":
            return self.profile.models[0]
        number = float(self.scene.number(row.name))
        if row.least is not None:
            number = max(number, row.least)
        if row.most is not None:
            number = min(number, row.most)
        known_type = TYPES[row.type]
        return number if known_type.signed or known_type.is_float else max(0.0, number)

    def answer(self, pdu: bytes, faults: Faults) -> bytes:
        """Answer one request."""
        function = pdu[0]
        if function in {HOLDING, INPUT} and self._serves(function) and len(pdu) == _READ_BYTES:
            found = self._read(pdu, faults)
        elif function == LOOP_BACK and pdu[1:3] == b"\0\0" and self._habits.loop_back:
            found = pdu
        elif function == IDENTIFY and self._identifies and pdu[1:2] == b"\x0e":
            found = self._identification()
        else:
            found = ILLEGAL_FUNCTION
        return found if isinstance(found, bytes) else bytes([function | FAILED, found])

    def answered(self, pdu: bytes) -> None:
        """Learn that registers which were asked for so were given, and went out whole."""
        function, start, count = self._space(pdu[0]), *_place(pdu)
        if (function, start) not in self._starts or (function, start + count) not in self._ends:
            return  # of a slower group, even where it reaches over rows of the fast one
        self._unread -= {(function, at) for at in range(start, start + count)}
        if not self._unread:
            self.polls += 1
            self._unread = set(self._fast)

    # ------------------------------------------------------------------ registers

    def _serves(self, function: int) -> bool:
        return self.profile.either_function or function in self._functions

    def _space(self, function: int) -> int:
        """Give the function that the profile has for these registers."""
        return function if function in self._functions else next(iter(self._functions), function)

    def _read(self, pdu: bytes, faults: Faults) -> bytes | int:
        start, count = _place(pdu)
        most = min(self.profile.max_registers, MOST_REGISTERS)
        if not 1 <= count <= most or (count > _WEAK_MOST and faults.strikes("max100")):
            return ILLEGAL_VALUE
        if start % self.profile.align or count % self.profile.align:
            return ILLEGAL_ADDRESS
        function = self._space(pdu[0])
        wanted = range(start, start + count)
        if not self._readable(function, wanted):
            return ILLEGAL_ADDRESS
        if faults.strikes("nak"):
            return DEVICE_FAILURE
        words = self.image(
            row
            for row in self._told
            if row.function == function and row.at < wanted.stop and row.end > start
        )
        data = b"".join(words.get((function, at), 0).to_bytes(2) for at in wanted)
        return bytes([pdu[0], 2 * count]) + data

    def _readable(self, function: int, wanted: range) -> bool:
        if not self.profile.gaps:
            return all((function, at) in self._named for at in wanted)
        near = [at for known, at in self._named if known == function]
        return wanted.stop <= 1 << 16 and all(
            any(abs(at - one) <= _ROOM for at in near) for one in (wanted[0], wanted[-1])
        )

    def _lay(self, row: Row, words: dict[tuple[int, int], int]) -> None:
        """Lay what a row says beside the rest. Of two that share registers the first counts."""
        said = encode(row, self._said(row), self._scales)
        for at, word in enumerate(said, row.at):
            place = (row.function, at)
            if row.type == "bits":
                words[place] = words.get(place, 0) | word
            else:
                words.setdefault(place, word)

    def _said(self, row: Row) -> Value:
        for name, scale in self.profile.scales.items():
            if scale is row:
                return self._scales[name]
        for name, told in self.profile.identity.items():
            if told is row:
                return self._told_of_itself(name, row)
        return self.wanted(row)

    def _told_of_itself(self, name: str, row: Row) -> Value:
        model = self.profile.models[0]
        if row.type == "enum":
            return model if model in row.texts.values() else next(iter(row.texts.values()), 0)
        if row.type == "text":
            return {"model": model, "serial": f"SIM{self.scene.seed:05}"}.get(name, "1.04")
        return {"serial": 21_070_000 + self.scene.seed, "model": 1}.get(name, 29)

    def _whole(self, rows: tuple[Row, ...]) -> frozenset[tuple[int, int]]:
        align = self.profile.align
        return frozenset(
            (row.function, at // align * align + more)
            for row in rows
            for at in range(row.at, row.end)
            for more in range(align)
        )

    # ------------------------------------------------------------------ the rest

    @property
    def _identifies(self) -> bool:
        return self._habits.identifies

    def _identification(self) -> bytes:
        product = self.profile.models[0]
        if self.profile.identified not in product:
            product = f"{product}-{self.profile.identified}"
        objects = (self.profile.maker, product, _REVISION)
        head = bytes([IDENTIFY, READ_IDENTIFICATION, _BASIC, _BASIC, 0, 0, len(objects)])
        texts = [text.encode() for text in objects]
        return head + b"".join(bytes([at, len(text)]) + text for at, text in enumerate(texts))


def _place(pdu: bytes) -> tuple[int, int]:
    return int.from_bytes(pdu[1:3]), int.from_bytes(pdu[3:5])
