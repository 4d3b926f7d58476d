"""One question and its answer, over wires that do what a script says."""

import pytest

from heliobus.errors import FrameError
from heliobus.exchange import Wire
from heliobus.link import Echo, Silence, ask

QPI = b"QPI\xbe\xac\r"
PI30 = b"(PI30\x9a\x0b\r"


def take(data: bytes) -> tuple[bytes, int] | None:
    """Take `(`, anything, CR; refuse a first byte that is none of a frame."""
    if not data.startswith(b"("):
        raise FrameError(f"found {data[:1]!r}, expected '('")
    frame, end, _ = data.partition(b"\r")
    return (frame + end, len(frame) + 1) if end else None


class Script:
    """A wire by the book: what lies there, then what comes after each request, in pieces."""

    def __init__(self, *answers: list[bytes], before: bytes = b"") -> None:
        self.sent: list[bytes] = []
        self.drained = b""
        self._before = before
        self._answers = list(answers)
        self._coming: list[bytes] = []

    def drain(self) -> bytes:
        self.drained += self._before + b"".join(self._coming)
        self._before, self._coming = b"", []
        return self.drained

    def write(self, data: bytes) -> None:
        self.sent.append(data)
        self._coming = self._answers.pop(0)

    def read(self, timeout_s: float) -> bytes:
        assert timeout_s > 0
        return self._coming.pop(0) if self._coming else b""


def failure(wire: Wire, kind: type[FrameError], what: str = "QPI") -> str:
    with pytest.raises(FrameError) as caught:
        ask(wire, QPI, take, timeout_s=3, what=what)
    assert type(caught.value) is kind
    return str(caught.value)


def test_any_pieces_give_the_same_answer() -> None:
    for cut in range(len(PI30)):
        pieces = [piece for piece in (PI30[:cut], PI30[cut:]) if piece]
        assert ask(Script(pieces), QPI, take, timeout_s=3) == PI30
    assert ask(Script([bytes([byte]) for byte in PI30]), QPI, take, timeout_s=3) == PI30


def test_what_came_before_the_request_is_thrown_away() -> None:
    script = Script([PI30], before=b"(late\r")
    assert ask(script, QPI, take, timeout_s=3) == PI30
    assert script.drained == b"(late\r"


def test_what_follows_an_answer_is_thrown_away_before_the_next_request() -> None:
    script = Script([PI30, b"(stray\r"], [PI30])
    for _ in range(2):
        assert ask(script, QPI, take, timeout_s=3) == PI30
    assert script.drained == b"(stray\r"
    assert script.sent == [QPI, QPI]


def test_an_echo_before_the_answer_is_stripped_however_it_is_cut() -> None:
    whole = QPI + PI30
    for first in range(1, len(whole)):
        for second in range(first, len(whole)):
            pieces = [whole[:first], whole[first:second], whole[second:]]
            script = Script([piece for piece in pieces if piece])
            assert ask(script, QPI, take, timeout_s=3) == PI30


def test_an_answer_that_equals_the_request_is_an_answer() -> None:
    # Modbus confirms a write by repeating it.
    def whole(data: bytes) -> tuple[bytes, int] | None:
        return (data, len(data)) if data == QPI else None

    assert ask(Script([QPI]), QPI, whole, timeout_s=3) == QPI


def test_no_byte_at_all_is_silence() -> None:
    assert failure(Script([]), Silence) == "no answer to QPI in 3 s"


def test_a_bare_echo_is_told_apart() -> None:
    assert failure(Script([QPI]), Echo) == "no answer to QPI in 3 s, only its echo"


def test_half_an_answer_is_shown() -> None:
    message = failure(Script([b"(0"]), FrameError)
    assert message == "no whole answer to QPI in 3 s, got '28 30'"


def test_of_a_long_half_the_beginning_is_shown() -> None:
    message = failure(Script([b"(" + b"0" * 99]), FrameError)
    assert message.endswith("got '28" + " 30" * 15 + " ..'")


def test_a_request_without_a_name_is_shown_in_hex() -> None:
    assert failure(Script([]), Silence, what="") == "no answer to '51 50 49 be ac 0d' in 3 s"


def test_the_rest_of_a_damaged_answer_is_waited_for() -> None:
    script = Script([b"?0", b"12", b"34\r"], [PI30])
    assert failure(script, FrameError) == "found b'?', expected '('"
    assert ask(script, QPI, take, timeout_s=3) == PI30
    assert script.drained == b""  # it had been read before the second request


def test_the_rest_of_a_late_answer_is_waited_for() -> None:
    class Late(Script):
        """Gives the second half only after the first wait has ended."""

        waits = 0

        def read(self, timeout_s: float) -> bytes:
            self.waits += 1
            return b"" if self.waits == 2 else super().read(timeout_s)

    script = Late([b"(PI", b"30\x9a\x0b\r"], [PI30])
    assert "got '28 50 49'" in failure(script, FrameError)
    assert ask(script, QPI, take, timeout_s=3) == PI30
    assert script.drained == b""


def test_a_line_that_never_falls_silent_is_not_waited_for_without_end() -> None:
    class Babble(Script):
        def read(self, timeout_s: float) -> bytes:
            super().read(timeout_s)
            return b"?"

    with pytest.raises(FrameError, match="expected '\\('"):
        ask(Babble([]), QPI, take, timeout_s=3, quiet_s=0.001)


def test_memory_is_bounded() -> None:
    script = Script([b"(" * 1000] * 100)
    message = failure(script, FrameError)
    assert message.startswith("no answer to QPI in 5000 bytes, got '28 28 28")


def test_a_deadline_counts_even_while_bytes_trickle() -> None:
    class Trickle(Script):
        def read(self, timeout_s: float) -> bytes:
            super().read(timeout_s)
            return b"("

    with pytest.raises(FrameError, match=r"no whole answer to QPI in 0\.001 s"):
        ask(Trickle([]), QPI, take, timeout_s=0.001, quiet_s=0.001, what="QPI")
