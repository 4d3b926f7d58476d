"""The line to a simulated device, by a clock that only the test moves."""

from collections.abc import Callable

import pytest

from heliobus.errors import ConfigError, FrameError
from heliobus.line import Faults, Line
from heliobus.link import ask

# 24 bytes: 0.1 s at 2400 baud.
ANSWER = b"(0123456789ABCDEFGHIJKL\r"


class Clerk:
    """Answers `?7` and a CR with `(7:` and text, and keeps the fate of each answer."""

    def __init__(self, text: bytes = b"fine") -> None:
        self.text = text
        self.fates: list[tuple[bytes, bool]] = []
        self._heard = b""

    def take(self, data: bytes) -> bytes:
        self._heard += data
        question, end, rest = self._heard.partition(b"\r")
        if not end:
            return b""
        self._heard = rest.lstrip(b"\0")
        return b"(" + question.lstrip(b"\0?") + b":" + self.text + b"%02x\r" % (sum(question) % 256)

    def sent(self, answer: bytes, *, whole: bool) -> None:
        self.fates.append((answer, whole))


class Fixed:
    """Answers whatever comes, and does not care what becomes of it."""

    def __init__(self, answer: bytes = ANSWER) -> None:
        self.answer = answer

    def take(self, data: bytes) -> bytes:
        return self.answer if data.endswith(b"\r") else b""


def line_to(
    simulated: Fixed | Clerk,
    faults: Faults | None = None,
    *,
    baud: int | None = 2400,
    unread: Callable[[], int] = lambda: 0,
) -> Line:
    return Line(simulated, baud=baud, faults=faults or Faults(), unread=unread)


def run(line: Line, begin_s: float, end_s: float) -> bytes:
    """Drive `line` as a service does, by the times that it asks for."""
    now_s, out = begin_s, b""
    while True:
        out += line.due(now_s)
        wait_s = line.wait_s(now_s)
        if wait_s is None or now_s + wait_s > end_s:
            return out
        now_s += wait_s


def taker(number: int) -> Callable[[bytes], tuple[bytes, int] | None]:
    """Take the answer to question `number`, by its content and its checksum."""

    def take(data: bytes) -> tuple[bytes, int] | None:
        start = data.rfind(b"(")
        frame, end, _ = data[start:].partition(b"\r")
        if start < 0 or not end:
            return None
        wanted = b"(%d:fine%02x" % (number, sum(b"?%d" % number) % 256)
        if frame != wanted:
            raise FrameError(f"found {frame!r}, expected {wanted!r}")
        return frame, start + len(frame) + 1

    return take


def test_an_answer_begins_when_the_request_has_crossed_the_wire() -> None:
    line = line_to(Fixed())
    line.receive(0.0, b"QPIGS\xb7\xa9\r")  # 8 bytes: 33.3 ms
    assert line.due(0.033) == b""
    assert line.wait_s(0.033) == pytest.approx(80 / 2400 - 0.033)
    assert line.due(0.0334) == b""
    assert line.due(0.0334 + 0.0042) == b"("


@pytest.mark.parametrize(("after_s", "count"), [(0.0, 0), (0.05, 12), (0.0999, 23), (0.1, 24)])
def test_bytes_are_due_by_real_time(after_s: float, count: int) -> None:
    line = line_to(Fixed())
    line.receive(-10 / 2400, b"\r")
    assert line.due(0.0) == b""
    assert line.due(after_s) == ANSWER[:count]


def test_a_line_that_woke_late_hands_over_all_that_has_become_due() -> None:
    line = line_to(Fixed())
    line.receive(0.0, b"\r")
    assert line.due(5.0) == ANSWER


def test_bytes_are_handed_over_in_steps_and_the_last_without_delay() -> None:
    line = line_to(Fixed())
    line.receive(-10 / 2400, b"\r")
    now_s, steps = 0.0, []
    line.due(now_s)
    while not line.idle:
        wait_s = line.wait_s(now_s)
        assert wait_s is not None
        now_s += wait_s
        steps.append(len(line.due(now_s)))
    assert sum(steps) == 24
    assert 5 < len(steps) < 12
    assert now_s == pytest.approx(0.1)


def test_without_a_baud_rate_all_is_due_at_once() -> None:
    line = line_to(Fixed(), baud=None)
    line.receive(7.0, b"\r")
    assert line.due(7.0) == ANSWER


def test_a_quiet_line_waits_for_bytes_only() -> None:
    line = line_to(Fixed())
    assert line.wait_s(0.0) is None
    line.receive(0.0, b"\r")
    run(line, 0.0, 1.0)
    assert line.wait_s(1.0) is None


