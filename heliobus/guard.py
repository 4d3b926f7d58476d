"""How a process ends: the signals that ask for it, and the one place where any exception ends."""

import logging
import signal
import threading
from collections.abc import Callable

from heliobus.errors import ConfigError, HeliobusError

log = logging.getLogger("heliobus")

EXIT_STOPPED = 0
EXIT_FAILED = 1
EXIT_CONFIG = 78  # EX_CONFIG of sysexits(3): starting again is no use


def stop_on(*numbers: signal.Signals) -> threading.Event:
    """Give an event that these signals set."""
    stop = threading.Event()
    for number in numbers:
        signal.signal(number, lambda *_: stop.set())
    return stop


def guarded(work: Callable[[], int], say: Callable[[str], object]) -> int:
    """Run the work of a process and give its exit status; errors are said in their own words.

    Raise KeyboardInterrupt and BrokenPipeError: they are no failures of ours.
    """
    try:
        return work()
    except ConfigError as error:
        say(str(error))
        return EXIT_CONFIG
    except HeliobusError as error:
        say(str(error))
    except BrokenPipeError:
        raise
    except Exception:
        log.exception("a bug in heliobus; please report these lines")
    return EXIT_FAILED
