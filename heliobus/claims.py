"""Which bridge a device belongs to, when two are configured for it.

The retained `info` of a device names its bridge. A bridge that finds another's, whose status is
not offline, keeps its hands off. Of those that start at the same moment and all publish, the one
whose name comes first keeps the device: the order of their messages would not do, as one of them
may be gone before the others have read it. Pure logic, no I/O.
"""

from collections.abc import Iterable, KeysView
from enum import Enum


class Claim(Enum):
    """How a device stands with us."""

    PENDING = "pending"  # not known yet: the broker has not told all it retains
    CLAIMED = "claimed"  # our info is on its way
    OURS = "ours"
    THEIRS = "theirs"


class Claims:
    """The claims of bridge `me` on its devices, of which there may be more with time."""

    def __init__(self, me: str, devices: Iterable[str], *, takeover: bool = False) -> None:
        self._me = me
        self._takeover = takeover
        self._claims = dict.fromkeys(devices, Claim.PENDING)
        self._holders: dict[str, tuple[str, bool]] = {}  # its bridge, and whether that takes over
        self._live: set[str] = set()
        self._settled = False

    @property
    def devices(self) -> KeysView[str]:
        """Name all devices that we know."""
        return self._claims.keys()

    def __contains__(self, device: str) -> bool:
        """Say whether we know a device."""
        return device in self._claims

    def holds(self, device: str) -> bool:
        """Say whether a device is ours to speak for; one not known yet is not. From any thread."""
        return self._claims.get(device) in (Claim.CLAIMED, Claim.OURS)

    def refuses(self, device: str) -> bool:
        """Say whether a device is another's, as far as is known; also of one not known yet."""
        if device in self._claims:
            return self._claims[device] is Claim.THEIRS
        return self._settled and not self._is_free(device)

    def add(self, devices: Iterable[str]) -> list[str]:
        """Take up devices that were found just now. Return those to publish."""
        new = [device for device in devices if device not in self._claims]
        self._claims.update(dict.fromkeys(new, Claim.PENDING))
        return self.settle() if self._settled else []

    def state(self, device: str) -> Claim:
        """Say how a device stands."""
        return self._claims[device]

    def holder(self, device: str) -> str | None:
        """Name the other bridge whose device it is."""
        return self._holders[device][0] if device in self._holders else None

    def lost_connection(self) -> None:
        """Begin anew: what the broker retains may have changed."""
        self._claims = dict.fromkeys(self._claims, Claim.PENDING)
        self._holders.clear()
        self._live.clear()
        self._settled = False

    def take_status(self, component: str, *, offline: bool) -> list[str]:
        """Note whether a component lives. Return the devices that can be claimed now."""
        if not offline:
            self._live.add(component)
            return []
        self._live.discard(component)
        held = [d for d in self._holders if self.holder(d) == component]
        return self._claim([d for d in held if d in self._claims])

    def take_info(self, device: str, bridge: str | None, *, takeover: bool = False) -> list[str]:
        """Note whose info stands on a device's topic (None: cleared), also of one not known yet.

        Return the devices whose info is to be published (again).
        """
        claim = self._claims.get(device)
        if claim is None:
            self._holders.pop(device, None)
            if bridge is not None and bridge != self._me:
                self._holders[device] = bridge, takeover
            return []
        if bridge == self._me:
            if claim is Claim.CLAIMED:
                self._claims[device] = Claim.OURS
            return []
        if bridge is None:
            self._holders.pop(device, None)
            # Its former bridge clears it when it starts: maybe after we have said that it is ours.
            return [device] if claim is Claim.OURS else self._claim([device])
        if bridge in self._live and self._keeps(claim, bridge, takeover=takeover):
            return [device] if claim is Claim.OURS else []
        self._holders[device] = bridge, takeover
        if claim is Claim.PENDING:
            return []
        if bridge in self._live:
            self._claims[device] = Claim.THEIRS
        return self._claim([device])

    def _keeps(self, claim: Claim, bridge: str, *, takeover: bool) -> bool:
        """Say whether a claim of ours stands against another's, which thinks the opposite."""
        if claim not in (Claim.CLAIMED, Claim.OURS):
            return False
        return self._me < bridge if takeover == self._takeover else self._takeover

    def settle(self) -> list[str]:
        """Decide what is pending: the broker has told all. Return the devices to publish."""
        self._settled = True
        pending = [device for device, claim in self._claims.items() if claim is Claim.PENDING]
        for device in pending:
            if not self._is_free(device):
                self._claims[device] = Claim.THEIRS
        return self._claim(pending)

    def _claim(self, devices: Iterable[str]) -> list[str]:
        claimed = []
        for device in devices:
            if self._is_free(device) and self._claims[device] in (Claim.PENDING, Claim.THEIRS):
                self._claims[device] = Claim.CLAIMED
                claimed.append(device)
        return claimed

    def _is_free(self, device: str) -> bool:
        holder, takes_over = self._holders.get(device, ("", False))
        return holder not in self._live or (self._takeover and not takes_over)
