"""What a request costs more for being told apart: each kind of credential, the limits by whom it is, and the rules against attacks.

Each kind has a route of its own and a twin: the same request, octet for octet but for the path, on a route without any policy. A pair
is measured one right after the other, in turn first, and what counts is the difference within the pair: what else the machine does
hits both alike, and what it costs to read and pass on the credential's header is in both. A kind without any policy (`nothing`)
shows how much of a difference is noise.
"""

import base64
import contextlib
import dataclasses
import json
import pathlib
import re
import shutil
import socket
import statistics
import struct
import subprocess
import time
from collections.abc import Iterator

import credentials
import machine
import rig
import rounds
from cases import WORK
from peers import Launch, Place, Running, free_port, proxyd

CONNECTIONS = 64
FRESH = 20_000  # tokens in turn: more than twice as many as a provider remembers (8,192), so that none of them is
COUNTED = 3_000  # requests under callgrind
NEVER = {"limits": [{"requests": 4_000_000_000, "per": "1h"}]}


@dataclasses.dataclass(frozen=True)
class Kind:
    """One line of the table."""

    name: str
    policies: dict
    credential: str = ""  # which of those that were made
    asks: int = 0  # requests to the backend beside each that is passed on
    sends: str = ""  # `told`: in headers, `token`: in a token of our own


KINDS = (
    Kind("nothing", {}),
    Kind("jwt HS256", {"auth": "jwt.hs256"}, "HS256"),
    Kind("jwt RS256", {"auth": "jwt.rs256"}, "RS256"),
    Kind("jwt ES256", {"auth": "jwt.es256"}, "ES256"),
    Kind("jwt EdDSA", {"auth": "jwt.eddsa"}, "EdDSA"),
    Kind("jwt HS256, always a new one", {"auth": "jwt.hs256"}, "fresh"),
    Kind("api_key", {"auth": "api_key"}, "api_key"),
    Kind("basic", {"auth": "basic"}, "basic"),
    Kind("login, session in the cookie", {"auth": "login.github"}, "login"),
    Kind("introspection", {"auth": "introspection"}, "opaque"),
    Kind("accounts", {"auth": "accounts"}, "accounts"),
    Kind("forward", {"auth": "forward"}, asks=1),
    Kind("jwt HS256, told in three headers", {"auth": "jwt.hs256"}, "HS256", sends="told"),
    Kind("jwt HS256, told in our token", {"auth": "jwt.hs256"}, "HS256", sends="token"),
    Kind("rate_limit by ip", {"rate_limit": NEVER}),
    Kind("jwt HS256, rate_limit by user", {"auth": "jwt.hs256", "rate_limit": NEVER | {"by": ["user", "api_key"]}}, "HS256"),
    Kind("rate_limit in Redis", {"rate_limit": NEVER | {"store": "redis", "on_store_error": "deny"}}),
    Kind("threats: block", {"threats": {"mode": "block"}}),
)
SENDS: dict[str, dict] = {
    "": {},
    "told": {"user": "x-user", "roles": "x-roles", "scopes": "x-scopes"},
    "token": {"token": {"audience": "services"}},
}


def _path(kind: Kind | None) -> str:
    """All of one length."""
    return f"/{KINDS.index(kind) if kind else 99:02}"


@dataclasses.dataclass
class Side:
    """One proxyd, and the requests for each of its kinds."""

    proxy: Running
    backend: rig.Backend
    messages: dict[str, tuple[pathlib.Path, pathlib.Path]]  # of the kind, and of its twin


