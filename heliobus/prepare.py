"""What a sink needs at its server, made once with the administrator's secret.

Running components never see that secret: it is read here from a file of its own.
"""

import os
import shlex
from pathlib import Path
from typing import TextIO

from heliobus import components
from heliobus.credentials import looseness, read_secret
from heliobus.errors import ConfigError
from heliobus.settings import Settings


def run(settings: Settings, name: str, admin_file: Path | None, out: TextIO) -> int:
    """Prepare the server of the sink `name`, and say what was done. Raise ConfigError, SinkError.

    `admin_file` None: the sink itself says whether it needs one.
    To be called again whenever something is missing: what is there is left as it is.
    """
    sink = settings.sinks.get(name)
    if sink is None:
        known = ", ".join(settings.sinks) or "none"
        raise ConfigError(f"no sink is called {name!r}; the configuration has: {known}")
    if not components.stores(sink.type):
        print(f"{name!r} needs no preparation", file=out)
        return 0
    prepare, admin = components.preparer(sink.type), read_secret(admin_file) if admin_file else ""
    done = [*prepare(sink, folder=settings.folder, admin=admin)]
    # In a container it is given by somebody else, and is no business of who runs this.
    if admin_file and os.access(admin_file.absolute().parent, os.W_OK):
        if told := looseness(admin_file):
            done.append(f"warning: {told}")
        done.append(f"now delete the administrator's file: rm {shlex.quote(str(admin_file))}")
    out.writelines(f"{line}\n" for line in done)
    return 0