def test_a_request_during_an_answer_waits_for_its_turn() -> None:
    line = line_to(Fixed(), baud=2400)
    line.receive(0.0, b"\r")
    line.receive(0.01, b"\r")
    assert run(line, 0.0, 0.11) == ANSWER
    assert run(line, 0.11, 1.0) == ANSWER


def test_an_answer_that_was_fetched_is_told_to_be_whole() -> None:
    clerk = Clerk()
    line = line_to(clerk)
    line.receive(0.0, b"?1\r")
    answer = run(line, 0.0, 1.0)
    assert clerk.fates == [(answer, True)]
    assert (line.answered, line.harmed) == (1, 0)


def test_an_answer_is_not_whole_before_its_last_byte_has_gone() -> None:
    clerk = Clerk()
    line = line_to(clerk)
    line.receive(0.0, b"?1\r")
    run(line, 0.0, 0.02)
    line.close()
    assert clerk.fates == [(b"(1:fine70\r", False)]
    assert (line.answered, line.harmed) == (0, 1)


def test_an_answer_that_nobody_reads_is_not_whole() -> None:
    clerk = Clerk()
    line = line_to(clerk, unread=lambda: 10)
    line.receive(0.0, b"?1\r")
    run(line, 0.0, 4.9)
    assert clerk.fates == []
    run(line, 4.9, 6.0)
    assert [whole for _, whole in clerk.fates] == [False]


def test_an_answer_that_was_not_read_when_the_next_question_came_is_not_whole() -> None:
    clerk = Clerk()
    line = line_to(clerk, unread=lambda: 10)
    line.receive(0.0, b"?1\r")
    run(line, 0.0, 0.5)
    line.receive(0.5, b"?2\r")
    run(line, 0.5, 0.6)
    assert clerk.fates == [(b"(1:fine70\r", False)]


def test_the_fate_of_an_answer_is_told_once_and_before_the_next_question() -> None:
    told: list[str] = []

    class Scribe(Clerk):
        def take(self, data: bytes) -> bytes:
            told.append("take")
            return super().take(data)

        def sent(self, answer: bytes, *, whole: bool) -> None:
            told.append("sent")
            super().sent(answer, whole=whole)

    line = line_to(Scribe(), Faults(dict.fromkeys(("cut", "late", "silence"), 0.3), seed=5))
    for turn in range(200):
        line.receive(turn * 0.07, b"?%d\r" % turn)
        run(line, turn * 0.07, (turn + 1) * 0.07)
    run(line, 14.0, 30.0)
    line.close()
    assert told == ["take", "sent"] * 200


def outcome(kind: str, question: bytes = b"?1\r") -> tuple[bytes, Line]:
    faults = Faults(seed=3)
    line = line_to(Clerk(), faults, baud=None)
    faults.once(kind)
    line.receive(0.0, question)
    return run(line, 0.0, 1.0), line


def test_silence_sends_nothing() -> None:
    out, line = outcome("silence")
    assert out == b""
    assert (line.answered, line.harmed) == (0, 1)


def test_cut_sends_the_beginning() -> None:
    out, line = outcome("cut")
    assert b"(1:fine70\r".startswith(out)
    assert len(out) < 10
    assert line.harmed == 1


def test_flip_alters_one_bit() -> None:
    out, line = outcome("flip")
    wrong = [a ^ b for a, b in zip(out, b"(1:fine70\r", strict=True) if a != b]
    assert len(wrong) == 1
    assert wrong[0].bit_count() == 1
    assert line.harmed == 1


def test_noise_adds_bytes() -> None:
    out, line = outcome("noise")
    assert 10 < len(out) <= 18
    assert line.harmed == 1


def test_an_echo_goes_before_the_answer_and_does_not_harm_it() -> None:
    out, line = outcome("echo")
    assert out == b"?1\r(1:fine70\r"
    assert (line.answered, line.harmed) == (1, 0)


def test_a_bare_echo_takes_the_place_of_the_answer() -> None:
    out, line = outcome("echo_only")
    assert out == b"?1\r"
    assert line.harmed == 1


def test_a_late_answer_comes_after_the_next_request() -> None:
    out, line = outcome("late")
    assert out == b""
    line.receive(1.0, b"?2\r")
    assert run(line, 1.0, 2.0) == b"(1:fine70\r(2:fine71\r"
    assert (line.answered, line.harmed) == (0, 2)  # the second came with another before it


def test_a_slow_answer_comes_seconds_later() -> None:
    faults = Faults({"slow": 1.0}, slow_s=2.5)
    line = line_to(Clerk(), faults, baud=None)
    line.receive(0.0, b"?1\r")
    assert run(line, 0.0, 2.49) == b""
    assert run(line, 2.49, 3.0) == b"(1:fine70\r"
    assert line.harmed == 1


