"""What InfluxDB 2 needs once: a bucket without end, a token that writes, a token that reads.

The administrator's token is used here and nowhere else. All steps find what is there already.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from heliobus.credentials import write_secret
from heliobus.errors import ConfigError, FrameError
from heliobus.sample import load_object
from heliobus.settings import SinkSettings
from sinks.influx.server import BAD_LINES, Answer, Server
from sinks.influx.target import Target, read_token, target
from sinks.influx.victoria import ask_report

_OK = 200
_MADE = 201
_REFUSED = 400
_NOT_FOUND = 404
_FORBIDDEN = frozenset({401, 403})
_FOREVER = 0  # InfluxDB's word for "never expires"
_DAY_S = 86400
# Lets a token be tried without leaving anything: it has no field, and is refused as a bad line
# by a server that would have taken a good one.
_NO_LINE = b"heliobus"


def prepare(settings: SinkSettings, *, folder: Path, admin: str) -> Sequence[str]:
    """Make bucket and tokens where they are missing; say what was done. Raise ConfigError."""
    options = settings.options
    where = target(settings)
    server = Server(where, admin)
    try:
        if ask_report(server) is not None:
            return [f"{server}: is VictoriaMetrics, which needs nothing to be made"]
        _check_given(settings, admin)
        org = _organization(server, where)
        bucket, said = _bucket(server, where, org)
        tokens = _Tokens(server, where, org_id=org, bucket_id=bucket)
        said.append(tokens.ensure("write", folder / options["token_file"]))
        if "reader_token_file" in options:
            said.append(tokens.ensure("read", folder / options["reader_token_file"]))
    finally:
        server.close()
    return said


def _check_given(settings: SinkSettings, admin: str) -> None:
    if "token_file" not in settings.options:
        raise ConfigError(
            f"sinks.{settings.name}: add token_file, where the token is to be written"
        )
    if not admin:
        raise ConfigError(
            f"sinks.{settings.name}: InfluxDB 2 needs its administrator: write its all-access"
            " token into a file and name it with --admin-file FILE"
        )


def _organization(server: Server, where: Target) -> str:
    """Find the id of the organization; a server without such names is another one."""
    answer = server.ask("GET", "/api/v2/orgs", fields={"org": where.org})
    if answer.status >= _REFUSED and not answer.text.lstrip().startswith("{"):
        raise ConfigError(
            f"{server}: is not InfluxDB 2. For InfluxDB 1.8 make database and users with its own"
            " program; for InfluxDB 3 database and token with `influxdb3 create`"
        )
    if not where.org:
        raise ConfigError(f"{server}: add org, the organization that you named when you set it up")
    found = _found(server, answer, "orgs")
    if not found:
        raise ConfigError(f"{server}: has no organization {where.org!r}; check org")
    return str(found[0]["id"])


def _bucket(server: Server, where: Target, org_id: str) -> tuple[str, list[str]]:
    answer = server.ask("GET", "/api/v2/buckets", fields={"orgID": org_id, "name": where.bucket})
    for bucket in _found(server, answer, "buckets"):
        if bucket["name"] == where.bucket:
            return str(bucket["id"]), [f"the bucket {where.bucket} was there{_forgets(bucket)}"]
    rules = [{"type": "expire", "everySeconds": _FOREVER}]
    body = {"orgID": org_id, "name": where.bucket, "retentionRules": rules}
    made = _made(server, server.ask("POST", "/api/v2/buckets", body=body))
    return str(made["id"]), [f"made the bucket {where.bucket}, which keeps everything"]


def _forgets(bucket: Mapping[str, Any]) -> str:
    """Say how long a bucket keeps things; it is left as it is, since that is somebody's wish."""
    for rule in bucket.get("retentionRules") or ():
        if rule.get("everySeconds"):
            days = rule["everySeconds"] / _DAY_S
            return (
                f", and forgets after {days:g} days; that was left as it is."
                " To keep everything: influx bucket update --id "
                + str(bucket["id"])
                + " --retention 0"
            )
    return ""


class _Tokens:
    """Makes tokens for one bucket, and tries those that are there."""

    def __init__(self, server: Server, where: Target, *, org_id: str, bucket_id: str) -> None:
        self._server = server
        self._where = where
        self._org_id = org_id
        self._bucket_id = bucket_id

    def ensure(self, action: str, path: Path) -> str:
        """Leave a token in `path` that may do `action` with the bucket; say what was done."""
        if path.exists() and self._works(action, read_token(path, path.name)):
            return f"the token in {path} works ({action})"
        body = {
            "orgID": self._org_id,
            "description": f"heliobus, {action} {self._where.bucket}",
            "permissions": [
                {
                    "action": action,
                    "resource": {
                        "type": "buckets", "id": self._bucket_id, "orgID": self._org_id,
                    },
                }
            ],
        }  # fmt: skip
        made = _made(self._server, self._server.ask("POST", "/api/v2/authorizations", body=body))
        if path.exists():
            path.replace(path.with_name(path.name + ".old"))
        write_secret(path, str(made["token"]))
        return f"made a token that may only {action} the bucket {self._where.bucket}: {path}"

    def _works(self, action: str, token: str) -> bool:
        server = self._server.renewed(token)
        try:
            answer = server.post(_NO_LINE) if action == "write" else self._read(server)
        finally:
            server.close()
        if answer.is_passing:  # which says nothing of the token
            raise self._server.error(answer)
        return answer.status in (BAD_LINES if action == "write" else {_OK})

    def _read(self, server: Server) -> Answer:
        flux = f"from(bucket: {json.dumps(self._where.bucket)}) |> range(start: -1s)"
        path = f"/api/v2/query?orgID={self._org_id}"
        return server.ask("POST", path, body={"query": flux})


def _found(server: Server, answer: Answer, name: str) -> Sequence[Mapping[str, Any]]:
    """Read a list. Where nothing has the name, it is empty or the answer is 404."""
    if answer.status == _NOT_FOUND:
        return ()
    listed: Sequence[Mapping[str, Any]] = _body(server, answer, _OK).get(name) or ()
    return listed


def _made(server: Server, answer: Answer) -> Mapping[str, Any]:
    return _body(server, answer, _MADE)


def _body(server: Server, answer: Answer, expected: int) -> Mapping[str, Any]:
    """Read an answer of InfluxDB. Raise ConfigError, SinkError."""
    if answer.status in _FORBIDDEN:
        raise ConfigError(
            f"{server}: refuses the administrator's token ({answer.reason()}); it must be an"
            " all-access or operator token of this organization"
        )
    if answer.status != expected:
        raise server.error(answer)
    try:
        return load_object(answer.text)
    except FrameError as error:
        raise ConfigError(f"{server}: is not InfluxDB 2: {error}") from error
