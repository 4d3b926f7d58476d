"""What a person reads when a link cannot be opened, and what would be right."""

import errno
import grp
import os
import pty
import socket
import subprocess
import sys
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from heliobus import ports
from heliobus.address import SCHEMES, parse
from heliobus.errors import ConfigError, LinkError
from heliobus.link import check_url, open_link
from heliobus.simulation import serve_tcp

REPOSITORY = Path(__file__).parents[1]
# pyserial's RFC 2217 client still calls them.
pytestmark = pytest.mark.filterwarnings("ignore:set(Daemon|Name):DeprecationWarning")


class Mute:
    """Answers nothing."""

    def take(self, data: bytes) -> bytes:  # noqa: ARG002 - that is the point
        return b""


@pytest.fixture
def terminal() -> Iterator[str]:
    """Give the path of a raw pseudo-terminal."""
    served, used = pty.openpty()
    tty.setraw(used)
    yield os.ttyname(used)
    os.close(used)
    os.close(served)


# --- URLs


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("serial:///dev/ttyUSB0", "/dev/ttyUSB0"),
        ("serial:///dev/ttyUSB0?baud=2400&parity=N&bytesize=8&stopbits=1", "/dev/ttyUSB0"),
        (
            "serial:///dev/serial/by-path/pci-0:1:2.0-p0?",
            "/dev/serial/by-path/pci-0:1:2.0-p0",
        ),
        ("serial:///dev/odd#name", "/dev/odd#name"),
        ("hidraw:///dev/hidraw0", "/dev/hidraw0"),
        ("tcp://192.0.2.1:502", "192.0.2.1:502"),
        ("tcp://[2001:db8::1]:502", "[2001:db8::1]:502"),
        ("socket://converter.lan:8899/", "converter.lan:8899"),
        ("rfc2217://[::1]:2217?baud=9600&stopbits=1.5", "[::1]:2217"),
    ],
)
def test_a_url_gives_the_name_for_messages(url: str, name: str) -> None:
    check_url(url)
    assert parse(url).name == name


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("/dev/ttyUSB0", "found no scheme; did you mean 'serial:///dev/ttyUSB0'?"),
        ("/dev/hidraw0", "found no scheme; did you mean 'hidraw:///dev/hidraw0'?"),
        ("ttyUSB0", "found no scheme; expected it like serial:///dev/ttyUSB0?baud=2400"),
        ("192.168.1.20", "found no scheme; did you mean 'tcp://192.168.1.20:502'?"),
        ("192.168.1.20:1502", "found no scheme; did you mean 'tcp://192.168.1.20:1502'?"),
        ("meter:502", "found no scheme; did you mean 'tcp://meter:502'?"),
        ("modbus://meter", "scheme 'modbus' is not known; did you mean 'tcp://meter:502'?"),
        ("http://meter:80/", "scheme 'http' is not known; did you mean 'tcp://meter:502'?"),
        ("", "found no scheme; expected it like serial:///dev/ttyUSB0?baud=2400"),
        ("serail:///dev/ttyUSB0", "scheme 'serail' is not known; did you mean 'serial'?"),
        (
            "usb://1",
            "scheme 'usb' is not known; known are can, hidraw, listen, rfc2217, serial, socket,"
            " tcp",
        ),
        ("serial:///dev/ttyUSB0?bawd=2400", "option 'bawd' is not known; did you mean 'baud'?"),
        ("serial:///dev/ttyUSB0?baud=2401", "baud '2401' is not known; did you mean '2400'?"),
        ("serial:///dev/ttyUSB0?parity=n", "parity 'n' is not known; did you mean 'N'?"),
        ("serial:///dev/ttyUSB0?parity=even", "parity 'even' is not known; did you mean 'E'?"),
        (
            "can:slcan//dev/ttyACM0?bitrate=500k",
            "bitrate '500k' is not known; did you mean '500000'?",
        ),
        ("serial:///dev/ttyUSB0?parity=x", "parity 'x' is not known; known are N, E, O, M, S"),
        ("serial:///dev/a?baud=2400&baud=9600", "option 'baud' is given twice; leave one"),
        (
            "serial:///dev/ttyUSB0?baud",
            "bad query field: 'baud'; expected it like serial:///dev/ttyUSB0?baud=2400",
        ),
        (
            "serial://dev/ttyUSB0?baud=9600",
            "found 'dev/ttyUSB0', not a full path after ://; did you mean 'serial:///dev/ttyUSB0'?",
        ),
        ("serial://tmp/meter", "found 'tmp/meter', not a full path after ://; expected it like s"),
        ("serial:/dev/", "found '/dev/', not a full path after ://; expected it like serial://"),
        ("hidraw:///dev/hidraw0?baud=2400", "option 'baud' is not known; there are none here"),
        ("tcp://:502", "found no host; expected it like tcp://192.0.2.7:502"),
        ("tcp://inverter", "found no port; expected it like tcp://192.0.2.7:502"),
        ("tcp://me@host:502", "found more than a host and a port; expected it like "),
        ("tcp://host:502/unit", "found more than a host and a port; expected it like "),
        ("tcp://[::1:502", "Invalid IPv6 URL; expected it like tcp://192.0.2.7:502"),
        ("tcp://host:99999", "Port out of range 0-65535; expected it like tcp://192.0.2.7:502"),
    ],
)
def test_a_malformed_url_is_refused_with_what_would_be_right(url: str, message: str) -> None:
    for judge in (check_url, open_link):
        with pytest.raises(ConfigError) as caught:
            judge(url)
        assert str(caught.value).startswith(f"link '{url}': {message}")


