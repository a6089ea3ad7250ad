"""What a second core gives: one core that carries a worker, its upstream and its load, against two cores that carry two of each.

So both workers have the same share of a core, and what is missing to twice the throughput is what workers cost each other.
"""

import dataclasses
import json
import statistics
import subprocess

import machine
import rig
import rounds
from cases import GATEWAY, Case, Entrant

CORES = (machine.PROXY_CORE, machine.LOAD_CORE)


def _throughput(case: Case, peer: str, cores: tuple[int, ...], seconds: float) -> tuple[float, list[str]]:
    """Requests a second with a worker, an upstream and a load for each of these cores, and what was wrong."""
    entrant = Entrant(f"{peer} × {len(cores)}", peer, dataclasses.replace(GATEWAY, workers=len(cores)))
    wrong: list[str] = []
    with rig.Backend(cores) as backend, rounds.started(entrant, backend.port, cores) as proxy:
        command = [*rig.load_command(case, entrant, proxy.port), "--seconds", str(seconds)]
        loads = [
            subprocess.Popen(machine.pinned((core,), command), stdout=subprocess.PIPE, text=True) for core in cores
        ]
        rate = 0.0
        for load in loads:
            found = json.loads(load.communicate(timeout=seconds + 60)[0].splitlines()[-1])
            rate += found["answered"] / found["seconds"]
            wrong += rig.complaints(found)
    return rate, wrong


def measure(case: Case, peers: list[str], plan: rounds.Plan) -> dict:
    """Both in turn, round by round: the median of the ratios."""
    found = {}
    for peer in peers:
        rates: dict[int, list[float]] = {1: [], 2: []}
        wrong: list[str] = []
        for _ in range(plan.rounds):
            for cores in (CORES[:1], CORES):
                rate, complaints = _throughput(case, peer, cores, plan.seconds)
                rates[len(cores)].append(rate)
                wrong += complaints
        ratio = statistics.median(two / one for one, two in zip(rates[1], rates[2], strict=True))
        one, two = (statistics.median(rates[count]) for count in (1, 2))
        found[peer] = {"one": round(one), "two": round(two), "ratio": round(ratio, 2), "complaints": wrong}
        print(f"  {peer:10} {one:9,.0f}/s  {two:9,.0f}/s  {ratio:.2f}", flush=True)
    return {"entrants": found}
