"""What was published and has not come back from the broker yet.

A broker may refuse a config, lose it, or have it changed by somebody else; what it retains is what
Home Assistant knows. So all that we publish there is listened to as well.
"""

from typing import Final

# What has not come back by then is published again.
COMES_BACK_S: Final = 60.0
# Of one topic; a broker that brings back nothing at all must not cost more and more.
_MOST: Final = 8


class Echoes:
    """The payloads by the ids of their devices, in the order in which they were published."""

    def __init__(self) -> None:
        self._awaited: dict[str, list[bytes]] = {}
        self._since_s: dict[str, float] = {}
        self.late: set[str] = set()  # what had to be published again

    def __contains__(self, name: object) -> bool:
        """Say whether anything of it is awaited."""
        return name in self._awaited

    def clear(self) -> None:
        """Await nothing."""
        self._awaited.clear()
        self._since_s.clear()
        self.late.clear()

    def sent(self, name: str, payload: bytes, now_s: float) -> None:
        """Await what was published now."""
        awaited = self._awaited.setdefault(name, [])
        if awaited[-1:] != [payload]:
            awaited.append(payload)
            del awaited[:-_MOST]
        self._since_s[name] = now_s

    def came(self, name: str, payload: bytes) -> bool:
        """Take note of what has come. Say whether it is ours."""
        awaited = self._awaited.get(name, [])
        if payload not in awaited:
            return False
        del awaited[: awaited.index(payload) + 1]
        if not awaited:
            del self._awaited[name]
            del self._since_s[name]
            self.late.discard(name)
        return True

    def overdue(self, now_s: float) -> list[str]:
        """Name what should have come back by now, to be published again."""
        found = [name for name, at_s in self._since_s.items() if now_s >= at_s + COMES_BACK_S]
        self.late.update(found)
        return found
