"""The broker's folder: its configuration, and a user with a password and rights for everyone.

mosquitto.conf  passwords  acl   what mosquitto reads
users/NAME                       the password of a user, for the one who needs it
clients/mosquitto_sub, ...       options for a person: XDG_CONFIG_HOME=clients mosquitto_sub
tls/                             certificates, on request
acl.own                          your own lines, added to acl
accounts.json                    what was asked for, so that it can be made again
"""

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

from broker.certificates import ALWAYS, Authority, valid_until
from broker.configuration import Listener, Plan, listener, locked
from broker.files import Account, Owner, Writer, account, has_account, name_of, owner_of
from broker.passwords import new_password, read_hashes, write_hashes
from broker.roles import DISCOVERY, WATCH, Role, User, access_list, components, is_site
from heliobus.errors import ConfigError
from heliobus.settings import BrokerStart, Settings
from heliobus.topics import slug

_SERVICE: Final = "mosquitto"  # the user of the distributions' service
_CLIENTS: Final = ("mosquitto_sub", "mosquitto_pub", "mosquitto_rr")
_TOPIC: Final = re.compile(r"[^+#\s\0$/][^+#\s\0]*")


@dataclass(frozen=True, slots=True)
class Wish:
    """What to make; None: as the last time."""

    port: int | None = None  # on this computer itself
    listen: str | None = None
    tls: bool | None = None
    plain: bool | None = None
    hosts: Sequence[str] | None = None  # these, too
    no_hosts: Sequence[str] | None = None  # no longer these
    client_certificates: bool | None = None
    data: str | None = None
    owner: str | None = None
    user: str | None = None


@dataclass(slots=True)
class Report:
    """What has been done, for the person and for those who act on it."""

    folder: Path
    plan: Plan
    users: list[User]
    lines: list[str] = field(default_factory=list)
    accounts: dict[Owner, Account | None] = field(default_factory=dict)
    reload: bool = False
    restart: bool = False  # mosquitto reads listeners and certificates only when it starts


