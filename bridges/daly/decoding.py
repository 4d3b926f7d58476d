"""What `heliobus decode daly` makes of captured bytes."""

from collections.abc import Mapping, Sequence

from bridges.daly import frame
from bridges.daly.codec import NOT_SAID, Values, counts_of, decode, unit_of
from bridges.daly.frame import FIRST_HOST, SIZE, START, Frame, frames
from heliobus.errors import FrameError

_NEWER = (b"\xd2\x03", b"\x51\x03")  # how answers of the newer generation begin


def decode_line(request: bytes | None, response: bytes) -> tuple[Values, dict[str, str], str]:
    """Decode what was captured of one exchange, or of several: values, units, a note.

    What is whole in it counts, the rest is left out. Frames say whose they are and what they
    answer, so one that does not fit the request is true as well; the note tells of it.
    Raise FrameError where nothing is whole.
    """
    answers = _answers(response)
    asked = _asked(request)
    answers = _of_one_board(asked, answers)
    by_command: dict[int, list[bytes]] = {}
    for each in answers:
        by_command.setdefault(each.command, []).append(each.data)
    values = _decode_all(by_command, asked.command if asked else None)
    note = _stranger(asked, answers)
    if not note and not values:
        note = "it says that nothing is there to be measured"
    values["board"] = answers[0].address
    return values, {name: unit_of(name) for name in values}, note


def _asked(request: bytes | None) -> Frame | None:
    """Give the request, whose sum may be wrong; None where there is none."""
    if not request:
        return None
    if sound := next(frames(request), None):
        return sound
    at = request.find(START)
    if at < 0 or len(request) < at + SIZE:
        raise FrameError(
            f"request: found '{request[:SIZE].hex(' ')}', expected 13 bytes from a5 on"
        )
    return Frame(request[at + 1], request[at + 2], request[at + 4 : at + 12])


def _answers(response: bytes) -> Sequence[Frame]:
    sound = list(frames(response))
    answers = [each for each in sound if each.address < FIRST_HOST]
    if answers:
        return answers
    if sound:
        raise FrameError(
            "found only a request, sent back (address"
            f" 0x{sound[0].address:02X}): the board sleeps; expected an answer"
        )
    if response.startswith(_NEWER):
        raise FrameError(
            "found Modbus of the newer generation of Daly, expected 13 bytes from a5 on"
        )
    shown = response[:SIZE].hex(" ")
    raise FrameError(
        f"found no whole frame in {len(response)} bytes ('{shown}'),"
        " expected 13 bytes from a5 on with the right sum"
    )


def _of_one_board(asked: Frame | None, answers: Sequence[Frame]) -> Sequence[Frame]:
    """Give the answers of the board that was asked, or of the only one. Raise FrameError."""
    boards = sorted({each.address for each in answers})
    if len(boards) == 1:
        return answers
    wanted = _board(asked)
    if wanted not in boards:
        raise FrameError(f"found boards {boards[0]} and {boards[1]}, expected one")
    return [each for each in answers if each.address == wanted]


def _board(asked: Frame | None) -> int | None:
    """Give the board that a computer has asked; the app does not say which."""
    if asked is None or not 0 <= asked.address - frame.COMPUTER < frame.MOST_BOARDS:
        return None
    return asked.address - frame.COMPUTER + 1


def _stranger(asked: Frame | None, answers: Sequence[Frame]) -> str:
    """Word how answers do not fit what was asked; "" where they do."""
    if asked is None:
        return ""
    notes = []
    board, wanted = answers[0].address, _board(asked)
    if wanted is not None and board != wanted:
        notes.append(f"board {board} answers; board {wanted} was asked")
    found = [f"0x{command:02X}" for command in dict.fromkeys(each.command for each in answers)]
    if (command := f"0x{asked.command:02X}") not in found:
        notes.append(f"found answers to {', '.join(found)}; {command} was asked")
    return "; ".join(notes)


def _decode_all(by_command: Mapping[int, Sequence[bytes]], asked: int | None) -> Values:
    values: Values = {}
    refused: FrameError | None = None
    counts = NOT_SAID
    # The counts first: they tell which slots are in use.
    for command in sorted(by_command, key=lambda one: one != frame.COUNTS):
        try:
            found = decode(command, by_command[command], counts)
        except FrameError as error:
            if command == asked:
                raise
            refused = error
            continue
        if command == frame.COUNTS:
            counts = counts_of(found)
        values |= found
    if refused is not None and not values:
        raise refused
    return values