def test_a_device_hangs_up_when_the_last_byte_of_its_answer_has_left() -> None:
    faults = Faults({"close": 1.0})
    line = line_to(Fixed(), faults)
    line.receive(0.0, b"?1\r")
    begins_s = 3 / 240
    assert run(line, 0.0, begins_s + 0.05) == ANSWER[:12]
    assert not line.ending
    assert run(line, begins_s + 0.05, 1.0) == ANSWER[12:]
    assert line.ending
    line.close()  # as who has the connection does; the next one finds the device as it was
    assert (line.ending, line.answered, line.harmed) == (False, 1, 0)
    faults.set("close", 0.0)
    line.receive(2.0, b"?2\r")
    assert run(line, 2.0, 3.0) == ANSWER
    assert not line.ending


def test_a_device_that_says_nothing_does_not_hang_up() -> None:
    line = line_to(Fixed(), Faults({"close": 1.0, "silence": 1.0}))
    line.receive(0.0, b"?1\r")
    assert run(line, 0.0, 1.0) == b""
    assert not line.ending


def test_once_strikes_one_answer_only() -> None:
    _, line = outcome("silence")
    line.receive(2.0, b"?2\r")
    assert run(line, 2.0, 3.0) == b"(2:fine71\r"


def test_rates_may_be_changed_while_the_line_is_in_use() -> None:
    faults = Faults({"silence": 1.0})
    line = line_to(Clerk(), faults, baud=None)
    line.receive(0.0, b"?1\r")
    assert run(line, 0.0, 1.0) == b""
    faults.set("silence", 0.0)
    line.receive(1.0, b"?2\r")
    assert run(line, 1.0, 2.0) == b"(2:fine71\r"


def test_the_same_seed_gives_the_same_faults() -> None:
    def history(seed: int) -> list[bytes]:
        faults = Faults.parse("noise=0.3,cut=0.2,flip=0.2,silence=0.1", seed=seed)
        line = line_to(Clerk(), faults, baud=None)
        answers = []
        for turn in range(50):
            line.receive(float(turn), b"?%d\r" % turn)
            answers.append(run(line, float(turn), turn + 0.9))
        return answers

    assert history(1) == history(1)
    assert history(1) != history(2)


def test_a_share_strikes_about_as_often_as_it_says() -> None:
    faults = Faults({"cut": 0.25}, seed=9)
    assert 200 < sum(faults.strikes("cut") for _ in range(1000)) < 300


def test_faults_are_read_from_text() -> None:
    faults = Faults.parse(" silence=0, echo=1 ,")
    assert faults.strikes("echo")
    assert not faults.strikes("silence")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("silense=0.1", "faults: 'silense' is not known; did you mean 'silence'?"),
        ("cut", "faults: found 'cut', expected it like cut=0.02"),
        ("cut=often", "faults: found 'cut=often', expected it like cut=0.02"),
        ("cut=2", "faults: found cut=2, expected a share from 0 to 1"),
        ("cut=nan", "faults: found cut=nan, expected a share from 0 to 1"),
    ],
)
def test_text_that_is_no_fault_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Faults.parse(text)
    assert str(caught.value) == message


def test_a_kind_that_is_like_none_gets_the_list_of_all() -> None:
    with pytest.raises(ConfigError, match="known are silence, noise, cut, flip, echo"):
        Faults().once("xyzzy")


class Clocked:
    """A link to a line by a clock of its own: reading takes no time but there."""

    def __init__(self, line: Line) -> None:
        self.now_s = 0.0
        self.line = line

    def write(self, data: bytes) -> None:
        self.line.receive(self.now_s, data)

    def drain(self) -> bytes:
        return self.line.due(self.now_s)

    def read(self, timeout_s: float) -> bytes:
        end_s = self.now_s + timeout_s
        while not (data := self.line.due(self.now_s)):
            wait_s = self.line.wait_s(self.now_s)
            if wait_s is None or self.now_s + wait_s > end_s:
                self.now_s = end_s
                break
            self.now_s += wait_s
        return data


@pytest.mark.parametrize("seed", range(5))
def test_in_a_thousand_bad_rounds_no_answer_is_taken_for_another(seed: int) -> None:
    shares = {kind: 0.06 for kind in Faults.KINDS if kind != "nak"}
    line = line_to(Clerk(), Faults(shares, seed=seed, slow_s=0.7))
    link, right = Clocked(line), 0
    for number in range(1000):
        try:
            frame = ask(link, b"?%d\r" % number, taker(number), timeout_s=0.6)
        except FrameError:
            continue
        assert frame.startswith(b"(%d:" % number)
        right += 1
    assert 450 < line.answered <= right < 950
