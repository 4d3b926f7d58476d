"""A strict stand-in for InfluxDB 2: a real HTTP server that reads line protocol by its own code.

    with Standin() as server:
        server.tokens["sesame"] = {("write", "solar")}
        ...
        server.points      # what it has stored: (bucket, measurement, tags, time in ms) -> fields

It answers as InfluxDB 2 does: 204, a partial 400 or 422, 401, 404 for a bucket, 413; told to, 429
and 503; and it can be slow, fall silent in the middle of an answer, or break the connection.
"""

import gzip
import json
import math
import re
import secrets
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, Self, TypeAlias
from urllib.parse import parse_qs, urlsplit

Fields: TypeAlias = dict[str, float | str | bool]
Point: TypeAlias = tuple[str, str, tuple[tuple[str, str], ...], int]
ORG = "home"
ADMIN = "operator-token"


class BadLine(Exception):
    """A line that InfluxDB would not read."""


def read_line(line: str) -> tuple[str, dict[str, str], Fields, int]:
    """Read one line of line protocol, strictly. Raise BadLine."""
    head, at = _until(line, 0, " ")
    measurement, *tags = _split(head, ",")
    if not measurement or measurement.startswith("#"):
        raise BadLine("missing measurement")
    body, at = _until(line, at + 1, " ", quotes=True)
    stamp = line[at + 1 :]
    if not re.fullmatch(r"-?[0-9]+", stamp):
        raise BadLine(f"bad timestamp {stamp!r}")
    pairs = [_pair(part) for part in tags]
    if [name for name, _ in pairs] != sorted({name for name, _ in pairs}):
        raise BadLine("tags are doubled or not sorted")
    if not body:
        raise BadLine("missing fields")
    fields = dict(_field(part) for part in _split(body, ",", quotes=True))
    return _plain(measurement), dict(pairs), fields, int(stamp)


def _until(text: str, at: int, stop: str, *, quotes: bool = False) -> tuple[str, int]:
    """Give what stands before the next bare `stop`, and where that is."""
    begin, quoted, in_value = at, False, False
    while at < len(text):
        if text[at] == "\\" and at + 1 < len(text):
            at += 2
            continue
        if quotes and in_value and text[at] == '"':
            quoted = not quoted
        elif text[at] == stop and not quoted:
            return text[begin:at], at
        elif text[at] in "=," and not quoted:
            in_value = text[at] == "="  # in a name, a quote is a letter like others
        at += 1
    if quoted:
        raise BadLine("unbalanced quotes")
    return text[begin:], len(text)


def _split(text: str, stop: str, *, quotes: bool = False) -> list[str]:
    parts, at = [], 0
    while at <= len(text):
        part, at = _until(text, at, stop, quotes=quotes)
        parts.append(part)
        at += 1
    return parts


def _pair(part: str) -> tuple[str, str]:
    name, at = _until(part, 0, "=")
    value = part[at + 1 :]
    if not name or not value or _until(value, 0, "=")[0] != value:
        raise BadLine(f"bad tag {part!r}")
    return _plain(name), _plain(value)


def _field(part: str) -> tuple[str, float | str | bool]:
    name, at = _until(part, 0, "=")
    text = part[at + 1 :]
    if not name or not text:
        raise BadLine(f"bad field {part!r}")
    if text[0] == '"':
        if len(text) < 2 or text[-1] != '"':
            raise BadLine(f"bad text {part!r}")
        return _plain(name), re.sub(r'\\(["\\])', r"\1", text[1:-1])
    if text in ("t", "T", "true", "True", "TRUE", "f", "F", "false", "False", "FALSE"):
        return _plain(name), text[0] in "tT"
    if not re.fullmatch(r"-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?", text):
        raise BadLine(f"invalid number {part!r}")
    if not math.isfinite(float(text)):
        raise BadLine(f"value out of range {part!r}")
    return _plain(name), float(text)


def _plain(text: str) -> str:
    return re.sub(r"\\([,= ])", r"\1", text)


@dataclass
class Bucket:
    """A bucket: what is in it, and which type each field has had first."""

    id: str
    name: str
    every_s: int = 0
    types: dict[tuple[str, str], type] = field(default_factory=dict)


