"""Every topic of heliobus, built and parsed here and nowhere else.

heliobus/<site>/<device>/<leaf>                of a device: state, info, availability, result
heliobus/<site>/<device>/set/<issuer>          a command to it
heliobus/<site>/bus/<component>/<leaf>         of a component: status, event, rejected, ...
heliobus/<site>/bus/<component>/set/<device>/<name>   a plain value, of which it makes a command
"""

import re
from dataclasses import dataclass

from heliobus.errors import ConfigError

SLUG = re.compile(r"[a-z0-9_]{1,63}\Z")
BUS = "bus"


def fits(text: str) -> bool:
    """Say whether something of ours may have this name in a topic."""
    return bool(SLUG.match(text)) and text != BUS


def slug(text: str, what: str) -> str:
    """Give the name back when it may stand in a topic; else raise ConfigError."""
    if not SLUG.match(text):
        raise ConfigError(f"{what}: found {text!r}, expected lower-case letters, digits and _")
    if text == BUS:
        raise ConfigError(f"{what}: the name 'bus' is reserved; choose another")
    return text


@dataclass(frozen=True, slots=True)
class Address:
    """What a topic names: a device's or (with `component`) a component's leaf.

    `name` is the command that a plain value is for.
    """

    site: str
    leaf: str
    device: str | None = None
    component: str | None = None
    issuer: str | None = None
    name: str | None = None

    @property
    def misnamed(self) -> str | None:
        """Give the first of its names that nothing of ours may have; None: all are well."""
        names = (self.site, self.device, self.component, self.name)
        return next((n for n in names if n is not None and not SLUG.match(n)), None)


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics of one site below one base topic."""

    site: str
    base: str = "heliobus"

    def device(self, device: str, leaf: str) -> str:
        """Name a device's topic: state, info, availability or result."""
        return f"{self.base}/{self.site}/{device}/{leaf}"

    def component(self, component: str, leaf: str) -> str:
        """Name a component's topic: status, event, rejected, replay or history."""
        return f"{self.base}/{self.site}/{BUS}/{component}/{leaf}"

    def command(self, device: str, issuer: str) -> str:
        """Name the topic on which `issuer` commands a device."""
        return f"{self.base}/{self.site}/{device}/set/{issuer}"

    def value(self, component: str, device: str, name: str) -> str:
        """Name the topic on which a component takes a plain value for a command to a device."""
        return f"{self.component(component, 'set')}/{device}/{name}"

    def parse(self, topic: str) -> Address | None:
        """Take a topic below the base apart; None when it is not one of ours."""
        prefix = self.base + "/"
        if not topic.startswith(prefix):
            return None
        match topic[len(prefix) :].split("/"):
            case [site, "bus", component, leaf] if component and leaf:
                return Address(site=site, leaf=leaf, component=component)
            case [site, "bus", component, "set", device, name] if component and device and name:
                return Address(site, "set", device=device, component=component, name=name)
            case [site, device, "set", issuer] if device != BUS and device and issuer:
                return Address(site=site, leaf="set", device=device, issuer=issuer)
            case [site, device, leaf] if device != BUS and device and leaf:
                return Address(site=site, leaf=leaf, device=device)
        return None