class Accounts:
    """The users of the broker of one installation, in one folder."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self._settings = settings
        self.folder = folder.absolute()
        self._asked = self._read_asked()
        self._removed: list[str] = []

    # ------------------------------------------------------------------ what was asked for

    def _read_asked(self) -> dict[str, Any]:
        path = self.folder / "accounts.json"
        asked: dict[str, Any] = {"wish": {}, "components": {}, "former": {}, "added": {}}
        try:
            asked |= _read(json.loads(path.read_text()))
        except FileNotFoundError:
            return asked
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}; {self._remedy()}") from error
        except (ValueError, TypeError, KeyError, AttributeError, ConfigError) as error:
            raise ConfigError(
                f"{path}: not what we wrote ({error}); remove it: added users and options are"
                " forgotten, passwords stay"
            ) from error
        if asked.get("site") != self._settings.site:
            raise ConfigError(
                f"{self.folder} belongs to site {asked.get('site')!r}, but this configuration is"
                f" of {self._settings.site!r}; name another folder"
            )
        return asked

    def users(self) -> list[User]:
        """Give all users, the components first."""
        own = [
            replace(user, devices=(*user.devices, *self._asked["former"].get(user.name, ())))
            for user in components(self._settings)
        ]
        added = [
            User(name, Role(entry["role"]), topics=tuple(entry["topics"]))
            for name, entry in self._asked["added"].items()
        ]
        return [*own, User(WATCH, Role.READER), *added]

    def listeners(self) -> list[str]:
        """Say where the broker was set up to listen; by TLS, with which certificate."""
        plan = self._plan(Wish(**self._asked["wish"]))
        lines = [f"127.0.0.1:{plan.port}"]
        if plan.listener is None:
            return lines
        lines.append(str(plan.listener))
        if plan.listener.tls:
            names = ", ".join([*ALWAYS, *self._asked.get("hosts", ())])
            until = valid_until(self.folder / "tls" / "server.crt")
            lines[-1] += f": certificate for {names}; valid until {until}"
        return lines

    def add(self, name: str, role: Role, topics: Sequence[str]) -> None:
        """Note a user to be made by the next `make`. Raise ConfigError."""
        slug(name, "the user's name")
        if name == WATCH or name in (*self._settings.bridges, *self._settings.sinks):
            raise ConfigError(
                f"{name!r} has a user of its own by 'heliobus broker init'; choose another name"
            )
        topics = [_topic(topic, role, self._settings.base_topic) for topic in topics]
        if role is Role.DEVICE and not topics:
            raise ConfigError(
                f"a device needs the topics that it uses: add --topic, such as --topic {name}"
            )
        if role is Role.HOMEASSISTANT and not topics:
            topics = [DISCOVERY]
        self._asked["added"][name] = {"role": role.value, "topics": topics}

    def remove(self, name: str) -> None:
        """Forget an added user. Raise ConfigError."""
        if self._asked["added"].pop(name, None) is None:
            known = ", ".join(self._asked["added"]) or "none"
            raise ConfigError(f"no user {name!r} was added; there are: {known}")
        self._removed.append(name)

    # ------------------------------------------------------------------ making it

    def make(self, wish: Wish | None = None) -> Report:
        """Make or renew everything, keeping what is good. Raise ConfigError."""
        given = _given(wish or Wish())
        former = self._asked["wish"]
        if "listen" in given or "tls" in given:  # --plain was said of another address
            former = {key: value for key, value in former.items() if key != "plain"}
        given["hosts"] = self._hosts(former.get("hosts") or (), given)
        wish = Wish(**{**former, **given})
        plan = self._plan(wish)
        accounts = self._accounts(wish, given)
        writer = Writer(accounts, self._remedy())
        report = Report(self.folder, plan, [], accounts=accounts)
        conf = locked(plan)
        was_there = (self.folder / "mosquitto.conf").exists()
        writer.folder(self.folder)
        for name, owner in (("users", Owner.USER), ("clients", Owner.USER)):
            writer.folder(self.folder / name, owner)
        self._follow_the_configuration(report, writer)
        report.users = self.users()
        self._make_passwords(report, writer)
        acl = access_list(report.users, self._settings) + self._own_rights()
        writer.write(self.folder / "acl", acl, Owner.BROKER)
        if plan.listener is not None and plan.listener.tls:
            self._make_certificates(wish, report, writer)
        writer.write(self.folder / "mosquitto.conf", conf, Owner.BROKER)
        self._remember(wish, writer)
        report.reload = bool(writer.changed)
        files = [self.folder / "mosquitto.conf", *(self.folder / "tls").glob("server.*")]
        report.restart = was_there and not writer.changed.isdisjoint(files)
        return report

    def _hosts(self, former: Sequence[str], given: dict[str, Any]) -> list[str]:
        """Give the names of the certificate: the former ones and those that are new."""
        gone = given.pop("no_hosts", ())
        for name in gone:
            if name not in former:
                known = ", ".join(former) or "none"
                raise ConfigError(f"--no-host {name}: no such name was added; there are: {known}")
        named = dict.fromkeys([*former, *given.get("hosts", ())])
        return [name for name in named if name not in (*gone, *ALWAYS)]

    def _plan(self, wish: Wish) -> Plan:
        other: Listener | None = None
        if wish.listen is not None or wish.tls:
            other = listener(wish.listen or "127.0.0.1", tls=bool(wish.tls), plain=bool(wish.plain))
        broker = self._settings.broker
        return Plan(
            folder=self.folder,
            port=wish.port or (1883 if broker.tls else broker.port),
            listener=other,
            client_certificates=bool(wish.client_certificates),
            data=wish.data,
        )

    def _accounts(self, wish: Wish, given: dict[str, Any]) -> dict[Owner, Account | None]:
        if os.geteuid() != 0:
            for key in ("owner", "user"):
                if key in given:
                    raise ConfigError(f"--{key}: only root can give files away; run this with sudo")
            return {}
        place = self._settings
        user = account(wish.user) if wish.user else owner_of(place.data, place.folder)
        # Who runs `heliobus up` has mosquitto started, and renews everything.
        starts = place.broker.start is not BrokerStart.NO
        owner = account(_SERVICE) if has_account(_SERVICE) else None
        if starts:
            owner = user
        if wish.owner and ("owner" in given or not starts):  # the last time's is the service's
            owner = account(wish.owner)
        ours = user if starts else None
        return {
            Owner.BROKER: owner,
            Owner.USER: user,
            Owner.OURS: ours,
            Owner.ANYONE: ours,
        }

    def _remedy(self) -> str:
        """Say how somebody gets at files that are closed to him."""
        if self._settings.broker.start is BrokerStart.NO or not self.folder.exists():
            return "run this with sudo"
        return f"run: sudo chown -R {name_of(os.geteuid())} {self.folder}"

    def _follow_the_configuration(self, report: Report, writer: Writer) -> None:
        """Take in the components of heliobus.yaml, and let go of those that are gone."""
        now = {user.name: list(user.devices) for user in components(self._settings)}
        self._asked["former"] = {n: d for n, d in self._asked["former"].items() if n in now}
        if WATCH in now:
            raise ConfigError(
                f"a component is called {WATCH!r}, which is the user of 'heliobus watch';"
                " choose another name"
            )
        held = {device for devices in now.values() for device in devices}
        for name, devices in self._asked["components"].items():
            if name not in now:
                report.lines.append(f"user {name} is gone: heliobus.yaml has no such component")
                self._forget(name, report, writer)
                continue
            former = [*self._asked["former"].get(name, ()), *devices]
            # A bridge clears what is retained of its former devices, and has to be allowed to.
            self._asked["former"][name] = [d for d in dict.fromkeys(former) if d not in held]
            if not self._asked["former"][name]:
                del self._asked["former"][name]
        for name in set(self._asked["added"]) & set(now):
            report.lines.append(f"user {name} was added before; it is a component's now")
            del self._asked["added"][name]
        for name in self._removed:
            self._forget(name, report, writer)
        self._asked["components"] = now

    def _forget(self, name: str, report: Report, writer: Writer) -> None:
        writer.remove(self.folder / "users" / name)
        certificate = self.folder / "tls" / "users" / f"{name}.crt"
        if certificate.exists():
            report.lines.append(
                f"the certificate of {name} stays valid until {valid_until(certificate)}, and would"
                f" be that of a new user {name}; to lock it out delete {self.folder}/tls/ca.*, run"
                " 'heliobus broker init' and restart mosquitto"
            )
        for suffix in ("crt", "key"):
            writer.remove(self.folder / "tls" / "users" / f"{name}.{suffix}")

    def _make_passwords(self, report: Report, writer: Writer) -> None:
        plain = {}
        for user in report.users:
            path = self.folder / "users" / user.name
            plain[user.name] = self._text(path).strip()
            if not plain[user.name]:
                plain[user.name] = new_password()
                report.lines.append(f"user {user.name} ({user.role.value}) is new")
            writer.write(path, f"{plain[user.name]}\n", Owner.USER)
        known = read_hashes(self._text(self.folder / "passwords"))
        writer.write(self.folder / "passwords", write_hashes(plain, known), Owner.BROKER)
        options = f"-h 127.0.0.1\n-p {report.plan.port}\n-u {WATCH}\n-P {plain[WATCH]}\n"
        for name in _CLIENTS:
            writer.write(self.folder / "clients" / name, options, Owner.USER)

    def _make_certificates(self, wish: Wish, report: Report, writer: Writer) -> None:
        folder = self.folder / "tls"
        writer.folder(folder)
        authority = Authority(folder, writer)
        new_ca = authority.make_ca(f"heliobus {self._settings.site}")
        if new_ca:
            report.lines.append(f"{authority.ca} is new: give it to everyone who connects by TLS")
        hosts = [*dict.fromkeys([*(wish.hosts or ()), *_address(report.plan)])]
        anew = new_ca or hosts != self._asked.get("hosts")
        self._asked["hosts"] = hosts
        if authority.make_server(hosts, anew=anew):
            report.lines.append(f"{folder}/server.crt is new, for {', '.join([*ALWAYS, *hosts])}")
        if report.plan.client_certificates:
            writer.folder(folder / "users", Owner.USER)
            for user in report.users:
                if authority.make_user(user.name, anew=new_ca):
                    report.lines.append(f"{folder}/users/{user.name}.crt and .key are new")

    def _own_rights(self) -> str:
        """Give the lines of one's own. Raise ConfigError where they would be somebody else's."""
        path = self.folder / "acl.own"
        text = self._text(path)
        for number, line in enumerate(text.splitlines(), 1):
            first = line.split(maxsplit=1)[:1]
            if first == ["user"]:
                break
            if first == ["topic"]:
                raise ConfigError(
                    f"{path}:{number}: {line.strip()!r} is nobody's; write a line 'user NAME'"
                    " above it"
                )
        return text

    def _text(self, path: Path) -> str:
        """Read a file; an absent one is empty. Raise ConfigError."""
        try:
            return path.read_text()
        except FileNotFoundError:
            return ""
        except UnicodeDecodeError as error:
            raise ConfigError(f"cannot read {path}: not text") from error
        except OSError as error:
            raise ConfigError(
                f"cannot read {path}: {error.strerror} for user {os.geteuid()}; {self._remedy()}"
            ) from error

    def _remember(self, wish: Wish, writer: Writer) -> None:
        asked = {"site": self._settings.site, **self._asked, "wish": _given(wish)}
        writer.write(
            self.folder / "accounts.json", json.dumps(asked, indent=1) + "\n", Owner.ANYONE
        )


def _read(asked: object) -> dict[str, Any]:
    """Check what was asked for; names become parts of paths and of the access list."""
    if not isinstance(asked, dict):
        raise TypeError(f"found {type(asked).__name__}, expected an object")
    Wish(**asked.get("wish", {}))
    for part in ("components", "former"):
        for name, devices in asked.get(part, {}).items():
            for found in (name, *devices):
                slug(found, f"a name in {part!r}")
    for name, entry in asked.get("added", {}).items():
        slug(name, "a name in 'added'")
        Role(entry["role"])
        for topic in entry["topics"]:
            if not _TOPIC.fullmatch(topic):
                raise ValueError(f"found topic {topic!r}")
    return asked


def _address(plan: Plan) -> list[str]:
    """Give the address that the broker's certificate is to hold: of one interface, not of all."""
    try:
        address = ip_address(plan.listener.address if plan.listener else "")
    except ValueError:
        return []
    return [] if address.is_unspecified or address.is_loopback else [str(address)]


def _given(wish: Wish) -> dict[str, Any]:
    return {key: value for key in Wish.__slots__ if (value := getattr(wish, key)) is not None}


def _topic(text: str, role: Role, base: str) -> str:
    """Take what somebody's topics begin with. Raise ConfigError."""
    topic = text.removesuffix("#").rstrip("/")
    if not _TOPIC.fullmatch(topic):
        raise ConfigError(
            f"--topic {text}: expected what the device's topics begin with, such as solar"
        )
    if role is Role.OPERATOR and is_site(topic, base):
        return topic
    if f"{topic}/".startswith(f"{base}/") or f"{base}/".startswith(f"{topic}/"):
        raise ConfigError(
            f"--topic {text}: below {base}/ only components write; give the device a prefix of its"
            " own, in its settings"
        )
    return topic
