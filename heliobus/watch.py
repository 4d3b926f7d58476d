"""The command `watch`: the bus, live. A table on a terminal, a line per sample elsewhere."""

import logging
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from textwrap import wrap
from types import MappingProxyType
from typing import Final, Self, TextIO
from uuid import uuid4

from heliobus import contract
from heliobus.board import Board
from heliobus.bus import Bus, Message
from heliobus.cells import Row, Style
from heliobus.sample import dumps
from heliobus.settings import BrokerSettings, Settings
from heliobus.topics import Topics

REFRESH_S = 0.5
_USER = "watch"  # where the broker wants passwords and broker.user names nobody
# Let the table have the whole screen while it is shown, and give the old one back afterwards.
_OPEN_SCREEN, _CLOSE_SCREEN = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
_USUAL_SIZE = (80, 24)  # of a terminal that does not know its own
_HOME, _CLEAR_LINE, _CLEAR_REST = "\x1b[H", "\x1b[K", "\x1b[J"
_PAINT: Final[Mapping[Style, str]] = MappingProxyType(
    {Style.NAME: "\x1b[1m", Style.ALARM: "\x1b[31m"}
)
_NO_PAINT = "\x1b[0m"


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
    brief: str = "",
    seen: Callable[[Message], None] = lambda _message: None,
) -> None:
    """Show the bus until `stop`; `seen` is told of every message.

    `head` stands above the table; where it has no room, the line `brief` does below the title.
    """
    topics = Topics(settings.site, settings.base_topic)
    board = Board(contract.load(), topics, wanted)
    inbox: queue.Queue[Message] = queue.Queue()
    # Two watchers must not have the same client id: the broker would throw out the first.
    name = f"{_USER}_{uuid4().hex[:8]}"
    bus = Bus(
        replace(settings.broker, username=settings.broker.username or _USER),
        name,
        # Nobody is to hear of a reader; a will there must be.
        will=(f"{settings.base_topic}-readers/{name}", dumps({"state": "offline"})),
        subscriptions=[(f"{settings.base_topic}/#", 1)],
        on_message=inbox.put,
    )
    try:
        with Screen(sys.stdout, board, head, brief) as screen:
            # Not before: what the bus finds wrong is said once, and is to stand in the table.
            bus.start()
            screen.show([])
            while not stop.is_set():
                messages = _taken(inbox, seen)
                screen.show(messages, "" if bus.connected else _not_yet(settings.broker))
    finally:
        bus.stop()
        while not inbox.empty():
            seen(inbox.get())


def _not_yet(broker: BrokerSettings) -> str:
    return f"broker {broker.url}: not connected yet"


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
    """Where the board is shown: a terminal, or a pipe or file. A context manager."""

    def __init__(self, out: TextIO, board: Board, head: str, brief: str = "") -> None:
        self._out = out
        self._board = board
        self._head = head
        self._brief = brief
        self._is_terminal = out.isatty() and os.environ.get("TERM") != "dumb"
        self._paints = self._is_terminal and not os.environ.get("NO_COLOR")
        self._notice = _Notice()
        self._log_handlers: list[logging.Handler] = []

    def __enter__(self) -> Self:
        """Take the terminal; what is logged stands below the table from now on."""
        if not self._is_terminal:
            self._write(self._head)
            return self
        root = logging.getLogger()
        self._log_handlers = root.handlers
        root.handlers = [self._notice, *([] if sys.stderr.isatty() else root.handlers)]
        self._write(_OPEN_SCREEN)
        return self

    def __exit__(self, *_: object) -> None:
        """Give the terminal back."""
        if self._is_terminal:
            logging.getLogger().handlers = self._log_handlers
            self._write(_CLOSE_SCREEN)

    def show(self, messages: Iterable[Message], trouble: str = "") -> None:
        """Draw the table anew, or write a line for each message."""
        now_ms = round(time.time() * 1000)
        lines = [self._board.take(message, now_ms) for message in messages]
        if self._is_terminal:
            self._draw(now_ms, self._notice.text or trouble)
        elif any(lines):
            self._write("".join(f"{line}\n" for line in lines if line))

    def _draw(self, now_ms: int, trouble: str) -> None:
        # Not shutil's: it believes COLUMNS, which does not know when a window is resized.
        size = os.get_terminal_size(self._out.fileno())
        width, height = size if all(size) else _USUAL_SIZE
        head: list[Row] = [((line[:width], Style.PLAIN),) for line in self._head.splitlines()]
        told: list[Row] = [((line, Style.ALARM),) for line in wrap(trouble, width)]
        told = [(), *told] if told else []
        rows = [*head, *self._board.table(now_ms, width, height - len(head) - len(told)), *told]
        if head and len(rows) > height:
            title, _, *rows = self._board.table(now_ms, width, height - len(told))
            rows = [title, ((self._brief[:width], Style.PLAIN),), *rows, *told]
        if len(rows) > height:
            hidden = f"... and {len(rows) - height + 1} lines more"
            rows = [*rows[: height - 1], ((hidden[:width], Style.PLAIN),)]
        lines = (f"{self._painted(row)}{_CLEAR_LINE}" for row in rows)
        self._write(_HOME + "\n".join(lines) + _CLEAR_REST)

    def _painted(self, row: Row) -> str:
        if not self._paints:
            return "".join(text for text, _ in row)
        return "".join(
            f"{_PAINT[style]}{text}{_NO_PAINT}" if style in _PAINT else text for text, style in row
        )

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()


class _Notice(logging.Handler):
    """Hold what was last logged if it is a warning: a table leaves no room for a log."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Take in a record; another thread may be drawing."""
        self.text = record.getMessage() if record.levelno >= logging.WARNING else ""
