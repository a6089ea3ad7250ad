"""What is not a sample of load: counts of instructions and system calls, memory, latency at a fixed rate, reloads, the audit."""

import contextlib
import dataclasses
import http.client
import json
import re
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable

import balancing
import counts
import faults
import identity
import machine
import prepare
import probing
import protocols
import rig
import rounds
import scaling
from cases import ALL, CASES, CLOSEST, GATEWAY, PLAIN, WORK, Case, Entrant, field, routed


@dataclasses.dataclass(frozen=True)
class Wish:
    """What the run was asked for."""

    plan: rounds.Plan
    peers: list[str]
    quick: bool
    kinds: list[str] = dataclasses.field(default_factory=list)  # of the case identity; none: all


@dataclasses.dataclass(frozen=True)
class Extra:
    name: str
    title: str
    run: Callable[[Wish, dict], dict]


def _case(name: str) -> Case:
    return next(case for case in CASES if case.name == name)


def _wanted(entrants: tuple[Entrant, ...], wish: Wish) -> list[Entrant]:
    return [entrant for entrant in entrants if entrant.peer in wish.peers]


def latency(wish: Wish, results: dict) -> dict:
    """p50 and p99 in the gateway case, all at the same rate: 70 % of what the slowest of the compared can do."""
    entrants = _wanted(field(GATEWAY, *CLOSEST), wish)
    known = results["cases"].get("gateway", {}).get("entrants", {})
    if not all(entrant.label in known for entrant in entrants):
        found = rounds.run(_case("gateway"), entrants, rounds.Plan(2, wish.plan.seconds))
        known = {label: {"rate": outcome.median("rate")} for label, outcome in found.items()}
    slowest = min(entrants, key=lambda entrant: known[entrant.label]["rate"])
    rate = 0.7 * known[slowest.label]["rate"]
    outcomes = rounds.run(_case("gateway"), entrants, wish.plan, rate)
    found = {
        label: {figure: round(outcome.median(figure), 1) for figure in ("p50_us", "p99_us", "p999_us", "rate", "us")}
        | {"complaints": outcome.complaints, "settled": outcome.settled()}
        for label, outcome in outcomes.items()
    }
    return {"rate": round(rate), "slowest": slowest.label, "entrants": found}


def memory(wish: Wish, _: dict) -> dict:
    """Resident memory of each as a gateway: just started, with 10,000 idle clients, under load."""
    clients = 2000 if wish.quick else 10_000
    case = _case("gateway")
    found = {}
    for entrant in _wanted(field(GATEWAY, *(CLOSEST if wish.quick else ALL)), wish):
        with rig.Backend() as backend, rounds.started(entrant, backend.port) as proxy:
            # One request first: what is set up once is not what a client costs.
            rig.run_load(
                [*rig.load_command(dataclasses.replace(case, connections=1), entrant, proxy.port), "--requests", "50"]
            )
            idle = proxy.memory()
            holding = rig.load_command(dataclasses.replace(case, connections=clients), entrant, proxy.port)
            held = subprocess.Popen(
                machine.pinned((machine.LOAD_CORE,), [*holding, "--hold"]), stdout=subprocess.PIPE, text=True
            )
            said = held.stdout.readline() if held.stdout else ""
            time.sleep(0.5)  # a moment in which buffers may be given back
            with_clients = proxy.memory()
            held.terminate()
            rest = held.communicate(timeout=30)[0]
            answered = int(said.split()[1]) if said.startswith("held") else 0
            wrong = [] if answered == clients else [f"{answered} of {clients} clients were answered"]
            found_by_load = json.loads(rest.splitlines()[-1]) if rest else None
            if found_by_load is None or found_by_load["opened"] != clients:
                wrong.append("not every client kept a connection of its own")
            wrong += rig.complaints(found_by_load) if found_by_load else []
        loaded = _under_load(case, entrant, wish)
        found[entrant.label] = {
            "idle": idle,
            "clients": with_clients,
            "loaded": loaded,
            "each": (with_clients - idle) / clients,
            "complaints": wrong,
        }
        print(
            f"  {entrant.label:10} idle {idle / 2**20:6.1f} MiB, {clients} clients {with_clients / 2**20:6.1f} MiB, load {loaded / 2**20:6.1f} MiB",
            flush=True,
        )
    return {"clients": clients, "entrants": found}


