"""compose.yaml, .env.example, the container image and docs/compose.md, as text.

There is no Docker here: what can be run without it is run by test_compose_steps.py.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from check_jsonschema.builtin_schemas import (  # type: ignore[import-untyped]  # has no types
    get_builtin_schema,
)
from jsonschema.validators import validator_for

from heliobus import config
from tests.compose_files import (
    DOCKERFILE,
    ENV_EXAMPLE,
    FILE,
    LASTING,
    OURS,
    SERVICES,
    STEPS,
    TEXT,
    environment,
    filled_in,
    mounts,
    variables,
)
from tests.helpers import ROOT

PAGE = (ROOT / "docs" / "compose.md").read_text(encoding="utf-8")
EVERY = sorted(SERVICES)
SCHEMA: dict[str, Any] = get_builtin_schema("vendor.compose-spec")


def faults(file: Any) -> list[str]:
    """Give what Compose's own schema says against a file."""
    return [error.message for error in validator_for(SCHEMA)(SCHEMA).iter_errors(file)]


# ------------------------------------------------------------------ the file


def test_the_file_follows_the_schema_of_compose() -> None:
    assert faults(FILE) == []
    assert faults({"services": {"heliobus": {"imgae": "x"}}}) != []


def test_its_services_and_profiles_are_those_that_people_know() -> None:
    usual = {name for name, each in SERVICES.items() if "profiles" not in each}
    assert usual == {"broker-init", "mosquitto", "heliobus", "influxdb", "influx-init", "grafana"}
    by_profile = {n: each["profiles"] for n, each in SERVICES.items() if "profiles" in each}
    assert by_profile == {
        "sim": ["demo"],
        "telegraf": ["telegraf"],
        "mariadb": ["mariadb"],
        "mariadb-init": ["mariadb"],
        "victoriametrics": ["victoriametrics"],
    }
    assert {"broker-init", "influx-init", "mariadb-init"} == STEPS


@pytest.mark.parametrize("name", EVERY)
def test_every_image_is_pinned_to_one_version(name: str) -> None:
    image = SERVICES[name]["image"]
    if name in OURS:
        assert image == "heliobus:local"
        assert SERVICES[name]["build"] == {"context": ".", "dockerfile": "deploy/Dockerfile"}
    else:
        assert re.fullmatch(r"[a-z/-]+:v?\d+\.\d+\.\d+(-alpine)?", image)


def test_the_image_is_based_on_one_version_of_python() -> None:
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert len(bases) == 2
    assert all(re.fullmatch(r"python:3\.13\.\d+-slim-bookworm", base) for base in bases)


# ------------------------------------------------------------------ .env


def test_every_variable_is_in_the_example_with_its_default() -> None:
    given = environment()
    # Compose reads those with its own name by itself.
    own = {name for name in given if name.startswith("COMPOSE_")}
    assert own == {"COMPOSE_PROFILES"}
    assert variables() == {name: {value} for name, value in given.items() if name not in own}


def test_every_variable_of_the_example_is_explained_or_belongs_to_one_that_is() -> None:
    for block in ENV_EXAMPLE.split("\n\n"):
        assert block.startswith("#"), block


def test_the_example_starts_the_demo() -> None:
    given = environment()
    assert given["COMPOSE_PROFILES"] == "demo"
    assert given["HELIOBUS_CONFIG"] == "./deploy/compose/demo.yaml"


# ------------------------------------------------------------------ who can do what


@pytest.mark.parametrize("name", EVERY)
def test_every_port_is_open_to_this_computer_only(name: str) -> None:
    for port in SERVICES[name].get("ports", ()):
        assert re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port)
    assert SERVICES[name].get("network_mode") is None


def test_each_port_and_who_can_reach_it_is_a_variable() -> None:
    published = re.findall(r"^ *ports: (.*)$", TEXT, re.MULTILINE)
    for port in published:
        assert re.fullmatch(r'\["\$\{\w+_BIND:-127.0.0.1\}:\$\{\w+_PORT:-\d+\}:\d+"\]', port)
    assert len(published) == 4


@pytest.mark.parametrize("name", EVERY)
def test_no_container_may_do_more_than_it_must(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "pid", "ipc"} & set(service)
    assert "/tmp" in service["tmpfs"]


