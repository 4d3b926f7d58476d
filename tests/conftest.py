"""Fixtures for every test: real brokers, `heliobus sim`, and the optional further vectors."""

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, settings

from heliobus.settings import BrokerStart
from tests.helpers import ROOT, BrokerProcess, Sim, lacking, require_program, vectors_folder
from tests.servers import MariaDB, PostgreSQL, running

# How fast a busy machine makes examples says nothing of what is tested.
settings.register_profile("quiet", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("quiet")


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[BrokerProcess]:
    """Run a real mosquitto with our shipped configuration."""
    require_program("mosquitto", package="mosquitto")
    yield from _running(BrokerProcess(BrokerStart.MOSQUITTO, tmp_path / "mosquitto"))


@pytest.fixture
def embedded_broker(tmp_path: Path) -> Iterator[BrokerProcess]:
    """Run the embedded broker in a process of its own."""
    if find_spec("amqtt") is None:
        lacking("amqtt is not installed here: make setup")
    yield from _running(BrokerProcess(BrokerStart.EMBEDDED, tmp_path / "embedded"))


@pytest.fixture
def common_path() -> Iterator[Path]:
    """Give a folder to which an ordinary user can come; to `tmp_path` he may not.

    Each run of pytest that begins, also somebody else's, closes /tmp/pytest-of-root again.
    """
    with TemporaryDirectory(prefix="heliobus-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture(params=["mosquitto", "embedded_broker"])
def any_broker(request: pytest.FixtureRequest) -> BrokerProcess:
    """Run the test once with each broker that we ship."""
    broker: BrokerProcess = request.getfixturevalue(request.param)
    return broker


@pytest.fixture(scope="session")
def mariadb_of_the_session() -> Iterator[MariaDB]:
    """Run one MariaDB for all tests; it starts in a second."""
    yield from running(MariaDB)


@pytest.fixture
def mariadb(mariadb_of_the_session: MariaDB) -> Iterator[MariaDB]:
    """Give a MariaDB that may be killed and frozen: it is mended afterwards."""
    yield mariadb_of_the_session
    mariadb_of_the_session.sound()


@pytest.fixture(scope="session")
def postgresql_of_the_session() -> Iterator[PostgreSQL]:
    """Run one PostgreSQL for all tests."""
    yield from running(PostgreSQL)


@pytest.fixture
def postgresql(postgresql_of_the_session: PostgreSQL) -> Iterator[PostgreSQL]:
    """Give a PostgreSQL that may be killed and frozen: it is mended afterwards."""
    yield postgresql_of_the_session
    postgresql_of_the_session.sound()


@pytest.fixture
def sim(tmp_path: Path) -> Iterator[Sim]:
    """Start `heliobus sim` and give the process and the link that it tells."""
    started = []

    def start(*arguments: str) -> tuple[subprocess.Popen[str], str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "heliobus", "sim", *arguments],
            stdout=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        started.append(process)
        assert process.stdout is not None
        return process, process.stdout.readline().split()[2]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def vectors() -> Path:
    """Give the optional folder of further vectors, or skip the test: they are no requirement."""
    folder = vectors_folder()
    if folder is None:
        pytest.skip("no folder of further vectors (HELIOBUS_VECTORS)")
    return folder


def _running(broker: BrokerProcess) -> Iterator[BrokerProcess]:
    broker.start()
    yield broker
    broker.stop()
