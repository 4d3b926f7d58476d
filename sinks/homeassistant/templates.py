"""The templates in which Home Assistant reads a value from a message.

They give a value of the right sort or none, whatever the message is: without the key, with null or
another type in it, empty, or no JSON at all. Home Assistant logs a warning or an error for each
message on anything else. None is "unknown" there.
"""

import string
from collections.abc import Sequence
from typing import Final

LONGEST_STATE: Final = 255  # characters of a state there
ALWAYS_ONLINE: Final = "online"  # text that is no template is given as it is
_PLAIN: Final = frozenset(string.ascii_letters + string.digits + " _.,:;()/+-")


def path(*keys: str) -> str:
    """Give the expression for the value at a path of keys; an undefined one where there is none."""
    found = "value_json"
    for key in keys:
        found = f"({found} | default({{}}))[{quoted(key)}]"
    return found


def number(found: str, within: tuple[float, float] = (-1e99, 1e99), shown: str = "v") -> str:
    """Give a finite number `v` within these limits, or what is made of it."""
    low, high = within
    is_good = f"v is number and v is not boolean and {low!r} <= v <= {high!r}"
    return of(found, f"{shown} if {is_good} else none")


def on_off(found: str) -> str:
    """Give ON for true and OFF for false."""
    return of(found, "'ON' if v is true else 'OFF' if v is false else none")


def one_of(found: str, options: Sequence[str]) -> str:
    """Give a text of the list."""
    return of(found, f"v if v is string and v in {_list(options)} else none")


def text(found: str) -> str:
    """Give any value as a text, cut where it is too long; a list as its texts, or 'none'."""
    joined = "(v | join(', ') or 'none') if v is sequence and v is not string else v | string"
    return of(found, f"none if v is none else ({joined})[:{LONGEST_STATE}]")


def offline_if(found: str) -> str:
    """Give offline where the value is just that, else online."""
    return of(found, "'offline' if v == 'offline' else 'online'")


def quoted(word: str) -> str:
    """Write a text as a template has it, so that nothing in it is taken for a part of that."""
    return '"' + "".join(c if c in _PLAIN else f"\\U{ord(c):08x}" for c in word) + '"'


def of(found: str, result: str) -> str:
    """Give a result that is made of a value `v`, which is none where there is no value."""
    return f"{{% set v = {found} | default(none) %}}{{{{ {result} }}}}"


def _list(words: Sequence[str]) -> str:
    return f"[{', '.join(map(quoted, words))}]"
