"""What it costs to ask ten thousand endpoints every five seconds whether they are well."""

import contextlib
import json
import socket
import statistics
import subprocess
import time
import urllib.request

import machine
import rounds
from cases import WORK
from peers import Launch, Place, Running, free_port, proxyd

UPSTREAMS, ENDPOINTS, EVERY_S = 1000, 10, 5
PORTS = 100  # that many listeners, each at as many addresses of the loopback as it takes


def _config(place: Place, first: int, probe: dict | None) -> dict:
    """As many upstreams, each with endpoints that no other has."""
    upstreams = {}
    for number in range(UPSTREAMS):
        at = range(number * ENDPOINTS, (number + 1) * ENDPOINTS)
        endpoints = [f"http://127.0.{1 + one // PORTS // 200}.{1 + one // PORTS % 200}:{first + one % PORTS}" for one in at]
        upstreams[f"u{number}"] = {"endpoints": endpoints} | ({"probe": probe} if probe else {})
    return {
        "server": {"listen": [f"127.0.0.1:{place.port}"], "workers": 1, "state_dir": str(place.folder / "state")},
        "admin": {"listen": f"127.0.0.1:{free_port()}", "socket": str(place.folder / "control.sock")},
        "log": {"access": "off"},
        "audit": {"requests": "off"},
        "upstreams": upstreams,
        "routes": [{"path": f"/u{number}", "upstream": f"u{number}"} for number in range(UPSTREAMS)],
    }


def _free_ports() -> int:
    """The first of so many that nothing listens on."""
    for first in range(20000, 60000, 1000):
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            for port in range(first, first + PORTS):
                stack.enter_context(socket.create_server(("127.0.0.1", port)))
            return first
    raise SystemExit("bench: no hundred free ports in a row")


@contextlib.contextmanager
def _endpoints():
    first = _free_ports()
    command = machine.pinned((machine.LOAD_CORE,), [str(WORK / "faulty"), str(first), str(PORTS)])
    process = subprocess.Popen(command, stdin=subprocess.PIPE)
    try:
        yield first
    finally:
        process.kill()
        process.wait()


def _answered(folder) -> tuple[int, int]:
    """Probes that passed and that failed so far."""
    admin = json.loads((folder / "config.json").read_text())["admin"]["listen"]
    passed = failed = 0
    with urllib.request.urlopen(f"http://{admin}/metrics", timeout=30) as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith("proxyd_endpoint_probes_total{"):
                count = int(float(line.rpartition(" ")[2]))
                if '"failed"' in line:
                    failed += count
                else:
                    passed += count
    return passed, failed


def probes(wish) -> dict:
    """The share of a core that probes take, of the process alone, and its memory with and without them."""
    if "proxyd" not in wish.peers:
        return {}
    seconds = 15 if wish.quick else 65  # in which every connection has had its twelve probes and was made anew
    probe = {"path": "/health", "interval": f"{EVERY_S}s"}
    found: dict = {"seconds": seconds, "endpoints": UPSTREAMS * ENDPOINTS, "every_s": EVERY_S}
    with _endpoints() as first:
        for name, asked in (("without", None), ("with", probe)):
            place = Place(free_port(), 0, rounds.fresh_folder("probes"))
            path = place.folder / "config.json"
            path.write_text(json.dumps(_config(place, first, asked)))
            with Running("proxyd", Launch([str(proxyd.binary), "--config", str(path)]), place) as proxy:
                time.sleep(2 * EVERY_S + 2)  # every endpoint was asked, and has a connection
                taken, begun = [], time.monotonic()
                before = _answered(place.folder) if asked else (0, 0)
                last = sum(proxy.processor())
                while time.monotonic() < begun + seconds:
                    at = time.monotonic()
                    time.sleep(EVERY_S)
                    now = sum(proxy.processor())
                    taken.append((now - last) / (time.monotonic() - at))
                    last = now
                after = _answered(place.folder) if asked else (0, 0)
                took = time.monotonic() - begun
                found[name] = {
                    "core": statistics.fmean(taken),
                    "least": min(taken),
                    "most": max(taken),
                    "resident": proxy.memory(),
                    "probes_a_second": (after[0] - before[0]) / took,
                    "failed": after[1] - before[1],
                }
                print(f"  {name} probes: {found[name]}", flush=True)
    if found["with"]["failed"]:
        found["complaints"] = [f"{found['with']['failed']} probes failed"]
    return found


def markdown(found: dict) -> str:
    """The lines of a report."""
    rows = [
        f"| {name} | {each['core']:.1%} | {each['least']:.1%}–{each['most']:.1%} | {each['resident'] / 2**20:.1f} | {each['probes_a_second']:,.0f} |"
        for name, each in ((name, found[name]) for name in ("without", "with"))
    ]
    return (
        f"**probes**: 1,000 upstreams of ten endpoints, HTTP probes every {found['every_s']} s, no other traffic; the mean of {found['seconds']} s, and the range of {found['every_s']} s\n\n"
        + "\n".join(["| probes | of one core | range | resident MiB | probes a second |", "|---|---|---|---|---|", *rows])
    )