def test_each_scheme_shows_an_example_that_is_right() -> None:
    for name, scheme in SCHEMES.items():
        assert parse(scheme.example).scheme == name


@pytest.mark.parametrize("scheme", SCHEMES)
def test_each_scheme_can_be_opened(scheme: str) -> None:
    url = SCHEMES[scheme].example.replace("192.0.2.7", "127.0.0.1").replace("/dev/", "/dev/no")
    url = url.replace("listen://0.0.0.0", "listen://192.0.2.7")  # no address of ours
    with pytest.raises(LinkError):
        open_link(url.replace(":502", ":1").replace(":2217", ":1").replace(":8899", ":1"))


def test_judging_a_url_does_not_import_pyserial() -> None:
    code = (
        "import sys; from heliobus.link import check_url; check_url('serial:///dev/ttyUSB0'); "
        "sys.exit('serial' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=False).returncode == 0


# --- opening a port


def refusal(url: str) -> str:
    with pytest.raises(LinkError) as caught:
        open_link(url)
    return str(caught.value)


def test_a_missing_port_is_named() -> None:
    assert refusal("serial:///dev/ttyNone7").startswith("/dev/ttyNone7: no such port")
    assert refusal("hidraw:///dev/hidraw77").startswith("/dev/hidraw77: no such port")


def test_a_missing_port_comes_with_those_that_are_most_like_it(tmp_path: Path) -> None:
    prolific = tmp_path / "usb-Prolific_Technology_Inc._USB-Serial_Controller-if00-port0"
    ftdi = tmp_path / "usb-FTDI_FT232R_USB_UART_A50285BI-if00-port0"
    prolific.touch()
    ftdi.touch()
    wanted = str(tmp_path / "usb-FTDI_FT232R_USB_UART_A50285B1-if00-port0")
    assert ports.missing(wanted, tmp_path).startswith(f"no such port; there is {ftdi}")
    assert ports.missing("/dev/ttyUSB0", tmp_path) == f"no such port; there is {ftdi}, {prolific}"


def test_without_any_port_the_cable_is_asked_for(tmp_path: Path) -> None:
    assert ports.missing("/dev/ttyNone0", tmp_path) == (
        "no such port, and no other one; plug the cable in and switch the device on"
    )


def test_a_file_is_not_a_serial_port(tmp_path: Path) -> None:
    file = tmp_path / "ttyUSB0"
    file.touch()
    for path in (file, tmp_path, "/dev/zero"):
        assert refusal(f"serial://{path}") == f"{path}: not a serial port"


def test_a_file_is_not_a_hidraw_device(tmp_path: Path) -> None:
    file = tmp_path / "hidraw0"
    file.touch()
    assert refusal(f"hidraw://{file}") == f"{file}: a file, expected a device like /dev/hidraw0"


HOLD = """\
import fcntl, os, sys
port = os.open(sys.argv[1], os.O_RDWR | os.O_NOCTTY)
if sys.argv[2] == "lock":
    fcntl.flock(port, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def held_by_mpp_solar(folder: Path, path: str, how: str) -> Iterator[int]:
    """Let another process, a script called mpp-solar, hold the port; give its number."""
    script = folder / "mpp-solar"
    script.write_text(HOLD)
    command = [sys.executable, str(script), path, how]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield process.pid
        process.communicate()


def test_a_port_in_use_comes_with_the_program_that_holds_it(tmp_path: Path, terminal: str) -> None:
    path = terminal
    with held_by_mpp_solar(tmp_path, path, "lock") as pid:
        for scheme in ("serial", "hidraw"):
            assert refusal(f"{scheme}://{path}") == (
                f"{path}: held by mpp-solar (pid {pid}); a port has one owner, stop the other one"
            )


def test_what_is_open_elsewhere_without_a_lock_is_refused_too(tmp_path: Path) -> None:
    port = tmp_path / "ttyUSB0"
    port.touch()
    with held_by_mpp_solar(tmp_path, str(port), "open") as pid:
        for scheme in ("serial", "hidraw"):
            assert f"held by mpp-solar (pid {pid});" in refusal(f"{scheme}://{port}")


def test_a_port_cannot_be_opened_twice_by_ourselves(terminal: str) -> None:
    path = terminal
    link = open_link(f"serial://{path}")
    assert refusal(f"serial://{path}").startswith(f"{path}: in use by another process; `sudo fuser")
    link.close()
    open_link(f"serial://{path}").close()


AS_NOBODY = """\
import os, sys, serial
from heliobus.errors import LinkError
from heliobus.link import open_link
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
try:
    open_link(sys.argv[1])
except LinkError as error:
    print(error)
"""


def refusal_as_nobody(url: str) -> str:
    if os.geteuid() != 0:
        pytest.skip("only root can become a user who has no permission")
    command = [sys.executable, "-c", AS_NOBODY, url]
    done = subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.mark.parametrize("scheme", ["serial", "hidraw"])
def test_without_permission_the_group_and_the_command_are_named(scheme: str, terminal: str) -> None:
    path = terminal
    group = grp.getgrnam("dialout")
    if os.geteuid() == 0:
        os.chown(path, 0, group.gr_gid)
        os.chmod(path, 0o660)
    assert refusal_as_nobody(f"{scheme}://{path}") == (
        f"{path}: no permission, it belongs to group dialout; "
        "run `sudo usermod -aG dialout nobody` and log in again"
    )


def test_a_device_of_root_alone_comes_with_a_udev_rule(terminal: str) -> None:
    path = terminal
    os.chmod(path, 0o600)
    message = refusal_as_nobody(f"hidraw://{path}")
    assert message.startswith(f"{path}: no permission, only root has it; add a udev rule such as ")


# --- connecting to a host


def test_a_host_that_refuses_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    for scheme in ("tcp", "socket", "rfc2217"):
        assert refusal(f"{scheme}://127.0.0.1:{port}") == (
            f"127.0.0.1:{port}: refused; check the port, and that a program there listens on it"
        )


def test_a_host_with_an_unknown_name_is_named() -> None:
    assert refusal("tcp://no-such-host.invalid:502").startswith(
        "no-such-host.invalid:502: no host of this name is known"
    )
    assert refusal("tcp://a..b:502") == "a..b:502: no host can have this name"


@pytest.mark.parametrize(
    "error", [TimeoutError(), OSError(errno.EHOSTUNREACH, ""), OSError(errno.ENETUNREACH, "")]
)
def test_a_host_out_of_reach_is_called_unreachable(error: OSError) -> None:
    assert (
        ports.host_fault(error) == "unreachable; check that it is switched on and in this network"
    )


def test_a_host_that_does_not_speak_rfc2217_is_told() -> None:
    with serve_tcp(Mute()) as service:
        message = refusal(service.url.replace("tcp:", "rfc2217:"))
    assert "Remote does not seem to support RFC2217" in message
