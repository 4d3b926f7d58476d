"""Which bridge a device belongs to, when two are configured for it.

The retained `info` of a device names its bridge. A bridge that finds another's, whose status is
not offline, keeps its hands off. Two that start at the same moment both publish; the broker puts
their messages in one order that both see, and the first one wins. Pure logic, no I/O.
"""

from collections.abc import Iterable
from enum import Enum


class Claim(Enum):
    """How a device stands with us."""

    PENDING = "pending"  # not known yet: the broker has not told all it retains
    CLAIMED = "claimed"  # our info is on its way
    OURS = "ours"
    THEIRS = "theirs"


class Claims:
    """The claims of bridge `me` on its devices."""

    def __init__(self, me: str, devices: Iterable[str], *, takeover: bool = False) -> None:
        self._me = me
        self._takeover = takeover
        self._claims = dict.fromkeys(devices, Claim.PENDING)
        self._holders: dict[str, str] = {}
        self._live: set[str] = set()

    def state(self, device: str) -> Claim:
        """Say how a device stands."""
        return self._claims[device]

    def holder(self, device: str) -> str | None:
        """Name the other bridge whose device it is."""
        return self._holders.get(device)

    def lost_connection(self) -> None:
        """Begin anew: what the broker retains may have changed."""
        self._claims = dict.fromkeys(self._claims, Claim.PENDING)
        self._holders.clear()
        self._live.clear()

    def take_status(self, component: str, *, offline: bool) -> list[str]:
        """Note whether a component lives. Return the devices that can be claimed now."""
        if not offline:
            self._live.add(component)
            return []
        self._live.discard(component)
        return self._claim(d for d, holder in self._holders.items() if holder == component)

    def take_info(self, device: str, bridge: str | None, *, takeover: bool = False) -> list[str]:
        """Note whose info stands on a device's topic (None: cleared).

        Return the devices whose info is to be published (again).
        """
        if device not in self._claims:
            return []
        claim = self._claims[device]
        if bridge == self._me:
            if claim is Claim.CLAIMED:
                self._claims[device] = Claim.OURS
            return []
        if bridge is None:
            self._holders.pop(device, None)
            return self._claim([device])
        if claim is Claim.OURS and bridge in self._live and not (takeover and not self._takeover):
            return [device]
        self._holders[device] = bridge
        if claim is not Claim.PENDING and bridge in self._live:
            self._claims[device] = Claim.THEIRS
        return []

    def settle(self) -> list[str]:
        """Decide what is pending: the broker has told all. Return the devices to publish."""
        pending = [device for device, claim in self._claims.items() if claim is Claim.PENDING]
        for device in pending:
            if self._holders.get(device) in self._live and not self._takeover:
                self._claims[device] = Claim.THEIRS
        return self._claim(pending)

    def _claim(self, devices: Iterable[str]) -> list[str]:
        claimed = []
        for device in devices:
            free = self._takeover or self._holders.get(device) not in self._live
            if free and self._claims[device] in (Claim.PENDING, Claim.THEIRS):
                self._claims[device] = Claim.CLAIMED
                claimed.append(device)
        return claimed
