"""A real Home Assistant, without its pages, at a broker of the tests.

    with HomeAssistant(tmp_path / "ha", broker) as home:
        home.publish("homeassistant/device/shed/config", {...})
        home.states()["sensor.shed_power"]
        home.complaints()
        home.restart()

It is installed at its first use into .venv/home-assistant, from wheels alone: half a minute, and
0.4 GB. It starts in about 8 s, 5 of which it waits for the end of discovery.
"""

import base64
import fcntl
import hashlib
import hmac
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pytest
import yaml
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from tests.helpers import ROOT, BrokerProcess, free_port, lacking, wait_until

FOLDER = ROOT / ".venv" / "home-assistant"
REQUIREMENTS = ROOT / "tests" / "ha-requirements.txt"
# The oldest and the newest Python of the Home Assistant in that file.
PYTHON = "3.13"
INSTALL_S = 500.0
START_S = 120.0
STOP_S = 60.0

_HOST = "127.0.0.1"
# It comes without what reports to its makers, for which it would listen for names on every network.
_MAIN = """
import sys
from homeassistant import __main__, bootstrap
bootstrap.DEFAULT_INTEGRATIONS.remove("analytics")
sys.exit(__main__.main())
"""
# What the tests are not about: pictures, and a machine that is busy.
_HARMLESS = re.compile(r"Error loading libturbojpeg|Updating state for \S+ .* took")
# Its own components and what they are made of; others complain of pip and of slow starts.
_COMPLAINT = re.compile(
    r"^\S+ \S+ (?P<level>WARNING|ERROR|CRITICAL) \(.*?\)"
    r" \[(?P<logger>homeassistant\.(?:components|helpers)\.[\w.]+|root)\] (?P<text>.*)$",
    re.MULTILINE,
)
_STATES = """
{%- set found = namespace(all={}) -%}
{%- for id in integration_entities("mqtt") if states[id] -%}
  {%- set found.all = dict(found.all, **{id: {
    "state": states[id].state,
    "name": states[id].attributes.friendly_name,
    "unit": states[id].attributes.unit_of_measurement | default(none),
    "device_class": states[id].attributes.device_class | default(none),
    "state_class": states[id].attributes.state_class | default(none),
    "device": device_attr(id, "name")}}) -%}
{%- endfor -%}
{{ found.all | to_json }}
"""


@dataclass(frozen=True, kw_only=True)
class Entity:
    """An entity as people see it in Home Assistant."""

    state: str
    name: str
    device: str
    unit: str | None = None
    device_class: str | None = None
    state_class: str | None = None


@dataclass(frozen=True)
class Seen:
    """Whether an entity, if it is there at all, has the state that is waited for."""

    entity: Entity | None
    state: str

    def __bool__(self) -> bool:
        return self.entity is not None and self.entity.state == self.state