@pytest.mark.parametrize("name", [name for name in EVERY if name not in OURS])
def test_no_foreign_container_runs_as_root(name: str) -> None:
    if name == "victoriametrics":  # its image has no other user; it has no rights of root either
        return
    assert SERVICES[name]["user"].partition(":")[0] not in ("0", "root")


def test_the_image_runs_as_one_user_that_every_reader_of_its_files_has() -> None:
    assert "USER heliobus" in DOCKERFILE
    assert "-u 10001" in DOCKERFILE
    made = {"broker", "mosquitto", "secrets", "reader", "telegraf"}
    for name in set(EVERY) - OURS:
        if made & {source for source, _, _ in mounts(SERVICES[name])}:
            assert SERVICES[name]["user"].startswith("10001:"), name


def test_nobody_gets_in_without_a_password() -> None:
    assert SERVICES["grafana"]["environment"]["GF_AUTH_ANONYMOUS_ENABLED"] == "false"
    # VictoriaMetrics knows no passwords: nobody outside can reach it.
    assert "ports" not in SERVICES["victoriametrics"]
    for text in (TEXT, *(path.read_text() for path in (ROOT / "deploy/compose").iterdir())):
        assert not re.search(r"allow_anonymous|ALLOW_EMPTY|RANDOM_ROOT", text)


def test_a_broker_that_lets_everybody_in_is_not_healthy() -> None:
    kind, check = SERVICES["mosquitto"]["healthcheck"]["test"]
    assert (kind, "-u" in check.split()) == ("CMD-SHELL", False)
    assert check.endswith("[ $? -eq 5 ]")


# ------------------------------------------------------------------ secrets


def test_every_secret_is_a_file_that_the_script_makes() -> None:
    used = {secret for each in SERVICES.values() for secret in each.get("secrets", ())}
    assert used == set(FILE["secrets"])
    script = (ROOT / "scripts" / "compose-secrets").read_text()
    for name, secret in FILE["secrets"].items():
        assert secret == {"file": f"./secrets/{name}"}
        assert re.search(rf"\b{name}\b", script)
    assert "/secrets/" in (ROOT / ".gitignore").read_text().splitlines()


def test_an_administrator_s_secret_reaches_its_server_and_its_step_only() -> None:
    holders = {
        secret: {name for name, each in SERVICES.items() if secret in each.get("secrets", ())}
        for secret in FILE["secrets"]
    }
    assert holders == {
        "influxdb_admin_password": {"influxdb"},
        "influxdb_admin_token": {"influxdb", "influx-init"},
        "grafana_admin_password": {"grafana"},
        "mariadb_root_password": {"mariadb"},
        "mariadb_admin_url": {"mariadb-init"},
    }


def test_no_secret_stands_in_the_file_or_in_the_environment() -> None:
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD|TOKEN|SECRET", name):
                assert name.endswith("_FILE"), name
                assert value.startswith("/run/secrets/"), name
    assert not re.search(r"PASSWORD|TOKEN", ENV_EXAMPLE)


def test_what_a_container_can_read_of_others_passwords_is_what_it_needs() -> None:
    kept = {"broker", "secrets", "reader", "telegraf"}
    read = {
        name: {source for source, _, _ in mounts(each)} & kept for name, each in SERVICES.items()
    }
    assert {name: volumes for name, volumes in read.items() if volumes} == {
        "broker-init": {"broker", "telegraf"},
        "influx-init": {"secrets", "reader", "telegraf"},
        "mariadb-init": {"secrets", "reader"},
        "mosquitto": {"broker"},
        "heliobus": {"broker", "secrets"},
        "telegraf": {"telegraf"},
        "grafana": {"reader"},
    }
    for name in LASTING:
        assert all(ro for source, _, ro in mounts(SERVICES[name]) if source in kept), name


def choices() -> list[str]:
    """Give the dashboards that .env.example explains; the container has no plugin for SQLite."""
    (block,) = [each for each in ENV_EXAMPLE.split("\n\n") if "DASHBOARDS=" in each]
    return re.findall(r"\b(?:influxql|flux|mysql|promql|sqlite)\b", block.split("DASHBOARDS=")[0])


