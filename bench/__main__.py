"""The benchmark's command line: prepares, measures, reports."""

import argparse
import dataclasses
import datetime
import json
import pathlib
import signal
import sys
import time

import machine
import measure
import prepare
import report
import rig
import rounds
from cases import CASES, WORK
from peers import proxyd

EXTRAS = {extra.name: extra for extra in measure.EXTRAS}


def options() -> argparse.Namespace:
    names = [case.name for case in CASES] + list(EXTRAS)
    parser = argparse.ArgumentParser(
        prog="bench/run", description="Measures proxyd beside other proxies; see docs/performance.md."
    )
    parser.add_argument(
        "--rounds", type=int, default=None, metavar="N", help="rounds of each case (default 5; 2 with --quick)"
    )
    parser.add_argument(
        "--extra", type=int, default=0, metavar="N", help="up to so many rounds more while too few samples are clean"
    )
    parser.add_argument(
        "--seconds", type=float, default=None, metavar="S", help="length of a sample (default 3; 0.7 with --quick)"
    )
    parser.add_argument(
        "--case",
        action="append",
        choices=names,
        metavar="NAME",
        help=f"only this case; may be repeated: {', '.join(names)}",
    )
    parser.add_argument(
        "--peer", action="append", choices=list(rounds.PEERS), metavar="NAME", help="only this proxy; may be repeated"
    )
    parser.add_argument(
        "--kind",
        action="append",
        metavar="NAME",
        help="of the case identity only this kind, timed and not counted; may be repeated: 'jwt HS256'",
    )
    parser.add_argument(
        "--proxyd", type=pathlib.Path, metavar="PATH", help="this binary instead of one built with cargo"
    )
    parser.add_argument(
        "--beside",
        type=pathlib.Path,
        metavar="PATH",
        help="another proxyd, such as one built by its profile: in every case but `routes`, as proxyd-beside",
    )
    parser.add_argument(
        "--quick", action="store_true", help="a first look in a few minutes: short samples, two rounds, small stores"
    )
    parser.add_argument("--write-docs", action="store_true", help="put the results into docs/performance.md")
    chosen = parser.parse_args()
    chosen.rounds = chosen.rounds or (2 if chosen.quick else 5)
    chosen.seconds = chosen.seconds or (0.7 if chosen.quick else 3.0)
    return chosen


def main() -> None:
    chosen = options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("bench: told to end"))
    proxyd.binary = prepare.proxyd_binary(chosen.proxyd)
    proxyd.other = chosen.beside and prepare.proxyd_binary(chosen.beside)
    wanted = chosen.peer or list(rounds.PEERS)
    prepare.peers(wanted)
    rig.build()
    if "proxyd" in wanted and (not chosen.case or "audit" in chosen.case):
        prepare.fill_binary()
    # Only now: building is to have no precedence over others.
    machine.make_room()
    begun = time.monotonic()
    results: dict = {
        "begun": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": machine.described(),
        "command": prepare.as_typed(),
        "rounds": chosen.rounds,
        "seconds": chosen.seconds,
        "versions": {name: peer.version() for name, peer in rounds.PEERS.items() if name in wanted}
        | prepare.versions(),
        "cases": {},
        "extras": {},
    }
    plan = rounds.Plan(chosen.rounds, chosen.seconds, chosen.extra)
    for case in CASES:
        if chosen.case and case.name not in chosen.case:
            continue
        entrants = [entrant for entrant in case.entrants if entrant.peer in wanted]
        if proxyd.other and entrants[0].label == "proxyd":
            setup = dataclasses.replace(entrants[0].setup, other=True)
            entrants.insert(1, dataclasses.replace(entrants[0], label="proxyd-beside", setup=setup))
        print(f"\n{case.name}: {case.title}", flush=True)
        outcomes = rounds.run(case, entrants, plan)
        results["cases"][case.name] = report.case_results(case, outcomes)
        keep(results)
    for name, extra in EXTRAS.items():
        if chosen.case and name not in chosen.case:
            continue
        print(f"\n{name}: {extra.title}", flush=True)
        results["extras"][name] = extra.run(measure.Wish(plan, wanted, chosen.quick, chosen.kind or []), results)
        keep(results)
    results["took_s"] = round(time.monotonic() - begun)
    keep(results)
    report.write(results, chosen.write_docs)


def keep(results: dict) -> None:
    """Writes what is known so far: a run that is broken off has not been for nothing."""
    (WORK / "results.json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
