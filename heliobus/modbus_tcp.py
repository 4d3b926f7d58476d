"""Modbus TCP by pymodbus' client, over a link that any thread can close.

Its answers are checked once more here: by transaction, unit, function and length.
"""

import logging
import time

from pymodbus.client.tcp import ModbusTcpClient
from pymodbus.exceptions import ModbusException
from pymodbus.pdu import DecodePDU, ModbusPDU

from heliobus.address import Address
from heliobus.errors import FrameError
from heliobus.exchange import Silence
from heliobus.guarded import Guarded
from heliobus.link import Link
from heliobus.master import Manner
from heliobus.modbus import Question, answers, find_rtu

# A frame has at most 260 bytes; who sends so many others is not going to send it.
_MOST_BYTES = 4096
_SHOWN_BYTES = 24


class ModbusTcp(Guarded):
    """The master of a device or gateway at a TCP port."""

    def __init__(self, address: Address) -> None:
        super().__init__(address)
        logging.getLogger("pymodbus").setLevel(logging.CRITICAL + 1)  # we say it ourselves
        self._client = _Client(address.host, port=address.port, retries=0)
        self._requests = DecodePDU(True)  # noqa: FBT003 - of a server: it reads requests
        self._last_s = 0.0

    def _ask(self, link: Link, question: Question, manner: Manner) -> bytes:
        self._wait(self._last_s + manner.pause_s - time.monotonic())
        keep = False
        try:
            link.drain()
            pdu = self._exchange_pdu(link, question, manner.timeout_s)
            keep = manner.keep
        finally:
            self._last_s = time.monotonic()
            if not keep:  # what comes late goes with the connection
                self._drop()
        return pdu

    def _exchange_pdu(self, link: Link, question: Question, timeout_s: float) -> bytes:
        request = self._requests.decode(question.pdu)
        if request is None:
            raise FrameError(f"{question}: pymodbus does not know this request")
        request.dev_id = question.unit
        client = self._client
        client.begin(link, timeout_s)
        try:
            client.execute(False, request)  # noqa: FBT003 - an answer is expected
        except ModbusException as error:
            raise self._failure(question, timeout_s) from error
        pdu = client.answer
        if answers(question, pdu) != len(pdu):
            raise self._failure(question, timeout_s)
        return pdu

    def _failure(self, question: Question, timeout_s: float) -> FrameError:
        got = self._client.got
        if not got:
            return Silence(f"{question}: no answer in {timeout_s:g} s")
        if find_rtu(question, got):
            return FrameError(f"{question}: {self._framing_hint}")
        shown = got[:_SHOWN_BYTES].hex(" ")
        return FrameError(
            f"{question}: no sound answer in {timeout_s:g} s, got '{shown}';"
            " check its unit, and that nothing else asks it over the same gateway"
        )


class _Decoder(DecodePDU):
    """Keeps the answer as it was on the wire."""

    answer = b""

    def decode(self, frame: bytes) -> ModbusPDU | None:
        self.answer = frame
        return super().decode(frame)


class _Client(ModbusTcpClient):
    """pymodbus' client without its socket: bytes go over a link of ours."""

    link: Link
    deadline_s = 0.0
    got = b""

    def begin(self, link: Link, timeout_s: float) -> None:
        """Use this link for the next request, and wait so long for the answer."""
        self.link = link
        self.got = b""
        self.deadline_s = time.monotonic() + timeout_s
        self.comm_params.timeout_connect = timeout_s
        self.framer.decoder = self.decoder = _Decoder(False)  # noqa: FBT003 - it reads answers

    @property
    def answer(self) -> bytes:
        """Give the last answer, function first."""
        return self.decoder.answer

    def connect(self) -> bool:
        """Do nothing: the link is open."""
        return True

    def close(self) -> None:
        """Do nothing: who has opened the link closes it."""

    def send(self, request: bytes, addr: tuple[str, int] | None = None) -> int:
        """Send."""
        del addr
        self.link.write(request)
        return len(request)

    def recv(self, size: int | None) -> bytes:
        """Give what has come; b"" when the time is over."""
        del size
        left_s = self.deadline_s - time.monotonic()
        if left_s <= 0 or len(self.got) > _MOST_BYTES:
            return b""
        more = self.link.read(left_s)
        self.got += more
        return more