def _config(place: Place, sends: str, services: credentials.Services, redis: str | None, folder: pathlib.Path) -> dict:
    target = {"target": f"http://127.0.0.1:{place.backend}"}
    issuer = {"issuer": "https://id.example.com", "audience": "api"}
    keys = {name: {"pem": str(folder / f"{name}.public.pem")} for name in ("RS256", "ES256", "EdDSA")}
    keys["HS256"] = {"secret": credentials.SECRET}
    client = dict(zip(("client_id", "client_secret"), credentials.CLIENT, strict=True))
    github = {"kind": "github", "authorize_url": f"{services.url}/login/oauth/authorize", "token_url": f"{services.url}/token"}
    identity = {
        "jwt": {name.lower(): {"keys": key} | issuer for name, key in keys.items()},
        "api_key": "on",
        "basic": {"users": [{"user": "ada", "password_hash": credentials.PASSWORD_HASH, "roles": ["admin"]}], "cache": "1h"},
        "login": {"github": github | client | {"api_url": services.url, "roles": ["member"]}},
        "introspection": {"url": f"{services.url}/introspect", "cache": "1h"},
        "forward": {"url": f"http://127.0.0.1:{place.backend}/verify"},
        "accounts": "on",
        "send": SENDS[sends],
    }
    routes = [{"path": f"{_path(kind)}/"} | target | kind.policies for kind in KINDS if kind.sends == sends and (redis or "Redis" not in kind.name)]
    made = {
        "server": {"listen": [f"127.0.0.1:{place.port}"], "workers": 1, "state_dir": str(place.folder / "state")},
        "admin": {"listen": f"127.0.0.1:{free_port()}", "socket": str(place.folder / "control.sock")},
        "log": {"access": "off"},
        "audit": {"requests": "off"},
        "identity": identity,
        "routes": [*routes, {"path": f"{_path(None)}/"} | target, {"path": "/api/auth/", "serve": "accounts"}],
    }
    return made | ({"redis": {"url": redis}} if redis else {})


def _command(config: dict, command: str, args: dict) -> dict:
    """A command over the control socket."""
    with socket.socket(socket.AF_UNIX) as door:
        door.settimeout(30)
        door.connect(config["admin"]["socket"])
        door.sendall(json.dumps({"v": 1, "id": 1, "command": command, "args": args}).encode() + b"\n")
        answer = json.loads(door.makefile().readline())
    if "ok" not in answer:
        raise SystemExit(f"bench: {command}: {answer}")
    return answer["ok"]


def _made(config: dict, port: int, services: credentials.Services, folder: pathlib.Path, fresh: int) -> dict[str, list[str]]:
    """Header lines with each credential: several where a request is to have another than the one before."""
    bearer = "Authorization: Bearer {}\r\n".format
    lines = {name: [bearer(credentials.token(name, folder))] for name in ("HS256", "RS256", "ES256", "EdDSA")}
    lines["fresh"] = [bearer(credentials.token("HS256", folder, number)) for number in range(1, fresh + 1)]
    lines["opaque"] = [bearer("2YotnFZFEjr1zCsicMWpAA-an-opaque-token")]
    key = _command(config, "keys_create", {"name": "bench", "roles": ["agent"], "scopes": ["read"]})
    lines["api_key"] = [f"X-API-Key: {key['key']}\r\n"]
    both = base64.b64encode(f"ada:{credentials.PASSWORD}".encode()).decode()
    lines["basic"] = [f"Authorization: Basic {both}\r\n"]
    _command(config, "users_add", {"name": "ada", "email": "ada@example.com", "roles": ["user"], "password": credentials.PASSWORD, "verified": True})
    status, _, said = credentials.Client(port).ask("POST", "/api/auth/login", {"name": "ada", "password": credentials.PASSWORD})
    if status != 200:
        raise SystemExit(f"bench: no account: {status} {said[:300]!r}")
    lines["accounts"] = [bearer(json.loads(said)["access_token"])]
    login = next(kind for kind in KINDS if kind.credential == "login")
    lines["login"] = [f"Cookie: {credentials.Client(port).log_in(_path(login) + '/items/17', services)}\r\n"]
    return lines | {"": [""]}


def _write(path: pathlib.Path, kind: Kind | None, lines: list[str]) -> pathlib.Path:
    head = (
        "GET {}/items/17 HTTP/1.1\r\nHost: api.example.com\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 "
        "Firefox/140.0\r\nAccept: application/json, text/plain;q=0.9, */*;q=0.8\r\nAccept-Language: en-US,en;q=0.9,de;q=0.8\r\n"
        "Accept-Encoding: gzip, deflate, br\r\n{}\r\n"
    )
    messages = [head.format(_path(kind), line).encode() for line in lines]
    path.write_bytes(b"".join(struct.pack("<I", len(message)) + message for message in messages))
    return path


