"""`heliobus broker check`: what each user can and cannot do, proven by round trips.

A broker's answers prove nothing: mosquitto grants every subscription, and acknowledges a refused
message to clients of MQTT 3.1.1. So each user publishes on everybody's topics, and it is seen
what arrives, and at whom. The topics of this check hold its own name, which nobody uses (a right
on one topic only is not tried, but for the status of Home Assistant); its messages are empty and
not retained; so a running house takes no notice.
"""

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from secrets import token_hex
from typing import Final, TextIO

from paho.mqtt.client import topic_matches_sub

from broker.accounts import Accounts
from broker.peer import Peer, RefusedError
from broker.roles import BIRTH, WATCH, Right, Role, User, rights
from heliobus.credentials import password as password_of
from heliobus.errors import ConfigError
from heliobus.settings import Settings
from heliobus.topics import Topics

PROBE: Final = "broker_check"
SOON_S: Final = 30 * 86400.0
_HEAD: Final = ("user", "role", "log-in", "writes", "does not write", "hears", "does not hear")


@dataclass(slots=True)
class Seen:
    """What was seen of one user."""

    user: User
    rights: Sequence[Right]
    peer: Peer | None = None
    probes: tuple[str, ...] = ()
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_HEAD[3:], 0))

    def may(self, access: str, topic: str) -> bool:
        """Say whether the user is meant to read or write a topic."""
        return any(
            access in right.access and topic_matches_sub(right.filter, topic)
            for right in self.rights
        )


