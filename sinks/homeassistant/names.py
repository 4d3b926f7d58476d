"""Ids for Home Assistant: made of the names on the bus, never of titles, and read back.

    heliobus_farm_inverter            a device
    heliobus_farm_inverter-pv_01      a part of it: a string, a pack
    heliobus_farm-bus-axpert          a component
    heliobus_old_farm--inverter       a device of a site whose own name has an underscore

So no two of them can be alike, whatever underscores the names have. Discovery topics allow letters,
digits, _ and -.
"""

from dataclasses import dataclass

_PREFIX = "heliobus_"
_BUS = "bus"


@dataclass(frozen=True, slots=True)
class Place:
    """What an id stands for: a device (or a part of it), or a component."""

    site: str
    device: str = ""
    part: str = ""
    component: str = ""

    @property
    def id(self) -> str:
        """Give the id: in the discovery topic, and the device's identifier."""
        if self.component:
            return f"{_PREFIX}{self.site}-{_BUS}-{self.component}"
        between = "--" if "_" in self.site else "_"
        whole = f"{_PREFIX}{self.site}{between}{self.device}"
        return f"{whole}-{self.part}" if self.part else whole

    @property
    def whole(self) -> "Place":
        """Give the device that this is a part of, or itself."""
        return Place(self.site, self.device, component=self.component)

    @property
    def owner(self) -> str:
        """Give the name on the bus: the device's or the component's."""
        return self.component or self.device

    def unique_id(self, *names: str) -> str:
        """Give the id of an entity; no name has a -, so that no two entities can have the same.

        A part's fields say by themselves whose they are.
        """
        return "-".join((self.whole.id, *names))

    def entity_id(self, platform: str, field: str) -> str:
        """Give the entity id to begin with: readable, so that two of them may be alike."""
        owner = f"{_BUS}_{self.component}" if self.component else self.device
        words = f"{self.site}_{owner}_{field}".split("_")
        return f"{platform}.{'_'.join(filter(None, words)) or _BUS}"  # no double _ there


def place(text: str) -> Place | None:
    """Read an id; None when it is none of ours."""
    if not text.startswith(_PREFIX):
        return None
    match text.removeprefix(_PREFIX).split("-"):
        case [site, "bus", component]:
            found = Place(site, component=component)
        case [site, "", device, *part]:
            found = Place(site, device, *part[:1])
        case [both, *part]:
            site, _, device = both.partition("_")
            found = Place(site, device, *part[:1])
        case _:
            return None
    return found if found.id == text and found.owner and found.site else None
