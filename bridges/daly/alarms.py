"""The 64 bits of command 0x98, as V1.2 of the document has them; in V1.0 byte 0 is garbled."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

# Two bits each, from bit 0 of byte 0 on: level 1 warns, level 2 protects.
_LEVELS = (
    *("cell voltage high", "cell voltage low", "battery voltage high", "battery voltage low"),
    *("charge temperature high", "charge temperature low"),
    *("discharge temperature high", "discharge temperature low"),
    *("charge current high", "discharge current high"),
    *("state of charge high", "state of charge low"),
    *("cell voltage difference high", "temperature difference high"),
)
# By the byte, from its bit 0 on.
_FAULTS = {
    4: (
        *("charge MOSFET hot", "discharge MOSFET hot"),
        *("charge MOSFET temperature sensor failed", "discharge MOSFET temperature sensor failed"),
        *("charge MOSFET stuck closed", "discharge MOSFET stuck closed"),
        *("charge MOSFET stuck open", "discharge MOSFET stuck open"),
    ),
    5: (
        *("measuring chip failed", "cell voltage wire lost", "cell temperature sensor failed"),
        *("EEPROM failed", "clock failed", "precharge failed"),
        *("external communication failed", "internal communication failed"),
    ),
    6: (
        *("current module failed", "battery voltage detection failed"),
        *("short circuit protection", "voltage too low to charge"),
    ),
}
_TEXTS: Mapping[int, str] = MappingProxyType(
    {
        **{
            2 * at + level - 1: f"{name}, level {level}"
            for at, name in enumerate(_LEVELS)
            for level in (1, 2)
        },
        **{8 * byte + bit: n for byte, names in _FAULTS.items() for bit, n in enumerate(names)},
    }
)
_BITS_OF_BYTES = 7  # the eighth is a fault code


def words(data: bytes) -> Sequence[str]:
    """Name the alarms that are raised; a bit that no document names comes by its number."""
    return [
        _TEXTS.get(8 * byte + bit, f"unknown alarm, byte {byte} bit {bit}")
        for byte in range(_BITS_OF_BYTES)
        for bit in range(8)
        if data[byte] >> bit & 1
    ]