@dataclass
class Standin:
    """The server. Change its attributes to have it misbehave."""

    orgs: dict[str, str] = field(default_factory=lambda: {ORG: "0a1b"})
    buckets: dict[str, Bucket] = field(default_factory=dict)
    tokens: dict[str, set[tuple[str, str]]] = field(default_factory=dict)  # (action, bucket)
    points: dict[Point, Fields] = field(default_factory=dict)
    statuses: list[int] = field(default_factory=list)  # of every write, in order
    writes: Counter[Point] = field(default_factory=Counter)
    bodies: list[int] = field(default_factory=list)  # bytes of every write, unpacked
    asked: list[str] = field(default_factory=list)  # every request: "POST /api/v2/write"
    largest_bytes: int = 10_000_000
    # To be done in place of answering: see `failing`, `silent` and `broken`.
    mishap: Callable[["Handler"], bool] | None = None
    port: int = 0

    def __enter__(self) -> Self:
        self._server = _Server(("127.0.0.1", self.port), Handler)
        self._server.standin = self
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.awake.set()
        self._server.shutdown()
        self._server.server_close()

    def __post_init__(self) -> None:
        self.awake = threading.Event()
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def add_bucket(self, name: str, every_s: int = 0) -> Bucket:
        self.buckets[name] = Bucket(secrets.token_hex(8), name, every_s)
        return self.buckets[name]

    def store(self, bucket: Bucket, text: str) -> tuple[int, str]:
        """Store the lines; give status and message.

        One that cannot be read costs all of them; one with a field of another type only itself.
        """
        points = []
        for one in text.split("\n"):
            try:
                points.append(read_line(one))
            except BadLine as error:
                return 400, f"unable to parse '{one}': {error}"
        refusals = [refusal for point in points if (refusal := self._store(bucket, *point))]
        return refusals[-1] if refusals else (204, "")

    def _store(
        self, bucket: Bucket, measurement: str, tags: dict[str, str], fields: Fields, time_ms: int
    ) -> tuple[int, str] | None:
        for name, value in fields.items():
            known = bucket.types.setdefault((measurement, name), type(value))
            if known is not type(value):
                return 422, (
                    "failure writing points to database: partial write: field type conflict:"
                    f' input field "{name}" on measurement "{measurement}" is type'
                    f" {type(value).__name__}, already exists as type {known.__name__} dropped=1"
                )
        point = (bucket.name, measurement, tuple(sorted(tags.items())), time_ms)
        self.points.setdefault(point, {}).update(fields)
        self.writes[point] += 1
        return None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    standin: Standin


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: _Server
    _ROUTES: ClassVar[Mapping[tuple[str, str], str]] = {
        ("GET", "/ping"): "ping",
        ("POST", "/api/v2/write"): "write",
        ("POST", "/api/v2/query"): "query",
        ("GET", "/api/v2/orgs"): "list_orgs",
        ("GET", "/api/v2/buckets"): "list_buckets",
        ("POST", "/api/v2/buckets"): "make_bucket",
        ("POST", "/api/v2/authorizations"): "make_token",
    }

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def _serve(self) -> None:
        standin = self.server.standin
        parts = urlsplit(self.path)
        self.query_of = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        standin.asked.append(f"{self.command} {parts.path}")
        name = self._ROUTES.get((self.command, parts.path))
        if name == "write" and standin.mishap is not None and standin.mishap(self):
            return
        if name is None:
            self.answer(404, "404 page not found")
            return
        with standin.lock:
            getattr(self, name)(standin)

    def answer(self, status: int, body: Any = "", **headers: str) -> None:
        data = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.send_header("X-Influxdb-Build", "OSS")
        self.send_header("X-Influxdb-Version", "v2.7.1")
        if status != 204:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data if status != 204 else b"")

    def refuse(self, status: int, code: str, message: str, **headers: str) -> None:
        self.answer(status, {"code": code, "message": message}, **headers)

    def may(self, action: str, bucket: str) -> bool | None:
        """Say whether the token may; None: it is not known."""
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        if scheme != "Token":
            return None
        if token == ADMIN:
            return True
        rights = self.server.standin.tokens.get(token)
        return None if rights is None else (action, bucket) in rights

    # ------------------------------------------------------------------ routes

    def ping(self, _standin: Standin) -> None:
        self.answer(204)

    def write(self, standin: Standin) -> None:
        before = len(standin.statuses)
        self._write(standin)
        assert len(standin.statuses) == before + 1

    def _write(self, standin: Standin) -> None:
        query = self.query_of
        body = self.body
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        standin.bodies.append(len(body))
        bucket = standin.buckets.get(query.get("bucket", ""))
        may = self.may("write", query.get("bucket", ""))
        status, code, message = 0, "", ""
        if may is None:
            status, code, message = 401, "unauthorized", "unauthorized access"
        elif not query.get("org"):
            status, code, message = 400, "invalid", "please provide either orgID or org"
        elif query["org"] not in standin.orgs:
            status, code, message = (
                404,
                "not found",
                f'organization name "{query["org"]}" not found',
            )
        elif bucket is None:
            status, code, message = 404, "not found", f'bucket "{query.get("bucket")}" not found'
        elif not may:
            status, code, message = 403, "forbidden", "insufficient permissions for write"
        elif len(body) > standin.largest_bytes:
            status, code, message = 413, "request too large", "points batch is too large"
        elif query.get("precision") != "ms":
            status, code, message = 400, "invalid", "the stand-in expects precision ms"
        else:
            status, message = standin.store(bucket, body.decode())
            code = "invalid" if status == 400 else "unprocessable entity"
        standin.statuses.append(status)
        if status == 204:
            self.answer(204)
        else:
            self.refuse(status, code, message)

    def query(self, _standin: Standin) -> None:
        match = re.search(r'bucket: "([^"]*)"', json.loads(self.body)["query"])
        may = self.may("read", match[1] if match else "")
        if may:
            self.answer(200, "")
        elif may is None:
            self.refuse(401, "unauthorized", "unauthorized access")
        else:
            self.refuse(404, "not found", "could not find bucket")

    def list_orgs(self, standin: Standin) -> None:
        if self._is_admin():
            name = self.query_of.get("org")
            if name not in (None, *standin.orgs):
                self.refuse(404, "not found", f'organization name "{name}" not found')
                return
            listed = [{"id": i, "name": n} for n, i in standin.orgs.items() if name in (None, n)]
            self.answer(200, {"orgs": listed})

    def list_buckets(self, standin: Standin) -> None:
        if self._is_admin():
            name = self.query_of.get("name")
            listed = [_shown(b) for b in standin.buckets.values() if name in (None, b.name)]
            self.answer(200, {"buckets": listed})

    def make_bucket(self, standin: Standin) -> None:
        if not self._is_admin():
            return
        body = json.loads(self.body)
        (rule,) = body["retentionRules"]
        if body["orgID"] not in standin.orgs.values() or rule["type"] != "expire":
            self.refuse(400, "invalid", "bad bucket")
        elif body["name"] in standin.buckets:
            self.refuse(422, "conflict", "bucket with that name already exists")
        else:
            self.answer(201, _shown(standin.add_bucket(body["name"], rule["everySeconds"])))

    def make_token(self, standin: Standin) -> None:
        if not self._is_admin():
            return
        body = json.loads(self.body)
        names = {bucket.id: bucket.name for bucket in standin.buckets.values()}
        rights = set()
        for permission in body["permissions"]:
            resource = permission["resource"]
            assert resource["type"] == "buckets"
            assert resource["orgID"] == body["orgID"]
            rights.add((permission["action"], names[resource["id"]]))
        token = secrets.token_urlsafe(64) + "=="
        standin.tokens[token] = rights
        self.answer(201, {"id": secrets.token_hex(8), "token": token, "status": "active"})

    def _is_admin(self) -> bool:
        if self.headers.get("Authorization") != f"Token {ADMIN}":
            self.refuse(401, "unauthorized", "unauthorized access")
            return False
        return True


