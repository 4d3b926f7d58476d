"""docs/network.md: its table is current, and what it shows works."""

import ast
import configparser
import ipaddress
import os
import re
import shlex
import subprocess
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree as ET

import click
import pytest
import yaml

from heliobus.bus import KEEPALIVE_S
from heliobus.cli import cli
from heliobus.component import STATUS_S
from scripts import network_table
from tests.helpers import ROOT, lacking, require_program
from tests.test_docs import blocks

PAGE = (ROOT / "docs" / "network.md").read_text(encoding="utf-8")
BLOCKS = blocks(PAGE)
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
# Where a program would begin to listen.
LISTENS = frozenset({"listen", "create_server", "start_server", "start_unix_server", "serve"})


def block(kind: str, *words: str, file: str | None = None) -> str:
    """Give the only example of this kind with these words, or of this file."""
    found = [
        each.text
        for each in BLOCKS
        if each.kind == kind
        and (file is None or each.file == file)
        and all(word in each.text for word in words)
    ]
    assert len(found) == 1, (kind, words, file, len(found))
    return found[0]


def table(heading: str) -> list[list[str]]:
    """Give the cells of the table whose first line begins so, without its heading."""
    lines = PAGE[PAGE.index(f"| {heading}") :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def number(text: str) -> float:
    return float(text.strip("*").replace(",", ""))


def ini(text: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(text)
    return parser


# ---------------------------------------------------------------------- what listens where


def test_the_table_of_ports_is_current() -> None:
    assert network_table.main(["--check"]) == 0, "docs/network.md is not current; run make docs"


def test_a_page_that_is_not_current_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "network.md"
    page.write_text(PAGE.replace("| 8883 | MQTT |", "| 8884 | MQTT |"), encoding="utf-8")
    monkeypatch.setattr(network_table, "PAGE", page)
    assert network_table.main(["--check"]) == 1
    assert capsys.readouterr().err.endswith("is not current; run make docs\n")
    assert network_table.main([]) == 0
    assert page.read_text(encoding="utf-8") == PAGE


def test_nothing_is_reached_by_other_computers_unless_it_is_opened() -> None:
    reach = {row[3].partition(" (")[0] for row in table("port (TCP)")}
    assert reach == {"this computer only", "nobody: it is not there"}
    assert {int(row[0]) for row in table("port (TCP)")} == {1883, 8883, 8086, 3306, 3000}


@pytest.mark.parametrize(
    ("ports", "fault"),
    [
        ('["3000:3000"]', "grafana: found '3000:3000', expected"),
        ('["127.0.0.1:3000:3000"]', "grafana: found '127.0.0.1:3000:3000', expected"),
    ],
)
def test_a_port_of_compose_that_cannot_be_bound_elsewhere_is_refused(
    ports: str, fault: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(fault)):
        list(network_table.of_compose(f"services: {{grafana: {{ports: {ports}}}}}"))


def test_a_port_that_is_open_to_all_stands_out() -> None:
    text = 'services: {grafana: {ports: ["${GRAFANA_BIND:-0.0.0.0}:${GRAFANA_PORT:-3000}:3000"]}}'
    (port,) = network_table.of_compose(text)
    assert network_table.row(port) == (
        "| 3000 | HTTP | Grafana (`compose.yaml`) | **other computers** (`0.0.0.0`) | no |"
        " everyone who looks at dashboards | `GRAFANA_BIND` in `.env` |"
    )


def test_a_new_port_needs_words() -> None:
    port = network_table.Port(8428, "victoriametrics", ("127.0.0.1",), "")
    with pytest.raises(ValueError, match="port 8428 of victoriametrics is new; add it to _WORDS"):
        network_table.row(port)


def test_heliobus_itself_listens_only_as_a_simulated_device_or_for_one_that_dials() -> None:
    found = set()
    for folder in ("heliobus", "bridges", "sinks"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                    owner = ast.unparse(node.func.value)
                    if node.func.attr in LISTENS and owner != "sa.event":
                        found.add(str(path.relative_to(ROOT)))
    assert found == {"heliobus/dialled.py", "heliobus/simulation.py"}


def test_telegraf_and_grafana_listen_and_call_nowhere_else() -> None:
    telegraf = (ROOT / "telegraf" / "telegraf.conf").read_text(encoding="utf-8")
    plugins = set(re.findall(r"^\[\[((?:inputs|outputs)\.\w+)\]\]", telegraf, re.MULTILINE))
    assert plugins == {"inputs.mqtt_consumer", "outputs.influxdb_v2"}
    assert not re.search(r"(?:service_address|listen)\s*=", telegraf)
    hosts = set()
    for path in (ROOT / "grafana").glob("provisioning/*/datasources/*.yaml"):
        for source in yaml.safe_load(path.read_text(encoding="utf-8"))["datasources"]:
            hosts |= set(re.findall(r"^(?:\w+://)?([\w.-]+):\d+", source.get("url", "")))
    assert hosts
    assert hosts <= COMPOSE["services"].keys()


# ---------------------------------------------------------------------- what it tells to type


def commands() -> list[list[str]]:
    """Give the words of every `heliobus` command of the page."""
    shells = [each.text for each in BLOCKS if each.kind == "sh"]
    lines = [line for text in shells for line in text.splitlines()]
    inline = re.findall(r"`((?:sudo )?heliobus [^`]+)`", PAGE)
    words = [shlex.split(line, comments=True) for line in [*lines, *inline]]
    stripped = [each[1:] if each[:1] == ["sudo"] else each for each in words]
    return [each[1:] for each in stripped if each[:1] == ["heliobus"]]


def test_every_command_of_ours_is_one_that_there_is() -> None:
    found = commands()
    assert ["broker", "check"] in found
    assert len(found) >= 6
    for words in found:
        command: click.Command = cli
        rest = ["127.0.0.1:0" if word == "HOST:PORT" else word for word in words]
        context = click.Context(cli, info_name="heliobus")
        while isinstance(command, click.Group):
            name, inner, rest = command.resolve_command(context, rest)
            assert name is not None
            assert inner is not None
            command, context = inner, click.Context(inner, context, info_name=name)
        if rest:
            command.make_context(context.info_name, rest, context.parent)


def test_the_address_of_cgnat_is_recognised() -> None:
    line = block("sh", "100.64.0.0/10").strip()
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"
    network = ipaddress.ip_network("100.64.0.0/10")
    assert f"{network[0]} to {network[-1]}" in PAGE


# ---------------------------------------------------------------------- firewalls


def judged(tmp_path: Path, rules: str) -> str:
    """Have nftables judge a file; give what it says against it."""
    nft = require_program("nft", package="nftables")
    file = tmp_path / "rules"
    file.write_text(rules, encoding="utf-8")
    # It asks the kernel what is there: as root, or in a network of its own.
    before = [] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--net"]
    done = subprocess.run(
        [*before, nft, "-c", "-f", str(file)], capture_output=True, text=True, check=False
    )
    if "not permitted" in done.stderr:
        lacking("nft needs root here, or unprivileged user namespaces")
    return done.stderr


def test_nftables_takes_the_rules_for_the_house(tmp_path: Path) -> None:
    rules = block("nft", file="nftables.conf")
    assert judged(tmp_path, rules) == ""
    assert "syntax error" in judged(tmp_path, rules.replace("tcp dport", "tcp prot"))


def test_nftables_takes_the_pinhole(tmp_path: Path) -> None:
    rule = block("nft", "::a1b2").strip()
    chain = f"chain f {{\n type filter hook forward priority filter; policy drop;\n {rule}\n }}"
    assert judged(tmp_path, f"table inet t {{\n {chain}\n}}\n") == ""


def test_both_firewalls_open_the_same_ports_to_the_same_networks() -> None:
    nft, ufw = block("nft", file="nftables.conf"), block("sh", "ufw enable")
    wanted = {"22", "80", "443", "8883"}
    for ports in re.findall(r"tcp dport \{ ([^}]+) \}", nft):
        assert set(ports.split(", ")) == wanted
    assert {frozenset(found.split(",")) for found in re.findall(r"port (\S+)", ufw)} == {
        frozenset(wanted)
    }
    assert set(re.findall(r"from (\S+)", ufw)) == {"192.168.1.0/24", "10.8.0.0/24"}
    assert "elements = { 192.168.1.0/24, 10.8.0.0/24 }" in nft


# ---------------------------------------------------------------------- Grafana's address


def test_grafana_is_told_the_address_that_the_proxies_serve() -> None:
    name = "grafana.example.org"
    server = ini(block("ini", f"domain = {name}"))["server"]
    assert server["root_url"] == f"https://{name}/"
    assert f"server_name {name};" in block("nginx", "$connection_upgrade")
    assert block("caddy").startswith(f"{name} {{")
    fields = {row[0]: row[1] for row in table("field")}
    assert fields["Domain Names"] == f"`{name}`"
    assert f"GRAFANA_URL=https://{name}/" in PAGE
    assert "${GRAFANA_URL:-" in COMPOSE["services"]["grafana"]["environment"]["GF_SERVER_ROOT_URL"]


def test_below_a_path_grafana_serves_it_itself() -> None:
    server = ini(block("ini", "serve_from_sub_path"))["server"]
    assert server["root_url"] == f"https://{server['domain']}/grafana/"
    assert server.getboolean("serve_from_sub_path")


def test_every_proxy_leads_to_the_port_of_grafana() -> None:
    ports = {row[0] for row in table("port (TCP)") if row[2].startswith("Grafana")}
    assert ports == {"3000"}
    assert "proxy_pass http://127.0.0.1:3000;" in block("nginx", "$connection_upgrade")
    assert "reverse_proxy 127.0.0.1:3000" in block("caddy")
    assert {row[0]: row[1] for row in table("field")}["Forward Port"] == "`3000`"


def test_the_network_and_the_name_for_nginx_proxy_manager_exist() -> None:
    assert block("sh", "docker network").split()[:4] == [
        "docker",
        "network",
        "connect",
        f"{COMPOSE['name']}_default",
    ]
    assert "networks" not in COMPOSE
    assert "grafana" in COMPOSE["services"]


# ---------------------------------------------------------------------- WireGuard


def peers(text: str) -> tuple[dict[str, str], list[dict[str, str]]]:
    """Give [Interface] and each [Peer] of a configuration of wg-quick(8)."""
    parts = [ini(f"[x]{part}")["x"] for part in re.split(r"^\[\w+\]", text, flags=re.MULTILINE)[1:]]
    return dict(parts[0]), [dict(part) for part in parts[1:]]


def test_the_ends_of_the_vpn_fit_each_other() -> None:
    server, guests = peers(block("ini", file="server.conf"))
    house, (gate,) = peers(block("ini", file="house.conf"))
    assert server.keys() == {"address", "listenport", "privatekey"}
    assert house.keys() == {"address", "privatekey"}
    assert gate.keys() == {"publickey", "endpoint", "allowedips", "persistentkeepalive"}
    own, far = map(ipaddress.ip_interface, (server["address"], house["address"]))
    assert own.network == far.network == ipaddress.ip_network(gate["allowedips"])
    assert gate["endpoint"].rpartition(":")[2] == server["listenport"]
    assert gate["publickey"] == server["privatekey"].replace("PRIVATE", "PUBLIC")
    of_house = {guest["publickey"]: guest["allowedips"] for guest in guests}
    key = house["privatekey"].replace("PRIVATE", "PUBLIC")
    assert of_house[key] == f"{far.ip}/32"
    assert len(set(of_house.values())) == len(guests) == 2


def test_what_the_keepalive_costs_is_computed_right() -> None:
    keepalives, keys, together = table("packet")
    month_s, headers = 30 * 86400, 20 + 8  # IPv4, UDP
    # drivers/net/wireguard/messages.h: header 16 and tag 16; initiation 148; response 92.
    keepalive, asked, answered = headers + 32, headers + 148, headers + 92
    assert keepalives[1:3] == [str(keepalive), f"{month_s // 25:,}"]
    assert keys[1:3] == [f"{asked} + {answered} + {keepalive}", f"{month_s // 125:,}"]
    mb = [month_s // 25 * keepalive / 1e6, month_s // 125 * (asked + answered + keepalive) / 1e6]
    assert [number(keepalives[3]), number(keys[3])] == [round(each, 1) for each in mb]
    assert number(together[3]) == round(sum(mb), 1) == 13.6
    assert table("what | bytes")[3][3] == "13.6"


def test_our_own_keepalive_is_what_the_page_says() -> None:
    assert f"is {KEEPALIVE_S} seconds; other devices" in PAGE
    assert f"every {STATUS_S:.0f} s |" in PAGE


def test_what_a_state_costs_is_computed_right() -> None:
    for row, every_s in zip(table("what | bytes")[:3], (5, 60, STATUS_S), strict=True):
        count = 30 * 86400 // every_s
        assert number(row[2]) == count
        assert number(row[3]) == round(number(row[1]) * count / 1e6)


# ---------------------------------------------------------------------- names


def test_what_is_announced_is_what_is_open() -> None:
    text = block("xml", file="/etc/avahi/services/heliobus.service")
    group = ET.fromstring(text)  # noqa: S314 - our own page
    assert group.tag == "service-group"
    assert [child.tag for child in group] == ["name", "service", "service"]
    assert group.find("name").attrib == {"replace-wildcards": "yes"}  # type: ignore[union-attr]
    found = {each.findtext("type"): each.findtext("port") for each in group.iter("service")}
    assert found == {"_secure-mqtt._tcp": "8883", "_https._tcp": "443"}


def test_the_shell_understands_every_command() -> None:
    for each in BLOCKS:
        if each.kind == "sh":
            done = subprocess.run(
                ["bash", "-n"], input=each.text, capture_output=True, text=True, check=False
            )
            assert (done.returncode, done.stderr) == (0, ""), each.text


def test_every_example_is_looked_at() -> None:
    """A new one needs a test here, in test_network_proxies.py or in test_network_cloud.py."""
    kinds = Counter(each.kind for each in BLOCKS)
    assert kinds == Counter(sh=11, nft=2, ini=4, nginx=3, caddy=1, conf=3, yaml=1, xml=1)
