"""Autobahn's suite of WebSocket conformance, as client and as server: through proxyd it must find the same."""

import asyncio
import json
import os
import pathlib
import subprocess
import time

import websockets
from checks import Skipped, check, same, true
from ground import Front, Ground
from traffic import free_port

# Its folder is one of site-packages, with namespaces that a plain path does not bring.
START = "import site, sys; site.addsitedir(sys.argv.pop(1)); from autobahntestsuite.wstest import run; run()"
# 9.*: megabytes, fragments, round trips; 12.*, 13.*: compression. A part of these takes a tenth of the time of all.
# AUTOBAHN_ALL runs them all.
LONG = [
    "9.1.6",
    "9.2.6",
    "9.3.*",
    "9.4.*",
    "9.7.6",
    "9.8.6",
    *(f"{family}.{way}.{turn}" for family in (12, 13) for way in range(1, 8) for turn in range(4, 19)),
]


def suite(ground: Ground, mode: str, spec: dict) -> list[str]:
    """The command that runs the suite in a mode."""
    python, folder = os.environ.get("PYTHON2"), ground.folder.parent / "autobahn"
    if not python or not (folder / "autobahntestsuite").is_dir():
        raise Skipped("the suite is of Python 2, which is not on this machine")
    path = ground.folder / f"autobahn-{mode}.json"
    path.write_text(json.dumps(spec))
    return ["env", "-u", "PYTHONPATH", python, "-c", START, str(folder), "-m", mode, "-s", str(path)]


def front(ground: Ground) -> Front:
    """Proxyd before an echoing server and the suite's own server."""

    def tree() -> dict:
        ports = {
            "plain": ground.python("ws-echo", "ws_server.py"),
            "fuzz": ground.ports.setdefault("fuzz", free_port()),
        }
        upstreams = {name: {"endpoints": [f"http://127.0.0.1:{port}"]} for name, port in ports.items()}
        # The suite's server compares `Host` with its own address.
        fuzz = {"path": "/", "upstream": "fuzz", "forward_host": "target"}
        return {"upstreams": upstreams, "routes": [{"path": "/echo", "upstream": "plain"}, fuzz]}

    return ground.front("autobahn-front", tree)


def behaviours(folder: pathlib.Path) -> dict[str, dict[str, tuple]]:
    """By agent and case: how it behaved and how it closed."""
    told = json.loads((folder / "index.json").read_text())
    return {
        agent: {case: (how["behavior"], how["behaviorClose"]) for case, how in cases.items()}
        for agent, cases in told.items()
    }


def compare(direct: dict[str, tuple], through: dict[str, tuple], name: str) -> None:
    counts = {
        word: sum(how[0] == word for how in through.values()) for word in sorted({how[0] for how in through.values()})
    }
    print(f"   {name}: {len(through)} cases, {counts}")
    true(len(through) > 200, "too few cases")
    differ = {case: (how, through.get(case)) for case, how in direct.items() if through.get(case) != how}
    # How strictly a case is passed may hang on how bytes happen to be cut; only failures count.
    failed = {case: pair for case, pair in differ.items() if pair[1] is None or "FAILED" in pair[1]}
    same(failed, {}, f"{name} against direct")
    if differ:
        print(f"   {name} otherwise than direct, without failing: {differ}")


def fuzz(ground: Ground, agents: dict[str, str], seconds: int) -> dict[str, dict[str, tuple]]:
    out = ground.folder / "autobahn-clients"
    servers = [{"agent": agent, "url": url} for agent, url in agents.items()]
    cases = os.environ.get("AUTOBAHN_CASES", "*").split()
    excluded = [] if os.environ.get("AUTOBAHN_ALL") else LONG
    spec = {
        "outdir": str(out),
        "servers": servers,
        "cases": cases,
        "exclude-cases": excluded,
        "exclude-agent-cases": {},
    }
    command = suite(ground, "fuzzingclient", spec)
    began = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    same(done.returncode, 0, f"the suite's exit code: {done.stderr[-500:]}")
    print(f"   {time.monotonic() - began:.0f} s")
    return behaviours(out)


@check("autobahn: its client against an echoing server, through HTTP/1.1 and TLS as without proxyd", 1500)
def as_client(ground: Ground) -> None:
    suite(ground, "fuzzingclient", {})
    proxyd = front(ground)
    agents = {
        "direct": f"ws://127.0.0.1:{ground.ports['ws-echo']}/echo",
        "http1": f"ws://127.0.0.1:{proxyd.port}/echo",
        "tls": f"wss://127.0.0.1:{proxyd.tls}/echo",
    }
    found = fuzz(ground, agents, 1480)
    for name in ("http1", "tls"):
        compare(found["direct"], found[name], name)


@check("autobahn: its server against a client, through proxyd as without", 900)
def as_server(ground: Ground) -> None:
    front(ground)
    port, out = ground.ports["fuzz"], ground.folder / "autobahn-servers"
    excluded = [] if os.environ.get("AUTOBAHN_ALL") else LONG
    spec = {
        "url": f"ws://127.0.0.1:{port}",
        "outdir": str(out),
        "cases": os.environ.get("AUTOBAHN_CASES", "*").split(),
        "exclude-cases": excluded,
        "exclude-agent-cases": {},
    }
    ground.serve("autobahn-server", [*suite(ground, "fuzzingserver", {**spec, "webport": 0})], port)
    proxyd = front(ground)

    async def run(agent: str, url: str) -> None:
        options = {"max_size": None, "ping_interval": None, "open_timeout": 20, "close_timeout": 5}
        async with websockets.connect(url + "/getCaseCount", **options) as client:
            count = int(await client.recv())
        for case in range(1, count + 1):
            try:
                async with websockets.connect(f"{url}/runCase?case={case}&agent={agent}", **options) as client:
                    async for message in client:
                        await client.send(message)
            except websockets.ConnectionClosed:
                pass
        async with websockets.connect(f"{url}/updateReports?agent={agent}", **options):
            pass

    began = time.monotonic()
    for agent, url in (("direct", f"ws://127.0.0.1:{port}"), ("through", f"ws://127.0.0.1:{proxyd.port}")):
        asyncio.run(asyncio.wait_for(run(agent, url), 400))
    print(f"   {time.monotonic() - began:.0f} s")
    found = behaviours(out)
    compare(found["direct"], found["through"], "behind HTTP/1.1")
