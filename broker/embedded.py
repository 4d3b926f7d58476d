"""The embedded broker: amqtt in a process of its own, for the demo and for tests.

    python -m broker.embedded --port 1883

It listens on 127.0.0.1 only, takes anyone who is on this machine, speaks MQTT 3.1.1, and keeps
NOTHING over a restart: no retained messages, no sessions, no queues. heliobus does not need a
broker that remembers, but a house with other devices on its bus does: install mosquitto there.
"""

import argparse
import asyncio
import logging
import os
import signal
from contextlib import suppress

from amqtt.broker import Broker
from amqtt.errors import AMQTTError

_STOP_S = 1.0


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--port", type=int, default=1883)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.ERROR, format="%(message)s")
    asyncio.run(_serve(arguments.port))
    # Clients that were cut off leave tasks behind which would be waited for, and complain.
    os._exit(0)


async def _serve(port: int) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    broker = Broker(_configuration(port))
    await broker.start()
    await stop.wait()
    with suppress(AMQTTError, TimeoutError):
        await asyncio.wait_for(broker.shutdown(), _STOP_S)


def _configuration(port: int) -> dict[str, object]:
    return {
        # amqtt's own default would be every address of the machine.
        "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}},
        "plugins": {
            "amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True},
        },
    }


if __name__ == "__main__":
    main()
