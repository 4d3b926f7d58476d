"""What `heliobus broker` does and says."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final, TextIO

from broker.accounts import Accounts, Report, Wish
from broker.check import Check
from broker.files import Account, Owner, closed_to
from broker.roles import WATCH, Role
from heliobus.settings import BrokerStart, Settings

_DROP_IN: Final = "/etc/mosquitto/conf.d/heliobus.conf"


def init(settings: Settings, folder: Path | None, wish: Wish, out: TextIO) -> int:
    """Make or renew the broker's files, and say how they are used."""
    accounts = Accounts(settings, folder or settings.broker.folder)
    report = accounts.make(wish)
    for line in report.lines:
        print(line, file=out)
    state = "written" if report.reload else "as it was"
    print(f"{report.folder}: {state}; {len(report.users)} users, passwords in users/", file=out)
    for line in _how_to_use(settings, report):
        print(line, file=out)
    return 0


def add_user(
    settings: Settings,
    folder: Path | None,
    name: str,
    *,
    role: Role,
    topics: Sequence[str],
    out: TextIO,
) -> int:
    """Make a user, or change its role; say what to enter where."""
    accounts = Accounts(settings, folder or settings.broker.folder)
    accounts.add(name, role, topics)
    report = accounts.make()
    plan = report.plan
    print(f"user {name}: {role.value}", file=out)
    print(f"  password: in {report.folder}/users/{name}", file=out)
    if plan.listener is not None:
        print(f"  broker: this computer's name or address, port {plan.listener.port}", file=out)
        if plan.listener.tls:
            print(f"  TLS: on; CA certificate: {report.folder}/tls/ca.crt", file=out)
    else:
        print(
            f"  broker: 127.0.0.1, port {plan.port}; for other machines:"
            " heliobus broker init --listen 0.0.0.0 --tls --host NAME",
            file=out,
        )
    for topic in next(user.topics for user in report.users if user.name == name):
        print(f"  topics: {topic}/...", file=out)
    for line in _reload(settings, report):
        print(line, file=out)
    return 0


def remove_user(settings: Settings, folder: Path | None, name: str, out: TextIO) -> int:
    """Remove an added user."""
    accounts = Accounts(settings, folder or settings.broker.folder)
    accounts.remove(name)
    report = accounts.make()
    for line in [f"user {name} is removed", *report.lines]:
        print(line, file=out)
    for line in _reload(settings, report):
        print(line, file=out)
    return 0


def check(settings: Settings, folder: Path | None, out: TextIO) -> int:
    """Prove by round trips what each user can and cannot do."""
    return Check(settings, folder or settings.broker.folder).run(out)


def _how_to_use(settings: Settings, report: Report) -> list[str]:
    folder = report.folder
    lines = _closed(report)
    if settings.broker.start is BrokerStart.NO:
        lines += _restart(report)
        lines += [
            "",
            "For the mosquitto service of this computer:",
            f"  sudo ln -sf {folder}/mosquitto.conf {_DROP_IN}",
            "  sudo systemctl restart mosquitto",
        ]
        if not settings.broker.has_password:
            lines += ["In heliobus.yaml:", f"  broker: {{..., passwords: {folder}/users}}"]
    else:
        lines += [
            "",
            "'heliobus up' starts mosquitto with it, and sees to it that it reads what is new.",
            "For a mosquitto service: take 'start' out of heliobus.yaml, then run this with sudo.",
        ]
    return [
        *lines,
        f"To look at the bus, as its user '{WATCH}': heliobus watch, or",
        f"  XDG_CONFIG_HOME={folder}/clients mosquitto_sub -v -t '{settings.base_topic}/#'",
        "To prove who can do what: heliobus broker check",
    ]


def _closed(report: Report) -> list[str]:
    """Say which folder keeps somebody from the files that are for him."""
    if os.geteuid() != 0:
        return []
    lines = []
    for owner, file in ((Owner.BROKER, "acl"), (Owner.USER, "users")):
        account: Account | None = report.accounts.get(owner)
        if account is not None and (folders := closed_to(account, report.folder / file)):
            names = " ".join(map(str, folders))
            lines.append(
                f"user {account.name} cannot reach its files here; run: sudo chmod o+x {names}"
            )
    return lines


def _restart(report: Report) -> list[str]:
    if not report.restart:
        return []
    return [
        "Listeners or certificates have changed: restart mosquitto; until then it listens where it"
        " did, with the certificate that it had."
    ]


def _reload(settings: Settings, report: Report) -> list[str]:
    if not report.reload:
        return ["Nothing has changed."]
    if settings.broker.start is not BrokerStart.NO:  # `heliobus up` sees to it
        return []
    return _restart(report) or [
        "A mosquitto that runs has to read its files again: sudo systemctl reload mosquitto, or"
        " send it SIGHUP."
    ]
