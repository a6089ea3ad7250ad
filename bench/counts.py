"""User instructions (callgrind) and system calls (strace) of one request, which do not depend on how busy the machine is.

Each proxy serves the same requests twice, few and many, under the tool; the difference is what the requests took.
"""

import dataclasses
import pathlib
import sys

import machine
import rig
import rounds
from cases import ROOT, Case, Entrant

sys.path.insert(0, str(ROOT / "tests/cost"))
import run as cost  # noqa: E402  (the reading of both tools' output is shared with the gate of ./check --full)

CONNECTIONS = 16
FEW, MANY = 2_000, 12_000
QUICK = 500, 2_500


def measure(case: Case, entrant: Entrant, quick: bool, syscalls: bool = True) -> dict:
    """What one request takes; a tool under which the proxy does not run says why instead."""
    found: dict = {}
    narrow = dataclasses.replace(case, connections=CONNECTIONS)
    sizes = QUICK if quick else (FEW, MANY)
    tools = {"instructions": _callgrind} | ({"system calls": _strace} if syscalls else {})
    for figure, tool in tools.items():
        try:
            few, many = (tool(narrow, entrant, requests) for requests in sizes)
            found[figure] = round((many - few) / (sizes[1] - sizes[0]), 2)
        except (SystemExit, OSError, ValueError) as problem:
            found[f"no {figure}"] = str(problem).splitlines()[0][:200]
    return found


def _serve(case: Case, entrant: Entrant, requests: int, tool: list[str]) -> None:
    with rig.Backend() as backend, rounds.started(entrant, backend.port, tool=tool) as proxy:
        command = [*rig.load_command(case, entrant, proxy.port), "--requests", str(requests)]
        wrong = rig.complaints(rig.run_load(command, patience=300))
    if wrong:
        raise SystemExit(f"{entrant.label}: {wrong[0]}")


def _callgrind(case: Case, entrant: Entrant, requests: int) -> int:
    out = pathlib.Path(rounds.WORK / "callgrind.out")
    out.unlink(missing_ok=True)
    _serve(case, entrant, requests, ["valgrind", "--quiet", "--tool=callgrind", f"--callgrind-out-file={out}"])
    return cost.instructions_of(out)


def _strace(case: Case, entrant: Entrant, requests: int) -> int:
    out = pathlib.Path(rounds.WORK / "strace.out")
    out.unlink(missing_ok=True)
    # With -D the process that is told to end is the proxy itself; the tracer writes its table behind it.
    _serve(case, entrant, requests, ["strace", "-D", "-f", "-c", "-U", "calls,name", "-o", str(out)])
    machine.wait_for(lambda: out.exists() and "total" in out.read_text(), 20, "strace wrote no table")
    return cost.system_calls_of(out)