def test_grafana_is_given_the_dashboards_that_are_chosen_and_no_other_database_s_secret() -> None:
    assert choices() == ["influxql", "flux", "mysql", "promql"]
    steps = {"influxql": "influx", "flux": "influx", "mysql": "mariadb"}
    for choice in choices():
        given = filled_in(values={"DASHBOARDS": choice})["services"]["grafana"]
        (folder,) = [s for s, target, _ in mounts(given) if target == "/etc/grafana/provisioning"]
        assert folder == f"./grafana/provisioning/{choice}"
        files = [path.read_text() for path in (ROOT / folder).glob("*/*.yaml")]
        assert len(files) == 2
        secrets = set(re.findall(r"/etc/heliobus/reader/(\w+)", "".join(files)))
        assert secrets == ({steps[choice]} if choice in steps else set())


def test_a_wrong_choice_of_dashboards_is_refused_and_makes_no_folder() -> None:
    (mount,) = [v for v in SERVICES["grafana"]["volumes"] if isinstance(v, dict)]
    assert mount["bind"] == {"create_host_path": False}


# ------------------------------------------------------------------ places


def test_every_path_of_the_repository_that_is_mounted_exists_and_is_read_only() -> None:
    for name, service in SERVICES.items():
        for source, _, read_only in mounts(service):
            if source.startswith("."):
                assert (ROOT / source).exists(), f"{name}: {source}"
                assert read_only, f"{name}: {source}"


def test_every_volume_is_named_and_used() -> None:
    used = {source for each in SERVICES.values() for source, _, _ in mounts(each)}
    assert {source for source in used if not source.startswith(".")} == set(FILE["volumes"])


def test_what_our_containers_write_to_belongs_to_their_user() -> None:
    (folders,) = re.findall(r"install -d -o heliobus[^\\]*\\\n((?:.*\\\n)*.*)", DOCKERFILE)
    made = set(folders.replace("\\", "").split())
    written = {
        target
        for name in OURS
        for source, target, read_only in mounts(SERVICES[name])
        if source in FILE["volumes"] and not read_only
    }
    assert written <= made


@pytest.mark.parametrize("name", ["demo.yaml", "heliobus.yaml"])
def test_the_shipped_configurations_are_valid(name: str, tmp_path: Path) -> None:
    (tmp_path / "mqtt" / "users").mkdir(parents=True)
    path = tmp_path / "heliobus.yaml"
    path.write_text((ROOT / "deploy" / "compose" / name).read_text())
    found = config.read(path)
    assert found.warnings in ([], ())
    assert str(found.settings.data) == "/var/lib/heliobus"


def test_the_serial_port_is_given_by_name_and_with_its_group() -> None:
    link = config.read(ROOT / "deploy/compose/heliobus.yaml").settings.bridges["axpert"]
    assert link.devices[0].link.startswith("serial:///dev/inverter")
    given = filled_in(values={"SERIAL_DEVICE": "/dev/serial/by-id/usb-X-port0"})
    service = given["services"]["heliobus"]
    assert service["devices"] == ["/dev/serial/by-id/usb-X-port0:/dev/inverter"]
    assert service["group_add"] == ["20"]


def test_the_demo_asks_the_simulated_inverter() -> None:
    link = config.read(ROOT / "deploy/compose/demo.yaml").settings.bridges["axpert"].devices[0].link
    assert link == "socket://sim:8899"
    sim = SERVICES["sim"]
    assert sim["command"] == ["sim", "voltronic", "--tcp", "0.0.0.0:8899"]
    assert f":{8899:X} " in " ".join(sim["healthcheck"]["test"])


# ------------------------------------------------------------------ lasting


@pytest.mark.parametrize("name", LASTING)
def test_what_lasts_is_watched_started_again_and_ended_in_peace(name: str) -> None:
    service = SERVICES[name]
    assert service["restart"] == "unless-stopped"
    if name == "heliobus":
        assert 'CMD ["healthcheck"]' in DOCKERFILE
    else:
        assert service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")
    if name != "sim":
        seconds = int(service["stop_grace_period"].removesuffix("s"))
        assert seconds >= 20


@pytest.mark.parametrize("name", EVERY)
def test_logs_never_fill_the_disk(name: str) -> None:
    logging = SERVICES[name]["logging"]
    assert logging == {"driver": "local", "options": {"max-size": "5m", "max-file": "3"}}


@pytest.mark.parametrize("name", sorted(STEPS))
def test_a_step_ends_and_is_not_watched(name: str) -> None:
    assert SERVICES[name]["healthcheck"] == {"disable": True}


