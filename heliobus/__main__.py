"""The command `heliobus`: prepares the import path, runs the command line, words what failed.

Exit status: 0 done, 1 failed or a bug, 2 wrong usage, 78 the configuration (EX_CONFIG, so that
systemd can tell that starting again is no use), 130 Ctrl-C.
"""

import os
import sys
from pathlib import Path

_CONFIGURATION = 78
_INTERRUPTED = 130


def main() -> int:
    """Run the command line and give the exit status."""
    # A wheel carries bridges, sinks, broker and schemas below heliobus/_app, out of the way of
    # packages of the same names. They must be found before those.
    app = Path(__file__).with_name("_app")
    if app.is_dir():
        sys.path.insert(0, str(app))
    from heliobus.cli import run
    from heliobus.errors import ConfigError, HeliobusError

    try:
        return run()
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return _CONFIGURATION
    except HeliobusError as error:
        sys.stderr.write(f"{error}\n")
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has seen enough; the flush at exit must not complain either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception:
        import logging

        logging.getLogger("heliobus").exception("a bug in heliobus; please report these lines")
    return 1


if __name__ == "__main__":
    sys.exit(main())
