"""What is given before every command: which configuration."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from heliobus.settings import Settings


@dataclass(frozen=True, slots=True)
class Options:
    """What was given before the command."""

    config: Path
    is_named: bool

    @property
    def command(self) -> str:
        """Give the beginning of a command on the same configuration."""
        return f"heliobus -c {shlex.quote(str(self.config))}" if self.is_named else "heliobus"

    def looked_at(self, *, simulate: bool) -> "Settings":
        """Load it for those who only look; `simulate`: what `up --simulate` runs or has run."""
        if not simulate:
            return self.settings()
        from heliobus import config, simulated_site

        path = simulated_site.looked_at(self.settings(broker_files=False), self.command)
        return config.read(path).settings

    def settings(self, *, broker_files: bool = True) -> "Settings":
        """Load it; without `broker_files` those may be missing, as they are about to be made."""
        from heliobus import config

        if not broker_files:
            return config.read(self.config, broker_files=False).settings
        return config.load(self.config)