def test_nobody_waits_for_himself() -> None:
    left = {name: set(each.get("depends_on", ())) for name, each in SERVICES.items()}
    while left:
        free = [name for name, needs in left.items() if not needs & set(left)]
        assert free, f"they wait for each other: {sorted(left)}"
        for name in free:
            del left[name]


def test_who_waits_for_a_step_waits_until_it_is_done() -> None:
    for name, service in SERVICES.items():
        for other, how in service.get("depends_on", {}).items():
            wanted = "service_completed_successfully" if other in STEPS else None
            assert how["condition"] == wanted or other not in STEPS, f"{name}: {other}"
            # What only a profile starts, or a person may leave out, cannot be waited for.
            if "profiles" in SERVICES[other]:
                assert how.get("required") is False or "profiles" in service, f"{name}: {other}"


def test_influxdb_can_be_left_out() -> None:
    for name, service in SERVICES.items():
        needs = service.get("depends_on", {})
        if name != "influx-init":
            assert "influxdb" not in needs
            assert needs.get("influx-init", {"required": False})["required"] is False


def test_victoriametrics_forgets_nothing_and_counts_once_what_came_twice() -> None:
    command = SERVICES["victoriametrics"]["command"]
    assert {"-dedup.minScrapeInterval=1ms", "-retentionPeriod=100y"} <= set(command)


def test_telegraf_gets_what_its_configuration_asks_for() -> None:
    asked = set(re.findall(r"\$\{(\w+)\}", (ROOT / "telegraf/telegraf.conf").read_text()))
    start = (ROOT / "deploy/compose/telegraf").read_text()
    exported = set(re.search(r"export (.*)", start)[1].split())  # type: ignore[index]
    assert asked == exported | set(SERVICES["telegraf"]["environment"])


# ------------------------------------------------------------------ the image


def test_no_tool_for_building_is_in_the_image() -> None:
    final = DOCKERFILE.split("\nFROM ")[-1]
    assert not re.search(r"\b(pip|apt-get|gcc|curl)\b", final)
    assert "--without-pip" in DOCKERFILE


def test_the_image_says_what_it_is_and_how_it_ends() -> None:
    for line in (
        "STOPSIGNAL SIGTERM",
        'ENTRYPOINT ["heliobus"]',
        'CMD ["up"]',
        "VOLUME /var/lib/heliobus",
        "PYTHONUNBUFFERED=1",
        "org.opencontainers.image.title",
        "-c constraints.txt",
    ):
        assert line in DOCKERFILE


def test_nothing_goes_into_the_image_but_what_is_named() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    for rule in rules[1:]:
        if rule.startswith("!"):
            assert (ROOT / rule[1:]).exists(), rule
    packages = ("bridges", "broker", "heliobus", "schemas", "sinks")
    assert {f"!{name}/" for name in packages} <= set(rules)


# ------------------------------------------------------------------ the page


def yaml_blocks() -> list[str]:
    return re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_the_page_names_every_service_volume_variable_and_secret() -> None:
    names = [*SERVICES, *FILE["volumes"], *environment(), *FILE["secrets"]]
    assert [name for name in names if not re.search(rf"`{name}`", PAGE)] == []


def test_every_file_for_compose_on_the_page_follows_the_schema_and_names_what_is_there() -> None:
    shown = [yaml.safe_load(block) for block in yaml_blocks()]
    overrides = [each for each in shown if "services" in each]
    assert len(overrides) >= 3
    for each in overrides:
        assert faults(each) == []
        for name, service in each["services"].items():
            assert name in SERVICES or "extends" in service


def test_every_sink_on_the_page_fits_into_the_shipped_configuration(tmp_path: Path) -> None:
    (tmp_path / "mqtt" / "users").mkdir(parents=True)
    base = yaml.safe_load((ROOT / "deploy/compose/heliobus.yaml").read_text())
    shown = [yaml.safe_load(block) for block in yaml_blocks()]
    sinks = [each["sinks"] for each in shown if "sinks" in each]
    assert len(sinks) >= 2
    for each in sinks:
        path = tmp_path / "heliobus.yaml"
        path.write_text(json.dumps({**base, "sinks": each}))
        for folder, name in (("secrets", "mariadb"), ("reader", "mariadb")):
            (tmp_path / folder).mkdir(exist_ok=True)
            (tmp_path / folder / name).write_text("secret\n")
            (tmp_path / folder / name).chmod(0o600)
        assert config.read(path).warnings in ([], ())