def _shown(bucket: Bucket) -> Mapping[str, Any]:
    rules = [{"type": "expire", "everySeconds": bucket.every_s}] if bucket.every_s else []
    return {"id": bucket.id, "name": bucket.name, "retentionRules": rules}


# ---------------------------------------------------------------------- mishaps


def failing(status: int, **headers: str) -> Callable[[Handler], bool]:
    """Answer each write with that status."""

    def fail(handler: Handler) -> bool:
        handler.server.standin.statuses.append(status)
        handler.refuse(status, "unavailable", "busy", **headers)
        return True

    return fail


def slow(seconds: float) -> Callable[[Handler], bool]:
    """Take a while for each write, and then do it."""

    def wait(handler: Handler) -> bool:
        handler.server.standin.awake.wait(seconds)
        return False

    return wait


def silent(handler: Handler) -> bool:
    """Fall silent in the middle of the answer, after storing."""
    handler.wfile.write(b"HTTP/1.1 2")
    handler.wfile.flush()
    handler.server.standin.awake.wait(60)
    handler.close_connection = True
    return True


def broken(handler: Handler) -> bool:
    """Store, and break the connection in the middle of the answer."""
    standin = handler.server.standin
    bucket = standin.buckets[handler.query_of["bucket"]]
    with standin.lock:
        standin.store(bucket, gzip.decompress(handler.body).decode())
    handler.wfile.write(b"HTTP/1.1 2")
    handler.wfile.flush()
    handler.close_connection = True
    return True
