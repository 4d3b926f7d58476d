"""The command line. Each command imports its work when it runs, so that --help is quick."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from heliobus import __version__
from heliobus.cli_broker import broker
from heliobus.cli_options import Options
from heliobus.errors import guess

if TYPE_CHECKING:
    from heliobus.settings import Settings

_NAMES = {"help_option_names": ["-h", "--help"]}
_SYSTEM_WIDE = Path("/etc/heliobus/heliobus.yaml")
_USAGE = 2


def run(arguments: list[str] | None = None) -> int:
    """Run one command and give its exit status."""
    try:
        status = cli.main(arguments, prog_name="heliobus", standalone_mode=False)
    except click.exceptions.Abort as error:
        raise KeyboardInterrupt from error
    except click.ClickException as error:
        error.show()
        return error.exit_code
    return status if isinstance(status, int) else 0


@click.group(context_settings=_NAMES)
@click.option(
    "-c",
    "--config",
    type=click.Path(path_type=Path),
    help="The configuration; else heliobus.yaml here, else /etc/heliobus/heliobus.yaml.",
)
@click.option("-v", "--verbose", is_flag=True, help="Log every step, and the bytes on the wire.")
@click.version_option(__version__, message="heliobus %(version)s")
@click.pass_context
def cli(context: click.Context, config: Path | None, *, verbose: bool) -> None:
    """Solar and off-grid hardware on one clean MQTT bus."""
    set_up_logging(verbose=verbose)
    here = Path("heliobus.yaml")
    is_named = config is not None
    if config is None:
        config = _SYSTEM_WIDE if not here.exists() and _SYSTEM_WIDE.exists() else here
    context.obj = Options(config, is_named)


def set_up_logging(*, verbose: bool) -> None:
    """Log to standard error; systemd's journal adds the time itself."""
    import logging
    import os

    under_systemd = "JOURNAL_STREAM" in os.environ or "INVOCATION_ID" in os.environ
    line = "%(levelname)s %(name)s: %(message)s"
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.DEBUG if verbose else logging.INFO,
        format=line if under_systemd else f"%(asctime)s {line}",
    )


@cli.command()
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), help="Stop after so long.")
@click.option("--port", type=click.IntRange(1, 65535), help="The broker's port; else a free one.")
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep journals and archive here; else they are thrown away.",
)
def demo(seconds: float | None, port: int | None, data: Path | None) -> int:
    """Run a whole simulated house, without hardware."""
    from heliobus import demo as work

    return work.run(seconds=seconds, port=port, data=data)


@cli.command()
@click.option("--only", metavar="A,B", help="Run these components only.")
@click.option(
    "--simulate",
    is_flag=True,
    help="Put a simulated device in the place of each real one; your archives stay as they are.",
)
@click.option(
    "--port", type=click.IntRange(1, 65535), help="With --simulate: its broker's; else a free one."
)
@click.pass_obj
def up(options: Options, *, only: str | None, simulate: bool, port: int | None) -> int:
    """Run the whole configuration and keep it running."""
    from heliobus import up as work

    if port is not None and not simulate:
        raise click.UsageError("--port goes with --simulate; else broker.url says the port")
    # A simulated site has a broker of its own: secrets of the real one may be missing.
    settings = options.settings(broker_files=not simulate)
    names = [name.strip() for name in only.split(",")] if only is not None else None
    _check_names(names or (), settings)
    if simulate:
        return work.simulate(settings, names, port=port, command=options.command)
    return work.run(settings, names)


@cli.command("run")
@click.argument("name")
@click.pass_obj
def run_one(options: Options, name: str) -> int:
    """Run the component NAME in the foreground."""
    from heliobus import process as work

    settings = options.settings()
    _check_names([name], settings)
    return work.run_component(settings, name)


@cli.command()
@click.pass_obj
def check(options: Options) -> int:
    """Check the configuration, opening no port."""
    from heliobus import check as work

    return work.run(options.config, sys.stdout)


@cli.command("list")
def list_all() -> int:
    """List bridges, sinks, maps and plugins that are there."""
    from heliobus import catalogue as work

    return work.list_components(sys.stdout)


@cli.command()
@click.argument("filter", metavar="[FILTER]", default="")
@click.option("--simulate", is_flag=True, help="Of what 'heliobus up --simulate' runs.")
@click.pass_obj
def watch(options: Options, filter: str, *, simulate: bool) -> int:  # noqa: A002  # click names it as people see it
    """Show what is on the bus, live.

    FILTER is a part of a device's or field's name.
    """
    from heliobus import watch as work

    return work.run(options.looked_at(simulate=simulate), filter)


