"""Messages other than samples, parsed and checked in one step."""

from typing import Any

from heliobus.contract import Contract
from heliobus.errors import FrameError
from heliobus.sample import load_object


def parse(contract: Contract, name: str, payload: bytes) -> dict[str, Any]:
    """Read a message of the contract: replay, history and so on. Raise FrameError."""
    body = load_object(payload)
    problem = contract.check(name, body)
    if problem:
        raise FrameError(problem)
    return body
