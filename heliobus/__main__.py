"""The command `heliobus`: prepares the import path and runs the command line.

Exit status: 0 done, 1 failed or a bug, 2 wrong usage, 78 the configuration (EX_CONFIG, so that
systemd can tell that starting again is no use), 130 Ctrl-C.
"""

import os
import sys
from pathlib import Path

_INTERRUPTED = 130


def main() -> int:
    """Run the command line and give the exit status."""
    # A wheel carries bridges, sinks, broker and schemas below heliobus/_app, out of the way of
    # packages of the same names. They must be found before those.
    app = Path(__file__).with_name("_app")
    if app.is_dir():
        sys.path.insert(0, str(app))
    from heliobus.cli import run
    from heliobus.guard import guarded

    try:
        return guarded(run, lambda text: sys.stderr.write(f"{text}\n"))
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has seen enough; the flush at exit must not complain either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


if __name__ == "__main__":
    sys.exit(main())