class HomeAssistant:
    """A Home Assistant that knows no more than the address of a broker."""

    def __init__(self, folder: Path, broker: BrokerProcess) -> None:
        """Install it if need be; skip the test where there is no Python for it."""
        self._python = installed()
        self.folder = folder
        self.port = free_port()
        self.log = folder / "home.log"
        self._broker = broker
        self._births = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._ends = ExitStack()
        self._client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        self._client.on_connect = lambda client, *_: client.subscribe("homeassistant/status", 1)
        self._client.on_message = self._hear

    def __enter__(self) -> Self:
        """Start it and wait until it is up."""
        self._write_configuration()
        with ExitStack() as ends:
            self._client.connect(self._broker.host, self._broker.port)
            ends.callback(self._client.disconnect)
            self._client.loop_start()
            ends.callback(self._client.loop_stop)
            ends.callback(self.stop)
            self.start()
            self._ends = ends.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """End it, and leave its log to whom a test failed."""
        self._ends.close()
        print(self.said[-8000:])

    # ------------------------------------------------------------------ its life

    def start(self) -> None:
        """Start it and wait for its birth message: it has taken in all that is retained."""
        before = self._births
        options = ("--config", str(self.folder), "--skip-pip", "--log-no-color")
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                # It ends when the tests do, however they end.
                ["setpriv", "--pdeathsig", "TERM", self._python, "-c", _MAIN, *options],
                cwd=self.folder,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        wait_until(lambda: self._is_born(before), "Home Assistant's birth", START_S)

    def stop(self) -> None:
        """End it in order, as its user does. Safe to call twice."""
        if self._process is None:
            return
        if self._process.poll() is None:
            os.kill(self._process.pid, signal.SIGTERM)
        self._process.wait(STOP_S)
        self._process = None

    def restart(self) -> None:
        """End it and start it again with what it remembers."""
        self.stop()
        self.start()

    def _is_born(self, before: int) -> bool:
        if self._process is None or self._process.poll() is not None:
            raise RuntimeError("Home Assistant has ended")
        return self._births > before

    def _hear(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        self._births += message.payload == b"online"

    # ------------------------------------------------------------------ what it hears and shows

    def publish(self, topic: str, body: Mapping[str, Any] | str, *, retain: bool = True) -> None:
        """Say something to it by the broker: an object as JSON, a text as it is."""
        payload = body if isinstance(body, str) else json.dumps(body)
        self._client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(10)

    def states(self) -> Mapping[str, Entity]:
        """Give every entity that came by MQTT, by its entity id."""
        found: Mapping[str, Mapping[str, Any]] = json.loads(self.render(_STATES))
        return {entity_id: Entity(**shown) for entity_id, shown in found.items()}

    def shows(self, entity_id: str, state: str, deadline_s: float = 30.0) -> Entity:
        """Wait until an entity is there with this state, and give it."""

        def seen() -> Seen:
            return Seen(self.states().get(entity_id), state)

        found = wait_until(seen, f"{entity_id} = {state}", deadline_s).entity
        assert found is not None
        return found

    def render(self, template: str) -> str:
        """Have it render a template: `device_attr("sensor.shed_power", "model")` in braces."""
        request = urllib.request.Request(
            f"http://{_HOST}:{self.port}/api/template",
            json.dumps({"template": template}).encode(),
            {"Authorization": f"Bearer {_token()}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - the same
            text: str = answer.read().decode()
        return text

    # ------------------------------------------------------------------ what it says

    @property
    def said(self) -> str:
        """Give its whole log, that of its former lives too."""
        return self.log.read_text()

    def complaints(self) -> list[str]:
        """Give what its components have ever logged as a warning or worse: `LEVEL logger: text`."""
        return [
            f"{one['level']} {one['logger']}: {one['text']}"
            for one in _COMPLAINT.finditer(self.said)
            if not _HARMLESS.search(one["text"])
        ]

    def complains(self, *words: str) -> str:
        """Wait for a complaint with all these words, and give it."""

        def complaint() -> str:
            lines = self.complaints()
            return next((line for line in lines if all(word in line for word in words)), "")

        return wait_until(complaint, f"a complaint with {words}")

    # ------------------------------------------------------------------ what it starts with

    def _write_configuration(self) -> None:
        pages = self.folder / "no-pages"  # in place of its 50 MB of pages for browsers
        (pages / "hass_frontend").mkdir(parents=True)
        configuration = {
            "homeassistant": {"time_zone": "UTC", "unit_system": "metric"},
            "http": {"server_host": _HOST, "server_port": self.port},
            "frontend": {"development_repo": str(pages)},
            "logger": {"default": "warning"},
        }
        (self.folder / "configuration.yaml").write_text(yaml.safe_dump(configuration))
        (self.folder / ".storage").mkdir()
        for key, version, minor_version, data in _stored(self._broker):
            whole = {"version": version, "minor_version": minor_version, "key": key, "data": data}
            (self.folder / ".storage" / key).write_text(json.dumps(whole))


def _stored(broker: BrokerProcess) -> Iterator[tuple[str, int, int, Mapping[str, Any]]]:
    """Give what it would remember after its user has clicked: the broker, and a token for us.

    The versions and the keys are those of Home Assistant 2025.4: config_entries.py (ConfigEntry),
    auth/auth_store.py.
    """
    long_ago = "2025-01-01T00:00:00+00:00"
    entry = {
        "entry_id": "mqtt",
        "domain": "mqtt",
        "title": "broker",
        "source": "user",
        "version": 1,
        "minor_version": 2,
        "data": {"broker": broker.host, "port": broker.port},
        "options": {},
        "subentries": [],
        "discovery_keys": {},
        "unique_id": None,
        "disabled_by": None,
        "pref_disable_new_entities": False,
        "pref_disable_polling": False,
        "created_at": long_ago,
        "modified_at": long_ago,
    }
    yield "core.config_entries", 1, 5, {"entries": [entry]}
    user = {
        "id": "tests",
        "name": "tests",
        "group_ids": ["system-admin"],
        "is_owner": True,
        "is_active": True,
        "system_generated": False,
        "local_only": True,
    }
    token = {
        "id": "tests",
        "user_id": "tests",
        "client_id": None,
        "client_name": "tests",
        "client_icon": None,
        "token_type": "long_lived_access_token",
        "access_token_expiration": 86400.0,
        "token": "tests",
        "jwt_key": "tests",
        "created_at": long_ago,
    }
    yield (
        "auth",
        1,
        1,
        {"users": [user], "groups": [], "credentials": [], "refresh_tokens": [token]},
    )


def _token() -> str:
    """Give the access token (RFC 7519) that goes with what is stored."""
    now_s = int(time.time())
    parts = ({"alg": "HS256", "typ": "JWT"}, {"iss": "tests", "iat": now_s, "exp": now_s + 3600})
    text = ".".join(_base64(json.dumps(part).encode()) for part in parts)
    return f"{text}.{_base64(hmac.digest(b'tests', text.encode(), hashlib.sha256))}"


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


# ---------------------------------------------------------------------- installing it


def installed(folder: Path = FOLDER) -> str:
    """Give the Python of a Home Assistant that is installed; install it, once for all workers.

    What was left half done, or is of another list of packages, is made anew.
    """
    python = _suitable_python()
    if python is None:
        # The one thing that CI may lack: no system package brings it everywhere.
        pytest.skip(f"no Python {PYTHON} on this machine, and no other runs Home Assistant")
    own, stamp = folder / "bin" / "python", folder / "installed"
    wanted = f"{python}\n{REQUIREMENTS.read_text()}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (own.exists() and stamp.exists() and stamp.read_text() == wanted):
            _install(python, folder)
            stamp.write_text(wanted)
    return str(own)


def _install(python: str, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    _run(python, "-m", "venv", "--without-pip", str(folder))
    # Compiled are only the few modules that are used, when they are first imported.
    how = ("--no-deps", "--no-compile", "--only-binary=:all:", "--disable-pip-version-check", "-qq")
    pip = (sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"))
    _run(*pip, "install", *how, "-r", str(REQUIREMENTS))


def _run(*command: str) -> None:
    done = subprocess.run(
        command, env=_environment(), capture_output=True, text=True, timeout=INSTALL_S, check=False
    )
    if done.returncode:
        lacking(
            f"Home Assistant could not be installed: {' '.join(command)}\n{done.stderr[-2000:]}"
        )


def _suitable_python() -> str | None:
    """Find a Python that runs; on PATH there may be one that only says that it does not."""
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    candidates = [
        sys.executable,
        shutil.which(f"python{PYTHON}"),
        *map(str, sorted(versions.glob(f"{PYTHON}*/bin/python{PYTHON}"), reverse=True)),
    ]
    question = f"import sys, venv; sys.exit('%d.%d' % sys.version_info[:2] != '{PYTHON}')"
    for candidate in filter(None, candidates):
        done = subprocess.run(
            [candidate, "-c", question], env=_environment(), capture_output=True, check=False
        )
        if done.returncode == 0:
            return candidate
    return None


def _environment() -> Mapping[str, str]:
    """Give our environment without what would reach into another Python."""
    return {
        name: value
        for name, value in os.environ.items()
        if name not in ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV")
    }
