"""Modules that are postponed: loaded when they are used, and only then."""

import subprocess
import sys

from tests.helpers import ROOT


def _says(program: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout.strip()


def test_the_bus_loads_nothing_for_tls_proxies_and_websockets() -> None:
    assert _says(
        "import heliobus.bus, sys;"
        "print([m for m in ('_ssl', '_hashlib', 'http', 'email') if m in sys.modules])"
    ) == "[]"  # fmt: skip


def test_a_bridge_loads_nothing_for_files_that_it_never_writes() -> None:
    assert _says(
        "import heliobus.process, heliobus.config, sys;"
        "from heliobus import components; components.bridge('voltronic');"
        "print([m for m in ('tempfile', 'shutil', 'random', 'lzma') if m in sys.modules])"
    ) == "[]"  # fmt: skip


def test_a_postponed_module_is_the_real_one_once_it_is_used() -> None:
    assert _says(
        "from heliobus.lazy import postpone;"
        "postpone('ssl', 'urllib.request');"
        "import ssl, sys, urllib.request; first = ssl;"
        "print('_ssl' in sys.modules);"
        "print(type(first.create_default_context()).__name__, '_ssl' in sys.modules);"
        "import ssl; print(ssl is first, ssl.SSLContext is first.SSLContext);"
        "from urllib.request import Request; print(Request.__module__)"
    ).splitlines() == ["False", "SSLContext True", "False True", "urllib.request"]


def test_a_module_that_is_loaded_stays_as_it_is() -> None:
    assert _says(
        "import json; from heliobus.lazy import postpone;"
        "before = json; postpone('json'); import json; print(json is before)"
    ) == "True"  # fmt: skip