@cli.command()
@click.argument("protocol")
@click.argument("source", metavar="[FILE]", type=click.File("rb", lazy=False), default="-")
@click.option("--map", "map_name", metavar="MAP", help="For mqtt: a map, by its name or file.")
@click.option("--profile", metavar="PROFILE", help="For modbus, can: a profile, by name or file.")
def decode(protocol: str, source: BinaryIO, map_name: str | None, profile: str | None) -> int:
    """Decode what was captured, one JSON object per line.

    FILE is - (standard input) unless it is named. A line is {"request": HEX or null,
    "response": HEX}, for mqtt {"topic": TOPIC, "payload": TEXT or JSON}, for modbus and
    sunspec also {"start": NUMBER, "registers": [NUMBER, ...]}, for can {"frames":
    [{"id": "0x351", "data": HEX}, ...]} or a line of candump; the answer is
    {"ok": true, "values": ..., "units": ...} or {"ok": false, "error": ...}. Every line is
    answered, an empty one, too. The exit status is 0 when all could be decoded, else 1.
    """
    from heliobus import components
    from heliobus import decode as work

    way = components.decoding(protocol)
    by = {"map": map_name, "profile": profile}
    if way.by == "profile":
        by["profile"] = profile or components.usual_profile(protocol)
    for word, name in by.items():
        if name is not None and way.by != word:
            raise click.UsageError(f"{protocol} is decoded without a {word}; leave --{word} out")
        if name is None and way.by == word:
            raise click.UsageError(
                f"{protocol} needs --{word} NAME or --{word} FILE; 'heliobus list' shows all"
            )
    decoder, name = components.decoder(protocol), by.get(way.by)
    return work.run(way, decoder(name) if name else decoder, source, sys.stdout.buffer)


def _row(names: list[str]) -> list[str]:
    return [", ".join(names)] if names else []


class _Sim(click.Command):
    """A command whose help ends with what it can be, and what can go wrong on a line."""

    def format_epilog(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from heliobus import components
        from heliobus.line import Faults

        with formatter.section("Protocols"):
            there = components.simulated()
            formatter.write_dl(
                [(each.name, ": ".join((each.title, *_row(each.models)))) for each in there]
            )
        with formatter.section("Kinds of faults"):
            formatter.write_dl(list(Faults.KINDS.items()))


@cli.command(cls=_Sim)
@click.argument("protocol")
@click.option("--pty", is_flag=True, help="Serve on a pseudo-terminal; this is the default.")
@click.option("--tcp", metavar="HOST:PORT", help="Serve on a TCP port; 0 takes a free one.")
@click.option("--dial", metavar="HOST:PORT", help="Dial in there, as to a link listen://HOST:PORT.")
@click.option("--baud", type=click.IntRange(min=50), help="Pace the bytes at this rate.")
@click.option(
    "--broker", metavar="mqtt://[USER@]HOST[:PORT]", help="For mqtt: the broker to speak to."
)
@click.option(
    "--password-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file with the password of that user.",
)
@click.option(
    "--faults",
    metavar="KIND=SHARE,...",
    default="",
    help="How many of the answers go wrong, 0 to 1, such as silence=0.05,late=0.01.",
)
@click.option(
    "--variant",
    "--model",
    "--profile",
    "variant",
    metavar="NAME",
    help="Which model to be; a wrong name lists all. For modbus: a profile, by its name or file.",
)
@click.option("--unit", type=click.IntRange(0, 255), help="Its number on a line of several.")
@click.option("--link", type=click.Path(path_type=Path), help="Also give the port this name.")
def sim(protocol: str, *, faults: str, variant: str | None, unit: int | None, **place: Any) -> int:
    """Be a simulated device: on a serial or TCP port, or a broker."""
    from heliobus import simulate as work

    given = [option for option in ("tcp", "dial", "pty", "link") if place[option]]
    if len(given) > 1 and given != ["pty", "link"]:
        raise click.UsageError(f"--{given[0]} does not go with --{given[1]}; choose one")
    role = work.Role(faults=faults, variant=variant, unit=unit)
    return work.run(protocol, work.Place(**place), role, out=sys.stdout)


@cli.command()
@click.argument("name")
@click.option(
    "--admin-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A file with the administrator's secret: a token, or the address with a password."
    " SQLite and VictoriaMetrics need none.",
)
@click.pass_obj
def prepare(options: Options, name: str, admin_file: Path | None) -> int:
    """Make what the sink NAME needs at its server.

    What is there and works is left as it is. The administrator's secret is used for this only;
    delete its file afterwards.
    """
    from heliobus import prepare as work

    return work.run(options.settings(), name, admin_file, sys.stdout)


@cli.command()
@click.argument("name", default="")
def schema(name: str) -> int:
    """Print the JSON Schema NAME, or the names of all."""
    from heliobus import catalogue as work

    return work.print_schema(name, sys.stdout)


@cli.command()
@click.argument("device")
@click.argument("field")
@click.option("--since", default="24h", show_default=True, help="How far back, such as 90m or 7d.")
@click.option("--csv", is_flag=True, help="Print comma-separated values.")
@click.option("--kind", default="", help="Where a component has the same name: 'component' is it.")
@click.option("--simulate", is_flag=True, help="Of what 'heliobus up --simulate' has stored.")
@click.pass_obj
def history(
    options: Options, /, device: str, field: str, *, since: str, simulate: bool, **how: Any
) -> int:
    """Show what the archive holds of a FIELD of a DEVICE.

    A component is asked like a device: heliobus history axpert uptime_s.
    """
    from heliobus import archive as work
    from heliobus.errors import ConfigError
    from heliobus.quantities import duration_s

    try:
        since_s = duration_s(since)
    except ConfigError as error:
        raise click.BadParameter(str(error), param_hint="--since") from error
    settings = options.looked_at(simulate=simulate)
    return work.history_command(settings, device, field, since_s=since_s, out=sys.stdout, **how)


cli.add_command(broker)


def _check_names(names: Iterable[str], settings: "Settings") -> None:
    known = [*settings.bridges, *settings.sinks]
    for name in names:
        if name not in known:
            raise click.UsageError(f"no component is called {name!r}{guess(name, known)}")
