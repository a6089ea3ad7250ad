"""What a balanced request costs: instructions by each way to choose, and processor time with one worker and with two.

Two workers share an upstream of ten endpoints: what they would have to wait for each other, or what cache lines they would take from
each other, shows in the time of a request against that of one worker, and against the same two without anything to share.
"""

import dataclasses
import json
import statistics

import counts
import machine
import rig
import rounds
import scaling
from cases import CASES, PLAIN, Entrant

WAYS: dict[str, dict] = {
    "round_robin": {},
    "random": {"balance": "random"},
    "least_busy": {"balance": "least_busy"},
    "two_choices": {"balance": "two_choices"},
    "hash by path": {"balance": {"hash": {"by": "path"}}},
    "sticky cookie": {"sticky": {"cookie": "theme"}},
    "probe": {"probe": {"path": "/health"}},
    "eject": {"eject": {"error_rate": "50%"}},
    "breaker": {"breaker": {}},
    "retry": {"retry": {}},
    "in_flight": {"in_flight": {"total": 1000}},
    "all of these": {
        "balance": "least_busy",
        "probe": {"path": "/health"},
        "eject": {"error_rate": "50%"},
        "breaker": {},
        "retry": {},
        "in_flight": {"total": 1000},
    },
}
# Those that look at what other workers do, and those that do not.
TIMED = ("round_robin", "least_busy", "two_choices", "eject", "breaker", "retry", "all of these")


def _setup(name: str, endpoints: int, workers: int = 1):
    return dataclasses.replace(PLAIN, workers=workers, endpoints=endpoints, upstream=json.dumps(WAYS[name]))


def _sample(case, name: str, workers: int, seconds: float) -> tuple[float, float, list[str]]:
    """CPU microseconds a request, requests a second, and what was wrong."""
    cores = scaling.CORES[:workers]
    entrant = Entrant(f"balance × {workers}", "proxyd", _setup(name, 10, workers))
    with rig.Backend(cores) as backend, rounds.started(entrant, backend.port, cores) as proxy:
        scaling.loads(case, entrant, [proxy.port] * workers, 0.5)
        before, counted = sum(proxy.processor()), backend.counts()["requests"] if workers == 1 else 0
        rate, wrong = scaling.loads(case, entrant, [proxy.port] * workers, seconds)
        spent = sum(proxy.processor()) - before
        served = backend.counts()["requests"] - counted if workers == 1 else rate * seconds
        return spent / served * 1e6, rate, wrong


def measure(wish) -> dict:
    """Both."""
    if "proxyd" not in wish.peers:
        return {}
    case = next(case for case in CASES if case.name == "plain")
    found: dict = {"counts": {}, "times": {}, "complaints": []}
    for endpoints in (1, 10):
        for name in WAYS:
            measured = counts.measure(case, Entrant(f"balance-{endpoints}", "proxyd", _setup(name, endpoints)), wish.quick, syscalls=False)
            found["counts"].setdefault(name, {})[endpoints] = measured.get("instructions")
            print(f"  {name:14} {endpoints:2} endpoints: {measured}", flush=True)
    taken: dict = {name: {1: [], 2: []} for name in TIMED}
    for number in range(wish.plan.rounds):
        for name in TIMED[number % len(TIMED) :] + TIMED[: number % len(TIMED)]:
            for workers in (1, 2):
                us, rate, wrong = _sample(case, name, workers, wish.plan.seconds)
                taken[name][workers].append((us, rate))
                found["complaints"] += wrong
                print(f"  {number + 1}/{wish.plan.rounds} {name:14} {workers} workers {us:6.1f} us a request {rate:9,.0f}/s", flush=True)
    for name, each in taken.items():
        found["times"][name] = {
            workers: {"us": statistics.median(us for us, _ in samples), "rate": statistics.median(rate for _, rate in samples)}
            for workers, samples in each.items()
        }
    return found


def markdown(found: dict) -> str:
    """The tables of a report; ratios are to round robin without anything."""
    plain, times = found["counts"]["round_robin"], found["times"]

    def counted(name: str, endpoints: int) -> str:
        one = found["counts"][name][endpoints]
        return f"{one:,.0f} ({one / plain[endpoints]:.2f})" if one and plain[endpoints] else "–"

    def timed(name: str, workers: int) -> str:
        ratios = times[name][workers]["us"] / times["round_robin"][workers]["us"]
        return f"{times[name][workers]['us']:.1f} ({ratios:.2f})"

    rows = [f"| {name} | {counted(name, 1)} | {counted(name, 10)} | " + (f"{timed(name, 1)} | {timed(name, 2)} |" if name in times else "| |") for name in found["counts"]]
    heads = "| | instructions, 1 endpoint | 10 endpoints | CPU µs, one worker | two workers |"
    return "**balance**: a plain request, in brackets the ratio to round_robin\n\n" + "\n".join([heads, "|---|---|---|---|---|", *rows])
