"""The chaos run: starts endpoints and proxyd, sends traffic, lets everything fail that can, and judges at the end.

Usage: chaos.py PROGRAMS FOLDER [--minutes N] [--seed N] [--rate N]
"""

import argparse
import asyncio
import contextlib
import logging
import pathlib
import random
import shutil
import socket
import subprocess
import time

from evidence import Evidence
from judge import Judge, clean
from load import MOST_AT_ONCE, Load
from traffic import Daemon, free_port, template
from turmoil import Endpoints, Turmoil, config
from watch import Watch, flat

# After the last fault all is ready within this: the longest ejection, then probes, breakers and slow starts.
RECOVERS_S = 15
CLEAN_S = 5
HELD_BACK = 0.05


class Verdicts:
    """Lines of what is well and what is not."""

    def __init__(self) -> None:
        self.passed = self.failed = 0

    def tell(self, well: bool, name: str, told: object = "") -> None:
        self.passed += well
        self.failed += not well
        print(f"{'ok' if well else 'FAIL'} {name}{f': {told}' if told != '' else ''}", flush=True)


def ports_below(count: int) -> list[int]:
    """Free ports that the kernel gives nobody of itself: they stay free while an endpoint is dead."""
    found: list[int] = []
    while len(found) < count:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as door, contextlib.suppress(OSError):
            door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            door.bind(("127.0.0.1", port))
            if port not in found:
                found.append(port)
    return found


async def chaos(daemon: Daemon, turmoil: Turmoil, watch: Watch, load: Load, seconds: float, verdicts: Verdicts) -> tuple[float, float]:
    """The traffic and the turmoil; then the recovery, and a while without either. From when to when nothing may have failed."""
    async def watch_over() -> None:
        while True:
            await asyncio.to_thread(watch.sample)
            await asyncio.sleep(seconds / 24)

    sending = asyncio.create_task(load.run())
    around = [asyncio.create_task(task) for task in (turmoil.sample(), turmoil.meter(), watch_over())]
    tossing = asyncio.create_task(turmoil.run())
    await asyncio.wait([tossing], timeout=seconds)
    turmoil.ending.set()
    await tossing
    took = await turmoil.recovers(RECOVERS_S)
    states = [(one["state"], one.get("why", "")) for one in turmoil.samples[-1][2]["endpoints"]]
    verdicts.tell(took is not None, "all are ready again after the last fault", f"within {took:.1f} s" if took is not None else states)
    since = time.time()
    await asyncio.sleep(CLEAN_S)
    until = time.time()
    load.stopping.set()
    await sending
    for task in around:
        if task.done():
            verdicts.tell(False, "the watching went on", repr(task.exception()))
        task.cancel()
    await asyncio.gather(*around, return_exceptions=True)
    verdicts.tell(not turmoil.faults, "faults, reloads, drains", turmoil.faults[:5] or turmoil.counts)
    rises, bursts = 8192, 16384
    for name, column, limits in (
        ("memory is flat, KiB", "rss_kib", (rises, bursts)),
        ("file descriptors are flat", "fds", (200, 3 * MOST_AT_ONCE)),
        ("threads are flat", "threads", (4, 4)),
    ):
        well, told = flat(watch.rows, column, *limits)
        verdicts.tell(well, name, told)
    return since, until


def verify(programs: pathlib.Path, folder: pathlib.Path) -> tuple[bool, str]:
    """Proves the record, by the daemon."""
    command = [str(programs / "proxyctl"), "--socket", str(folder / "control.sock"), "audit", "verify"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    return ran.returncode == 0, ((ran.stdout or ran.stderr).strip().splitlines() or [""])[-1]


def main() -> bool:
    """Runs it; whether all went well."""
    parser = argparse.ArgumentParser(description="Endpoints that fail in every way, under load.")
    parser.add_argument("programs", type=pathlib.Path)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=120)
    given = parser.parse_args()
    # Writing to a connection that the other side has reset is part of the play, and seen by the read that follows.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    folder = given.folder.resolve()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    admin, ports, verdicts, began = free_port(), ports_below(5), Verdicts(), time.monotonic()
    endpoints = Endpoints(ports, folder)
    try:
        endpoints.wait()
        daemon = Daemon([str(given.programs / "proxyd")], folder, template(config(ports, admin)))
        with daemon:
            turmoil = Turmoil(folder, endpoints, admin, given.seed)
            watch = Watch(daemon.process.pid, admin, folder / "samples.csv")
            load = Load(daemon.port, given.rate, random.Random(f"load {given.seed}"))
            since, until = asyncio.run(chaos(daemon, turmoil, watch, load, given.minutes * 60, verdicts))
            verdicts.tell(*(lambda well, told: (well, "audit verify", told))(*verify(given.programs, folder)))
    finally:
        endpoints.end()
    verdicts.tell(daemon.process.returncode == 0, "SIGTERM ends it cleanly", daemon.process.returncode)
    kept = load.held_back <= len(load.asked) * HELD_BACK
    verdicts.tell(kept, "this machine kept up with the rate", f"{load.held_back} of {len(load.asked)} held back")
    evidence = Evidence(folder, load.asked, turmoil)
    failed, count = clean(load.asked, since, until)
    verdicts.tell(not failed, "nothing fails once all are ready", [evidence.facts(one) for one in failed[:3]] or f"{count} requests")
    Judge(evidence, verdicts.tell).judge()
    said = (folder / "stderr").read_text(encoding="utf-8", errors="replace").splitlines()
    # Broken configs and panics of upstreams are told of as errors, and are meant to be.
    meant = ("config not reloaded", "too few endpoints are well")
    errors = [line for line in said if "panicked" in line or '"level":"ERROR"' in line]
    wrong = [line for line in errors if not any(words in line for words in meant)]
    verdicts.tell(not wrong, "the daemon tells of no error", wrong[:3] or f"{len(said)} lines")
    took = time.monotonic() - began
    print(f"{verdicts.passed} passed, {verdicts.failed} failed in {took:.0f} s, seed {given.seed}; {folder}")
    return verdicts.failed == 0


if __name__ == "__main__":
    raise SystemExit(0 if main() else 1)
