"""The command `watch`: the bus, live. A table on a terminal, a line per sample elsewhere."""

import os
import queue
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import TextIO

from heliobus import contract
from heliobus.board import Board
from heliobus.bus import Bus, Message
from heliobus.sample import dumps
from heliobus.settings import Settings
from heliobus.topics import Topics

REFRESH_S = 0.5
# Let the table have the whole screen while it is shown, and give the old one back afterwards.
_OPEN_SCREEN, _CLOSE_SCREEN = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
_HOME, _CLEAR_LINE, _CLEAR_REST = "\x1b[H", "\x1b[K", "\x1b[J"


def run(settings: Settings, wanted: str = "") -> int:
    """Show the bus until Ctrl-C or SIGTERM."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    show(settings, wanted, stop)
    return 0


def show(
    settings: Settings,
    wanted: str,
    stop: threading.Event,
    *,
    head: str = "",
    seen: Callable[[Message], None] = lambda _message: None,
) -> None:
    """Show the bus until `stop`; `seen` is told of every message, `head` stands above the table."""
    topics = Topics(settings.site, settings.base_topic)
    board = Board(contract.load(), topics, wanted)
    inbox: queue.Queue[Message] = queue.Queue()
    name = f"watch_{os.getpid()}"
    bus = Bus(
        settings.broker,
        name,
        # Nobody is to hear of a reader; a will there must be.
        will=(f"{settings.base_topic}-readers/{name}", dumps({"state": "offline"})),
        subscriptions=[(f"{settings.base_topic}/#", 1)],
        on_message=inbox.put,
    )
    bus.start()
    screen = Screen(sys.stdout, head)
    try:
        while not stop.is_set():
            lines = [board.take(message) for message in _taken(inbox, seen)]
            screen.show(board, [line for line in lines if line])
    finally:
        screen.close()
        bus.stop()
        _taken(inbox, seen)


def _taken(inbox: queue.Queue[Message], seen: Callable[[Message], None]) -> list[Message]:
    """Collect what comes within one refresh."""
    messages: list[Message] = []
    end_s = time.monotonic() + REFRESH_S
    while (left_s := end_s - time.monotonic()) > 0:
        try:
            message = inbox.get(timeout=left_s)
        except queue.Empty:
            break
        seen(message)
        messages.append(message)
    return messages


class Screen:
    """Where the board is shown: a terminal, or a pipe or file."""

    def __init__(self, out: TextIO, head: str) -> None:
        self._out = out
        self._head = head.splitlines()
        self._is_terminal = out.isatty()
        self._write(_OPEN_SCREEN if self._is_terminal else head)

    def show(self, board: Board, lines: list[str]) -> None:
        """Draw the table anew, or write the new lines."""
        if not self._is_terminal:
            self._write("".join(f"{line}\n" for line in lines))
            return
        width, height = shutil.get_terminal_size()
        table = board.table(round(time.time() * 1000), width, height - len(self._head) - 1)
        shown = [line[:width] for line in self._head] + table
        self._write(_HOME + "\n".join(f"{line}{_CLEAR_LINE}" for line in shown) + _CLEAR_REST)

    def close(self) -> None:
        """Give the terminal back."""
        if self._is_terminal:
            self._write(_CLOSE_SCREEN)

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()
