"""The commands `broker`. Each imports its work when it runs, so that --help is quick."""

import sys
from pathlib import Path
from typing import Any

import click

from heliobus.cli_options import Options

_FOLDER = click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where its files are; else broker.folder of the configuration.",
)


@click.group()
def broker() -> None:
    """Set up the broker: users, passwords, rights, certificates."""


@broker.command("init")
@_FOLDER
@click.option("--port", type=int, help="For this computer itself; else that of broker.url.")
@click.option("--listen", metavar="ADDRESS[:PORT]", help="Listen for others, too; * is everywhere.")
@click.option("--tls/--no-tls", default=None, help="With certificates of a CA of our own.")
@click.option("--plain/--no-plain", default=None, help="Listen for others without TLS.")
@click.option("--host", "hosts", multiple=True, help="Add a name or address to the certificate.")
@click.option("--no-host", "no_hosts", multiple=True, help="Take one away that was added.")
@click.option(
    "--client-certificates/--no-client-certificates",
    default=None,
    help="With TLS, take certificates instead of passwords.",
)
@click.option("--data", metavar="DIR", help="Where mosquitto keeps what is retained.")
@click.option("--owner", metavar="USER", help="Who runs mosquitto; as root: its service's user.")
@click.option("--user", help="Who runs heliobus; as root: whose the data folder is.")
@click.pass_obj
def broker_init(
    options: Options,
    /,
    folder: Path | None,
    hosts: tuple[str, ...],
    no_hosts: tuple[str, ...],
    **wish: Any,
) -> int:
    """Make or renew its files; what is there and good is kept.

    What is not said here stays as it was the last time.
    """
    from broker import commands as work
    from broker.accounts import Wish

    settings = options.settings(broker_files=False)
    wished = Wish(hosts=hosts or None, no_hosts=no_hosts or None, **wish)
    return work.init(settings, folder, wished, sys.stdout)


@broker.command("add-user")
@click.argument("name")
@_FOLDER
@click.option(
    "--role",
    type=click.Choice(["device", "reader", "operator", "homeassistant"]),
    required=True,
)
@click.option("--topic", "topics", multiple=True, help="What its own topics begin with.")
@click.pass_obj
def broker_add_user(
    options: Options, name: str, *, folder: Path | None, role: str, topics: tuple[str, ...]
) -> int:
    """Make the user NAME, or change it.

    A device reads and writes its own topics and nothing else. A reader reads everything of
    heliobus, and the topics it is given. An operator is a reader that also gives commands, under
    its own name, and writes the topics it is given; with heliobus/SITE it can clear what is
    retained of that site. Home Assistant reads everything of heliobus, reads and writes what
    announces devices to it, and sets plain values.
    """
    from broker import commands as work
    from broker.roles import Role

    settings = options.settings(broker_files=False)
    return work.add_user(settings, folder, name, role=Role(role), topics=topics, out=sys.stdout)


@broker.command("remove-user")
@click.argument("name")
@_FOLDER
@click.pass_obj
def broker_remove_user(options: Options, name: str, folder: Path | None) -> int:
    """Remove the user NAME that was added."""
    from broker import commands as work

    return work.remove_user(options.settings(broker_files=False), folder, name, sys.stdout)


@broker.command("check")
@_FOLDER
@click.pass_obj
def broker_check(options: Options, folder: Path | None) -> int:
    """Prove who can do what, as each user, on the broker that runs.

    It disturbs nobody: its messages are empty, not retained, and on topics of its own.
    """
    from broker import commands as work

    return work.check(options.settings(), folder, sys.stdout)
