"""What a second core gives: one core that carries a worker, its upstream and its load, against two cores that carry two of each.

So both workers have the same share of a core. Two processors of a virtual machine seldom give twice what one gives; so beside it two proxies of one
worker are measured, which share nothing but the machine: what two workers of one proxy reach of that is what workers cost each other.
"""

import contextlib
import dataclasses
import json
import statistics
import subprocess

import machine
import rig
import rounds
from cases import GATEWAY, Case, Entrant

CORES = (machine.PROXY_CORE, machine.LOAD_CORE)


def loads(case: Case, entrant: Entrant, ports: list[int], seconds: float) -> tuple[float, list[str]]:
    """Requests a second of a load on each core, one for each of these ports, and what was wrong."""
    running = [
        subprocess.Popen(
            machine.pinned((core,), [*rig.load_command(case, entrant, port), "--seconds", str(seconds)]),
            stdout=subprocess.PIPE,
            text=True,
        )
        for core, port in zip(CORES, ports, strict=False)
    ]
    rate, wrong = 0.0, []
    for load in running:
        found = json.loads(load.communicate(timeout=seconds + 60)[0].splitlines()[-1])
        rate += found["answered"] / found["seconds"]
        wrong += rig.complaints(found)
    return rate, wrong


def _together(case: Case, peer: str, cores: tuple[int, ...], seconds: float) -> tuple[float, list[str]]:
    """One proxy with a worker for each of these cores."""
    entrant = Entrant(f"{peer} × {len(cores)}", peer, dataclasses.replace(GATEWAY, workers=len(cores)))
    with rig.Backend(cores) as backend, rounds.started(entrant, backend.port, cores) as proxy:
        return loads(case, entrant, [proxy.port] * len(cores), seconds)


def _apart(case: Case, peer: str, seconds: float) -> tuple[float, list[str]]:
    """A proxy of one worker on each core, each with an upstream and a load of its own: what the machine has to give."""
    entrants = [Entrant(f"{peer} on {core}", peer, GATEWAY) for core in CORES]
    with contextlib.ExitStack() as stack:
        ports = []
        for core, entrant in zip(CORES, entrants, strict=True):
            backend = stack.enter_context(rig.Backend((core,)))
            ports.append(stack.enter_context(rounds.started(entrant, backend.port, (core,))).port)
        return loads(case, entrants[0], ports, seconds)


def measure(case: Case, peers: list[str], plan: rounds.Plan) -> dict:
    """All in turn, round by round: the medians of the ratios."""
    found = {}
    for peer in peers:
        ones, twos, aparts, wrong = [], [], [], []
        for _ in range(plan.rounds):
            for rates, (rate, complaints) in (
                (ones, _together(case, peer, CORES[:1], plan.seconds)),
                (twos, _together(case, peer, CORES, plan.seconds)),
                (aparts, _apart(case, peer, plan.seconds)),
            ):
                rates.append(rate)
                wrong += complaints
        one, two, apart = (round(statistics.median(rates)) for rates in (ones, twos, aparts))
        ratio, to_apart = (
            round(statistics.median(two / other for two, other in zip(twos, others, strict=True)), 2)
            for others in (ones, aparts)
        )
        found[peer] = {"one": one, "two": two, "apart": apart, "ratio": ratio, "to_apart": to_apart, "complaints": wrong}
        print(f"  {peer:10} {one:9,}/s  {two:9,}/s  {ratio:.2f}   apart {apart:9,}/s  {to_apart:.2f}", flush=True)
    return {"entrants": found}