@contextlib.contextmanager
def _redis() -> Iterator[str | None]:
    """A server of its own on the load's core; none where the program is not there."""
    if not shutil.which("redis-server"):
        yield None
        return
    port = free_port()
    command = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no"]
    with subprocess.Popen(machine.pinned((machine.LOAD_CORE,), command), stdout=subprocess.DEVNULL, cwd=WORK) as process:
        time.sleep(0.5)
        try:
            yield f"redis://127.0.0.1:{port}"
        finally:
            process.terminate()


@contextlib.contextmanager
def _side(sends: str, services: credentials.Services, redis: str | None, fresh: int, tool: list[str] | None = None) -> Iterator[Side]:
    """A proxyd that tells upstreams in this way, with all credentials made."""
    label = f"identity {sends or 'silent'}"
    folder = WORK / "credentials"
    folder.mkdir(exist_ok=True)
    for algorithm in ("RS256", "ES256", "EdDSA"):
        credentials.public_key(algorithm, folder)
    with rig.Backend() as backend:
        place = Place(free_port(), backend.port, rounds.fresh_folder(label))
        config = _config(place, sends, services, redis, folder)
        path = place.folder / "config.json"
        path.write_text(json.dumps(config))
        launch = Launch([str(proxyd.binary), "--config", str(path)])
        with Running(label, launch, place, tool=tool) as proxy:
            lines = _made(config, proxy.port, services, folder, fresh) if not sends else {"HS256": [f"Authorization: Bearer {credentials.token('HS256', folder)}\r\n"]}
            messages = {}
            for kind in KINDS:
                if kind.sends == sends and (redis or "Redis" not in kind.name):
                    at = WORK / f"identity-{_path(kind)[1:]}"
                    messages[kind.name] = (
                        _write(at.with_suffix(".kind"), kind, lines[kind.credential]),
                        _write(at.with_suffix(".twin"), None, lines[kind.credential]),
                    )
            yield Side(proxy, backend, messages)
    shutil.rmtree(place.folder, ignore_errors=True)


def _load(side: Side, messages: pathlib.Path, asks: int, bound: list[str], connections: int = CONNECTIONS) -> dict:
    """Load on one route; that every answer was right, and that the backend gave each of them."""
    command = [str(WORK / "load"), "--port", str(side.proxy.port), "--messages", str(messages), "--connections", str(connections)]
    before = side.backend.counts()["requests"]
    found = rig.run_load([*command, "--expect", "1024", *bound], patience=300)
    wrong = rig.complaints(found)
    seen = side.backend.counts()["requests"] - before
    if seen != found["answered"] * (1 + asks):
        wrong.append(f"the backend saw {seen} requests, the clients {found['answered']} answers")
    return found | {"wrong": wrong}


def _clock(pid: int) -> float:
    """Processor time of a whole process in microseconds, to the nanosecond: /proc tells hundredths of a second."""
    return time.clock_gettime_ns((~pid << 3) | 2) / 1000


def _us(side: Side, messages: pathlib.Path, kind: Kind, seconds: float) -> tuple[float, list[str]]:
    """Processor time of a request, the kernel's included."""
    before = _clock(side.proxy.process.pid)
    found = _load(side, messages, kind.asks if messages.suffix == ".kind" else 0, ["--seconds", str(seconds)])
    return (_clock(side.proxy.process.pid) - before) / found["answered"], found["wrong"]


def _timed(sides: dict[str, Side], wish) -> tuple[dict, list[str]]:
    seconds = min(wish.plan.seconds, 0.5)
    taken: dict[str, list[tuple[float, float]]] = {}
    wrong = []
    for number in range(wish.plan.rounds + 1):
        for kind in KINDS:
            side = sides[kind.sends]
            if kind.name not in side.messages or (wish.kinds and kind.name not in ("nothing", *wish.kinds)):
                continue
            pair = {}
            order = (0, 1) if number % 2 else (1, 0)
            for which in order:
                pair[which], complaints = _us(side, side.messages[kind.name][which], kind, seconds)
                wrong += [f"{kind.name}: {complaint}" for complaint in complaints]
            # The first round warms up: caches fill, and who is asked seldom is asked now.
            if number:
                taken.setdefault(kind.name, []).append((pair[0], pair[1]))
                print(f"  {number}/{wish.plan.rounds} {kind.name:34} {pair[0]:6.1f} µs, its twin {pair[1]:6.1f} µs, {pair[0] - pair[1]:+6.2f}", flush=True)
    return taken, wrong


