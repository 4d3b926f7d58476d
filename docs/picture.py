"""Draw what `heliobus demo` shows on a terminal as docs/demo.svg.

    python docs/picture.py      run the demo on a terminal of its own, and draw its last table

The picture holds the words of the terminal as text, so it stays sharp, and a dark window of its
own, so it can be read on a light page and on a dark one.
"""

# ruff: noqa: INP001 - a script beside the pages that it draws for, not part of a package

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from html import escape
from pathlib import Path

COLUMNS, ROWS = 100, 40
SECONDS = 59.0  # the house has stood still for some seconds, and all show the same moment
_FRAME_BEGINS, _FRAME_ENDS, _LINE_ENDS = "\x1b[H", "\x1b[J", "\x1b[K"
_PAINT = re.compile(r"\x1b\[([0-9]+)m")
_STYLES = {"0": "", "1": ' font-weight="bold"', "31": ' fill="#ff7b72"'}

_CELL_W, _LINE_H = 8.4, 19  # of a monospaced font of 14 px
_MARGIN, _BAR_H = 18, 34
_FONT = "ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace"
_HOLES = ("#ff5f57", "#febc2e", "#28c840")


def record() -> str:
    """Run the demo on a pseudo-terminal and give everything that it wrote."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    command = [sys.executable, "-m", "heliobus", "demo", "--seconds", str(SECONDS)]
    with subprocess.Popen(command, stdout=theirs, stderr=subprocess.DEVNULL):
        os.close(theirs)
        written = b""
        while True:
            try:
                written += os.read(ours, 65536)
            except OSError:  # EIO: the demo has ended
                break
    os.close(ours)
    return written.decode()


def last_frame(written: str) -> list[str]:
    """Give the lines of the last whole table before the demo began to stop."""
    frames = written.split(_FRAME_BEGINS)[1:]
    whole = [frame for frame in frames if _FRAME_ENDS in frame and "offline" not in frame.lower()]
    text = whole[-1].partition(_FRAME_ENDS)[0].replace(_LINE_ENDS, "")
    return [line.rstrip() for line in text.replace("\r", "").split("\n")]


def draw(lines: list[str], title: str) -> str:
    """Draw lines of text as a terminal window."""
    width = round(COLUMNS * _CELL_W) + 2 * _MARGIN
    height = _BAR_H + len(lines) * _LINE_H + _MARGIN
    holes = "".join(
        f'<circle cx="{22 + 20 * at}" cy="17" r="6" fill="{colour}"/>'
        for at, colour in enumerate(_HOLES)
    )
    rows = "\n".join(
        _row(line, y=_BAR_H + at * _LINE_H + 14) for at, line in enumerate(lines) if line
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img" aria-label="{escape(title)}">\n'
        f'<rect x=".5" y=".5" width="{width - 1}" height="{height - 1}" rx="9" fill="#161b22" '
        'stroke="#6e7681"/>\n'
        f"{holes}\n"
        f'<g font-family="{_FONT}" font-size="14" fill="#e6edf3" xml:space="preserve">\n'
        f'<text x="{width / 2:.0f}" y="22" text-anchor="middle" fill="#9da7b1">'
        f"{escape(title)}</text>\n{rows}\n</g>\n</svg>\n"
    )


def _row(line: str, y: int) -> str:
    """Place the pieces of a line by their cells, whatever the width of the reader's font."""
    placed, column, style = "", 0, ""
    for at, piece in enumerate(_PAINT.split(line)):
        if at % 2:  # the code between two pieces of text
            style = _STYLES[piece]
            continue
        text = piece.strip()
        if text:
            x = _MARGIN + (column + len(piece) - len(piece.lstrip())) * _CELL_W
            width = len(text) * _CELL_W
            placed += f'<text x="{x:.1f}" y="{y}" textLength="{width:.1f}"{style}>'
            placed += f"{escape(text)}</text>"
        column += len(piece)
    return placed


def main() -> None:
    """Write docs/demo.svg."""
    picture = draw(last_frame(record()), "make demo")
    Path(__file__).with_name("demo.svg").write_text(picture, encoding="utf-8")


if __name__ == "__main__":
    main()