def _under_load(case: Case, entrant: Entrant, wish: Wish) -> int:
    """The most memory seen while a fresh one serves."""
    with rig.Backend() as backend, rounds.started(entrant, backend.port) as proxy:
        command = [*rig.load_command(case, entrant, proxy.port), "--seconds", str(wish.plan.seconds)]
        load = subprocess.Popen(machine.pinned((machine.LOAD_CORE,), command), stdout=subprocess.DEVNULL)
        most = 0
        while load.poll() is None:
            most = max(most, proxy.memory())
            time.sleep(0.1)
    return most


def counted(wish: Wish, _: dict) -> dict:
    """User instructions and system calls a request."""
    found: dict = {}
    for name, setup in (("plain", PLAIN), ("gateway", GATEWAY)):
        for entrant in _wanted(field(dataclasses.replace(setup, single=True), *CLOSEST), wish):
            found.setdefault(name, {})[entrant.label] = counts.measure(_case(name), entrant, wish.quick)
            print(f"  {name} {entrant.label:10} {found[name][entrant.label]}", flush=True)
    for count in (10, 100_000):
        entrant = routed("proxyd", count)
        if "proxyd" in wish.peers and not (wish.quick and count > 10):
            found.setdefault("routes", {})[entrant.label] = counts.measure(
                _case("routes"), entrant, wish.quick, syscalls=False
            )
            print(f"  routes {entrant.label:10} {found['routes'][entrant.label]}", flush=True)
    return found


class Reloading:
    """Asks a running proxyd for reloads and remembers how long each took."""

    def __init__(self, config_path, admin: str) -> None:
        self.path = config_path
        self.config = json.loads(config_path.read_text())
        self.admin = admin
        self.took: list[float] = []
        self.refused: list[str] = []

    def once(self, number: int) -> None:
        """A reload that really changes something: one header that upstreams see."""
        self.config["headers"] = {"request": {"set": {"x-config": str(number)}}}
        beside = self.path.with_suffix(".new")
        beside.write_text(json.dumps(self.config))
        beside.rename(self.path)
        connection = http.client.HTTPConnection(self.admin, timeout=60)
        begun = time.monotonic()
        connection.request("POST", "/admin/reload", body="{}", headers={"Content-Type": "application/json"})
        answer = connection.getresponse()
        said = answer.read()
        self.took.append(time.monotonic() - begun)
        if answer.status != 200:
            self.refused.append(f"{answer.status}: {said[:300].decode(errors='replace')}")
        connection.close()


def _reloading(proxy: rounds.Running) -> Reloading:
    path = proxy.folder / "config.json"
    return Reloading(path, json.loads(path.read_text())["admin"]["listen"])


def reload_under_load(wish: Wish, _: dict) -> dict:
    """Load on proxyd as a gateway while its config is replaced every 100 ms; no request may fail."""
    if "proxyd" not in wish.peers:
        return {}
    seconds = 3 if wish.quick else 15
    case, entrant = _case("gateway"), field(GATEWAY, "proxyd")[0]
    outcome = rounds.Outcome(entrant.label)
    with rig.Backend() as backend, rounds.started(entrant, backend.port) as proxy:
        reloading = _reloading(proxy)
        command = [*rig.load_command(case, entrant, proxy.port), "--seconds", str(seconds)]
        load = subprocess.Popen(machine.pinned((machine.LOAD_CORE,), command), stdout=subprocess.PIPE, text=True)
        number, due = 0, time.monotonic()
        while load.poll() is None:
            reloading.once(number := number + 1)
            due += 0.1
            with contextlib.suppress(subprocess.TimeoutExpired):
                load.wait(timeout=max(0.0, due - time.monotonic()))
        found = json.loads(load.stdout.read().splitlines()[-1]) if load.stdout else {}
        outcome.served = found["answered"]
    rounds.check_records(proxy, outcome)
    shown = {
        "seconds": seconds,
        "reloads": len(reloading.took),
        "refused": reloading.refused[:3],
        "median_ms": round(statistics.median(reloading.took) * 1000, 2),
        "slowest_ms": round(max(reloading.took) * 1000, 2),
        "answered": found["answered"],
        "rate": round(found["answered"] / found["seconds"]),
        "p99_us": found["p99_us"],
        "complaints": rig.complaints(found) + outcome.complaints,
    }
    print(f"  {shown}", flush=True)
    return shown