def _counted(wish) -> dict[str, float]:
    """User instructions more than the twin's, by callgrind: the same in every run, but without the processor's own SHA and AES."""
    found = {}
    requests = COUNTED // 5 if wish.quick else COUNTED
    out = WORK / "identity.callgrind"
    tool = ["valgrind", "--quiet", "--tool=callgrind", f"--callgrind-out-file={out}"]
    with credentials.Services() as services, _redis() as redis:
        for sends in SENDS:
            with _side(sends, services, redis, FRESH, tool) as side:
                for kind in KINDS:
                    if kind.name not in side.messages:
                        continue
                    each = []
                    for asks, messages in zip((kind.asks, 0), side.messages[kind.name], strict=True):
                        _load(side, messages, asks, ["--requests", "200"], 16)
                        _dump(side, out)
                        _load(side, messages, asks, ["--requests", str(requests)], 16)
                        each.append(_dump(side, out) / requests)
                    found[kind.name] = each[0] - each[1]
                    print(f"  {kind.name:34} {found[kind.name]:+9,.0f} instructions", flush=True)
    return found


def _dump(side: Side, out: pathlib.Path) -> int:
    """What was counted since the last time."""
    for old in out.parent.glob(out.name + "*"):
        old.unlink()
    # The process itself: taskset and valgrind have put themselves in its place.
    subprocess.run(["callgrind_control", "--dump", str(side.proxy.process.pid)], check=True, capture_output=True)
    written = list(out.parent.glob(out.name + "*"))
    totals = [re.search(r"^totals: (\d+)", each.read_text(errors="replace"), re.MULTILINE) for each in written]
    return sum(int(total.group(1)) for total in totals if total)


def measure(wish) -> dict:
    """Times and instructions."""
    if "proxyd" not in wish.peers:
        return {}
    with contextlib.ExitStack() as stack:
        services = stack.enter_context(credentials.Services())
        redis = stack.enter_context(_redis())
        sides = {sends: stack.enter_context(_side(sends, services, redis, FRESH)) for sends in SENDS}
        taken, wrong = _timed(sides, wish)
    counted = {} if wish.kinds else _counted(wish)
    found: dict = {"kinds": {}, "complaints": wrong, "redis": redis is not None}
    for name, pairs in taken.items():
        more = [kind - twin for kind, twin in pairs]
        low, middle, high = statistics.quantiles(more, n=4) if len(more) > 1 else more * 3
        found["kinds"][name] = {
            "us": statistics.median(kind for kind, _ in pairs),
            "twin": statistics.median(twin for _, twin in pairs),
            "more": middle,
            "low": low,
            "high": high,
            "pairs": pairs,
            "instructions": counted.get(name),
        }
    return found


def markdown(found: dict) -> str:
    """The table of a report."""
    noise = max(abs(found["kinds"]["nothing"][end]) for end in ("low", "high"))
    rows = []
    for name, kind in found["kinds"].items():
        mark = " ²" if name != "nothing" and kind["low"] <= noise else ""
        counted = "–" if kind["instructions"] is None else f"{kind['instructions']:+,.0f}"
        rows.append(f"| {name} | {kind['more']:+.1f}{mark} | {kind['low']:+.1f} to {kind['high']:+.1f} | {kind['us']:.1f} | {kind['twin']:.1f} | {counted} |")
    pairs = len(found["kinds"]["nothing"]["pairs"])
    heads = "| | CPU µs more | middle half | CPU µs | of its twin | instructions more |"
    return (
        f"**identity**: what a request costs more than the same request on a route without policies, medians of {pairs} pairs, 1 KiB answers, "
        f"{CONNECTIONS} connections, no log, no audit of requests; user instructions by callgrind, whose processor has no SHA or AES of its own\n\n"
        + "\n".join([heads, "|---|---|---|---|---|---|", *rows])
        + "\n\n² Not told apart from noise: the lower end is within the middle half of `nothing`."
    )