class Check:
    """One check of the broker of an installation."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self._settings = settings
        self._topics = Topics(settings.site, settings.base_topic)
        self._accounts = Accounts(settings, folder)
        self._broker = replace(settings.broker, username=None, password=None, password_file=None)
        self._nonce = token_hex(4)
        self._users = [Seen(user, rights(user, settings)) for user in self._accounts.users()]
        self._tried_count = 0
        self.faults: list[str] = []
        self.warnings: list[str] = []

    def run(self, out: TextIO) -> int:
        """Check everything and print it. Return 0, or 1 where something is not as it should be."""
        if not (self._accounts.folder / "users").is_dir():
            raise ConfigError(
                f"{self._accounts.folder} has no users yet; make them with 'heliobus broker init'"
            )
        if self._is_open():
            print(
                f"FAULT: broker {self._broker.url}: this broker asks for no password: it is not the"
                " one that 'heliobus broker init' set up, or was not restarted since",
                file=out,
            )
            return 1
        with ExitStack() as peers:
            self._log_in(peers)
            self._exchange()
        print(f"broker {self._broker.url}, users of {self._accounts.folder}", file=out)
        for line in self._accounts.listeners():
            print(f"set up to listen at {line}", file=out)
        print(file=out)
        for line in _table([_HEAD, *map(_row, self._users)]):
            print(line, file=out)
        print(file=out)
        for fault in self.faults:
            print(f"FAULT: {fault}", file=out)
        for warning in self.warnings:
            print(f"warning: {warning}", file=out)
        if not self.faults:
            print(
                "Everyone can do what is his, and nothing else, on every topic that was tried"
                f" ({self._tried_count}).",
                file=out,
            )
        own = self._accounts.folder / "acl.own"
        if own.exists():
            print(f"The lines of {own} were not tried.", file=out)
        return 1 if self.faults else 0

    # ------------------------------------------------------------------ who is let in

    def _log_in(self, peers: ExitStack) -> None:
        if self._is_let_in(None, None):
            self.faults.append(
                "anyone is let in without a password; is 'allow_anonymous false' in mosquitto.conf,"
                " and mosquitto restarted?"
            )
        users = replace(self._broker, passwords=self._accounts.folder / "users")
        for number, seen in enumerate(self._users):
            name = seen.user.name
            password = password_of(users, name)
            if self._broker.cert_file is None and self._is_let_in(name, f"{password}x"):
                self.faults.append(f"{name} is let in with a wrong password")
            try:
                seen.peer = peers.enter_context(self._peer(f"{number}", name, password))
            except RefusedError as error:
                self.faults.append(
                    f"{name} is not let in ({error}); run 'heliobus broker init', and have"
                    " mosquitto read its files again"
                )
                continue
            seen.probes = tuple(self._probes(f"{PROBE}_{self._nonce}_{number}"))
            if seen.user.role is Role.HOMEASSISTANT:  # nobody else: that it was heard proves his
                seen.probes += (BIRTH,)
            self._look_at_the_certificate(seen.peer)

    def _is_open(self) -> bool:
        """Say whether the broker knows no users at all."""
        return self._is_let_in(None, None) and self._is_let_in(WATCH, self._nonce)

    def _is_let_in(self, user: str | None, password: str | None) -> bool:
        try:
            with self._peer("stranger", user, password):
                return True
        except RefusedError:
            return False

    def _peer(self, number: str, user: str | None, password: str | None) -> Peer:
        return Peer(self._broker, f"{PROBE}-{self._nonce}-{number}", user, password)

    def _look_at_the_certificate(self, peer: Peer) -> None:
        if peer.certificate_until_s is None or self.warnings:
            return
        left_s = peer.certificate_until_s - time.time()
        if left_s < SOON_S:
            self.warnings.append(
                f"the broker's certificate is valid for only {left_s / 86400:.0f} days more; run"
                " 'heliobus broker init', and restart mosquitto"
            )

    # ------------------------------------------------------------------ who can do what

    def _probes(self, probe: str) -> Iterator[str]:
        """Give the topics on which one user publishes: his own, everybody else's, and nobody's."""
        topics = self._topics
        for seen in self._users:
            yield from self._probes_of(seen.user, probe)
        yield topics.device(probe, "state")
        yield topics.device(probe, "info")
        yield topics.component(probe, "history")
        yield topics.component(probe, "replay")
        yield topics.component(probe, f"set/{probe}/{probe}")
        yield topics.command(probe, probe)
        yield f"{probe}/topic"

    def _probes_of(self, user: User, probe: str) -> Iterator[str]:
        topics = self._topics
        if user.role in (Role.BRIDGE, Role.SINK):
            yield topics.component(user.name, probe)
        for device in user.devices:
            yield topics.device(device, probe)
        for topic in user.topics:
            yield f"{topic}/{probe}"
        for right in user.foreign:
            if (topic := re.sub("[+#]", probe, right.filter)) != right.filter:
                yield topic
        if user.finds:
            yield topics.device(probe, "availability")
        if user.issues:
            yield topics.component(user.name, f"set/{probe}/{probe}")
        if user.issues or user.role is Role.OPERATOR:
            yield topics.command(probe, user.name)

    def _exchange(self) -> None:
        present = [(seen, seen.peer) for seen in self._users if seen.peer is not None]
        everything = [topic for seen, _ in present for topic in seen.probes]
        self._tried_count = len(everything)
        # What is retained already: nobody needs to publish it, and some may hear nothing else.
        known = [
            self._topics.component("+", "status"),
            self._topics.device("+", "info"),
            "$SYS/broker/version",
        ]
        for _, peer in present:
            peer.subscribe([*everything, *known])
        for seen, peer in present:
            peer.publish(seen.probes)
        # The reader of all goes first: what comes later, nobody is blamed for not having heard.
        for _, peer in sorted(present, key=lambda one: one[0].user.name != WATCH):
            peer.subscribe([f"{PROBE}_{self._nonce}/end"])
        heard = {topic for _, peer in present for topic in peer.heard}
        for seen, _ in present:
            self._judge_writing(seen, heard, [other for other, _ in present])
        expected = next((peer.heard for seen, peer in present if seen.user.name == WATCH), set())
        for seen, peer in present:
            own = {topic for topic in heard if seen.may("read", topic)}
            missed = {t for t in own if t in expected or t in everything} - peer.heard
            self._note(seen, "hears", good=own - missed, bad={"does not hear": missed})
            others = {"hears": peer.heard - own}
            self._note(seen, "does not hear", good=heard - own, bad=others)

    def _judge_writing(self, seen: Seen, heard: set[str], all_seen: Sequence[Seen]) -> None:
        own = {topic for topic in seen.probes if seen.may("write", topic)}
        provable = {topic for topic in own if any(other.may("read", topic) for other in all_seen)}
        others = set(seen.probes) - own
        self._note(seen, "writes", good=provable & heard, bad={"cannot write": provable - heard})
        self._note(seen, "does not write", good=others - heard, bad={"can write": others & heard})

    def _note(
        self, seen: Seen, column: str, *, good: set[str], bad: Mapping[str, set[str]]
    ) -> None:
        """Count what is as it should be; name what is not."""
        seen.counts[column] += len(good)
        for trouble, topics in bad.items():
            if topics:
                first, *more = sorted(topics)
                others = f" and {len(more)} more" if more else ""
                wrong = "" if trouble in ("cannot write", "does not hear") else ", and must not"
                self.faults.append(f"{seen.user.name} {trouble} {first}{others}{wrong}")


def _row(seen: Seen) -> tuple[str, ...]:
    if seen.peer is None:
        return (seen.user.name, seen.user.role.value, "REFUSED", *("-" for _ in seen.counts))
    return (seen.user.name, seen.user.role.value, "ok", *map(str, seen.counts.values()))


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()