def reload_routes(wish: Wish, _: dict) -> dict:
    """How long a reload of 100,000 routes takes, without load."""
    if "proxyd" not in wish.peers:
        return {}
    entrant = routed("proxyd", 100_000)
    with rig.Backend() as backend, rounds.started(entrant, backend.port) as proxy:
        reloading = _reloading(proxy)
        for number in range(3 if wish.quick else wish.plan.rounds):
            reloading.once(number)
    took = {
        "routes": 100_000,
        "median_s": round(statistics.median(reloading.took), 3),
        "refused": reloading.refused[:3],
    }
    print(f"  {took}", flush=True)
    return took


def audit(wish: Wish, _: dict) -> dict:
    """The store of records by itself: rows a second from chunks to commits, and the newest fifty of all those rows."""
    if "proxyd" not in wish.peers:
        return {}
    rows = 1_000_000 if wish.quick else 10_000_000
    folder = WORK / "run/audit"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    fill = [str(prepare.fill_binary()), str(folder), str(rows)]
    done = subprocess.run(
        machine.pinned((machine.PROXY_CORE,), fill), capture_output=True, text=True, timeout=1800, check=False
    )
    shutil.rmtree(folder, ignore_errors=True)
    print("  " + done.stdout.strip().replace("\n", "\n  "), flush=True)
    if done.returncode != 0:
        return {"rows": rows, "complaints": [done.stderr.strip()[-500:]]}
    rate = re.search(r"rows in .*: (\d+) rows/s", done.stdout)
    return {
        "rows": rows,
        "rate": int(rate.group(1)) if rate else None,
        "newest_ms": _timed(done.stdout, "newest 50, first"),
        "said": done.stdout,
    }


def _timed(text: str, what: str) -> float | None:
    """Milliseconds of a line such as `newest 50, first: 50 in 1.23ms`."""
    found = re.search(re.escape(what) + r".*?([0-9.]+)\s*(ns|µs|us|ms|s)\b", text)
    scale = {"ns": 1e-6, "µs": 1e-3, "us": 1e-3, "ms": 1, "s": 1000}
    return round(float(found.group(1)) * scale[found.group(2)], 3) if found else None


def two_cores(wish: Wish, _: dict) -> dict:
    """What a second worker on a second core gives."""
    peers = [peer for peer in ("proxyd", "nginx") if peer in wish.peers]
    return scaling.measure(_case("gateway"), peers, wish.plan)


EXTRAS = (
    Extra("latency", "gateway at 70 % of the slowest's saturation, the same rate for all", latency),
    Extra("reload", "proxyd: a new config every 100 ms under load", reload_under_load),
    Extra("reload-routes", "proxyd: a reload of 100,000 routes", reload_routes),
    Extra("memory", "resident memory as a gateway", memory),
    Extra("http2", "HTTP/2 over TLS", lambda wish, _: protocols.http2(wish)),
    Extra("faults", "endpoints that fail, beside HAProxy and nginx", lambda wish, _: faults.measure(wish)),
    Extra("probes", "ten thousand endpoints asked every five seconds", lambda wish, _: probing.probes(wish)),
    Extra("balance", "what a balanced request costs", lambda wish, _: balancing.measure(wish)),
    Extra("identity", "what credentials, limits by whom, and rules against attacks cost a request", lambda wish, _: identity.measure(wish)),
    Extra("idle", "memory of an idle connection: keep-alive, TLS, WebSocket", lambda wish, _: protocols.idle(wish)),
    Extra("scaling", "a worker, an upstream and a load on one core, and two of each on two, as a gateway", two_cores),
    Extra("audit", "the store of records", audit),
    Extra("counts", "user instructions and system calls a request", counted),
)
