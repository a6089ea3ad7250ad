"""The soak: starts backends and proxyd, sends traffic at a bounded rate, samples, and judges at the end.

Usage: main.py PROGRAMS FOLDER [--minutes N] [--rate N]
"""

import argparse
import asyncio
import collections
import logging
import pathlib
import random
import shutil
import sqlite3
import time

from client import LONGEST_S, Client, Cut, Numbers
from kinds import KINDS
from operator_side import Backend, Operator
from steady import KEEP_ALIVE_S, TUNNELS, Steady
from traffic import Daemon, free_port, template
from watch import Watch, flat

# More than this is not under way at once: the rest is held back and counted, so that a busy machine shows as that and not
# as memory. Usual are about 40.
MOST_AT_ONCE = 200
# So much of all may be held back.
HELD_BACK = 0.05
TICK_S = 0.02


def config(steady: int, mortal: int, admin: int) -> dict:
    """The daemon's config."""
    target = f"http://127.0.0.1:{steady}"
    limit = {"by": {"header": "x-api-key"}, "limits": [{"requests": 3, "per": "5s"}]}
    return {
        "server": {
            "listen": "127.0.0.1:@port@",
            "workers": 2,
            "state_dir": "@folder@/state",
            "timeouts": {"request_headers": "10s", "keep_alive": f"{KEEP_ALIVE_S}s"},
        },
        "admin": {"listen": f"127.0.0.1:{admin}", "socket": "@folder@/control.sock"},
        "log": {"access": "@folder@/access.log", "slow_request": "off"},
        "upstreams": {
            "steady": {"endpoints": [target]},
            "mortal": {"endpoints": [f"http://127.0.0.1:{mortal}"]},
        },
        "routes": [
            {"path": "/mortal/", "upstream": "mortal", "rewrite": {"strip_prefix": "/mortal"}},
            {"path": "/limited/", "upstream": "steady", "rewrite": {"regex": "^/limited/", "to": "/bytes/"}, "rate_limit": limit},
            {"path": "/slow/", "query": {"hurry": "1"}, "upstream": "steady", "timeouts": {"response_headers": "2s"}},
            {"exact": "/here", "respond": {"body": "here\n"}},
            *({"path": f"/{word}/", "upstream": "steady"} for word in
              ("bytes", "chunks", "echo", "slow", "reset", "garbage", "last", "events", "socket")),
        ],
    }


class Load:
    """Sends requests of all kinds at a steady rate, whatever becomes of those before."""

    def __init__(self, client: Client, rate: float) -> None:
        self.client = client
        self.rate = rate
        self.outcomes = {name: collections.Counter() for name in KINDS}
        self.running: set[asyncio.Task] = set()
        self.sent = self.held_back = 0

    async def one(self, name: str) -> None:
        try:
            outcome = await asyncio.wait_for(KINDS[name][2](self.client), LONGEST_S)
        except Cut as cut:
            outcome = f"cut: {cut}"
        except TimeoutError:
            outcome = f"nothing within {LONGEST_S} s"
        except Exception as fault:  # Anything at all is an outcome, and an unexpected one.
            outcome = repr(fault)
        self.outcomes[name][outcome] += 1

    async def run(self, seconds: float) -> None:
        """For so long, then until the last answer."""
        names, shares = list(KINDS), [share for share, _, _ in KINDS.values()]
        started = time.monotonic()
        while (passed := time.monotonic() - started) < seconds:
            due = int(passed * self.rate) - self.sent
            self.sent += due
            for name in random.choices(names, shares, k=due):
                if len(self.running) >= MOST_AT_ONCE:
                    self.held_back += 1
                    continue
                task = asyncio.create_task(self.one(name))
                self.running.add(task)
                task.add_done_callback(self.running.discard)
            await asyncio.sleep(TICK_S)
        if self.running:
            await asyncio.wait(self.running, timeout=LONGEST_S + 5)


class Verdicts:
    """Lines of what is well and what is not."""

    def __init__(self) -> None:
        self.passed = self.failed = 0

    def tell(self, well: bool, name: str, told: object = "") -> None:
        self.passed += well
        self.failed += not well
        print(f"{'ok' if well else 'FAIL'} {name}{f': {told}' if told != '' else ''}", flush=True)


def recorded(store: pathlib.Path, numbers: Numbers) -> tuple[bytearray, int, int]:
    """How often each of our requests is in the record, how many rows are of ours but of no request, and how many gaps."""
    counts = bytearray(len(numbers.states))
    run = bytes.fromhex(numbers.run)
    strange = gaps = 0
    for path in sorted(store.glob("segment-*.sqlite")):
        segment = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        for (found,) in segment.execute("SELECT request_id FROM requests"):
            if isinstance(found, bytes) and found[:4] == run:
                number = int.from_bytes(found[4:], "big")
                if number < len(counts):
                    counts[number] = min(counts[number] + 1, 255)
                else:
                    strange += 1
        gaps += segment.execute("SELECT count(*) FROM gaps").fetchone()[0]
        segment.close()
    return counts, strange, gaps


async def watch_over(watch: Watch, seconds: float) -> None:
    """Samples every 30 seconds; a short soak oftener, so that there is something to judge."""
    pause = min(30, seconds / 24)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        await asyncio.to_thread(watch.sample)
        await asyncio.sleep(pause)


async def comes_to_rest(watch: Watch) -> dict[str, float]:
    """The figures once nothing is under way, or after a while."""
    row: dict[str, float] = {}
    for _ in range(120):
        row = await asyncio.to_thread(watch.metrics)
        if not any(row[f"proxyd_{name}"] for name in ("connections", "requests_in_flight", "tunnels", "audit_queued_rows")):
            break
        await asyncio.sleep(0.25)
    return row


async def soak(daemon: Daemon, operator: Operator, watch: Watch, seconds: float, rate: float, verdicts: Verdicts) -> Client:
    """The traffic and all that can be judged while the daemon runs."""
    client = Client(daemon.port)
    load, steady = Load(client, rate), Steady(client)
    around = [asyncio.create_task(steady.run()), asyncio.create_task(operator.run(steady.ending))]
    await asyncio.gather(load.run(seconds), watch_over(watch, seconds))
    steady.ending.set()
    await asyncio.gather(*around)
    while client.kept:
        client.kept.pop().close()

    for name, (_, expected, _) in KINDS.items():
        outcomes = load.outcomes[name]
        told = ", ".join(f"{count} × {outcome}" for outcome, count in outcomes.most_common(6))
        verdicts.tell(bool(outcomes) and set(outcomes) <= expected, name, told or "never sent")
    for name in ("upstream that is killed and comes back", "limited by key"):
        outcomes = load.outcomes[name]
        verdicts.tell(len(outcomes) == 2 and outcomes["200"] > outcomes.total() / 4, f"{name}: both outcomes, many of 200")
    kept = load.held_back <= load.sent * HELD_BACK
    verdicts.tell(kept, "this machine kept up with the rate", f"{load.held_back} of {load.sent} held back")
    verdicts.tell(not steady.faults, f"{TUNNELS} WebSockets, rare and idle connections", steady.faults[:5] or steady.counts)
    verdicts.tell(not operator.faults, "reloads, queries, rotations, kills", operator.faults[:5] or operator.counts)
    verdicts.tell(*named("memory is flat, KiB", flat(watch.rows, "rss_kib", 8192, 16384)))
    verdicts.tell(*named("file descriptors are flat", flat(watch.rows, "fds", 100, 2 * MOST_AT_ONCE)))
    verdicts.tell(*named("threads are flat", flat(watch.rows, "threads", 4, 4)))
    row = await comes_to_rest(watch)
    verdicts.tell(
        not any(row[f"proxyd_{name}"] for name in ("connections", "requests_in_flight", "tunnels", "audit_queued_rows")),
        "nothing is left when the traffic ends",
        {name: int(value) for name, value in row.items() if name != "process_cpu_seconds_total"},
    )
    lost = row["proxyd_access_log_dropped_lines_total"] + row["proxyd_audit_shed_rows_total"]
    verdicts.tell(lost == 0, "no access log line and no audit row was dropped", int(lost))
    code, out, err = await operator.ctl("audit", "verify", patience=600)
    verdicts.tell(code == 0, "audit verify, by the daemon", (out or err).strip().splitlines()[-1:])
    return client


def named(name: str, judged: tuple[bool, str]) -> tuple[bool, str, str]:
    return judged[0], name, judged[1]


def judge_record(store: pathlib.Path, client: Client, verdicts: Verdicts) -> None:
    """Whether every request is in the record as often as it should be."""
    states, (counts, strange, gaps) = client.numbers.states, recorded(store, client.numbers)
    completed = sum(state == Numbers.COMPLETED for state in states)
    not_once = [n for n, state in enumerate(states) if state == Numbers.COMPLETED and counts[n] != 1]
    told = [(client.numbers.id(number), counts[number]) for number in not_once[:5]]
    verdicts.tell(not not_once, "every completed request is recorded once", f"{completed} requests, {len(not_once)} not: {told}")
    rest = [n for n, state in enumerate(states) if state != Numbers.COMPLETED]
    twice = sum(counts[number] > 1 for number in rest)
    seen = sum(counts[number] for number in rest)
    verdicts.tell(twice == 0, "no other request is recorded twice", f"{len(rest) - 1} left by clients, {seen} of them recorded")
    verdicts.tell(strange == 0 and gaps == 0, "no row without a request, no gap", f"{strange} rows, {gaps} gaps")


def main() -> bool:
    """Runs it; whether all went well."""
    parser = argparse.ArgumentParser(description="An hour of mixed traffic through one proxyd.")
    parser.add_argument("programs", type=pathlib.Path)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--rate", type=float, default=400)
    given = parser.parse_args()
    # Writing to a connection that the other side has reset is part of the play, and seen by the read that follows.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    folder = given.folder.resolve()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    admin = free_port()
    backends = [Backend(free_port(), folder) for _ in range(2)]
    verdicts = Verdicts()
    began = time.monotonic()

    async def everything(daemon: Daemon) -> Client:
        operator = Operator(str(given.programs / "proxyctl"), folder, daemon.process.pid, backends[1])
        watch = Watch(daemon.process.pid, admin, folder / "samples.csv")
        return await soak(daemon, operator, watch, given.minutes * 60, given.rate, verdicts)

    try:
        for backend in backends:
            asyncio.run(backend.start())
        ports = [backend.port for backend in backends]
        daemon = Daemon([str(given.programs / "proxyd")], folder, template(config(*ports, admin)))
        with daemon:
            client = asyncio.run(everything(daemon))
            stopping = time.monotonic()
        took = time.monotonic() - stopping
    finally:
        for backend in backends:
            backend.kill()
    verdicts.tell(daemon.process.returncode == 0, "SIGTERM ends it cleanly", f"{daemon.process.returncode} in {took:.1f} s")
    judge_record(folder / "state" / "audit", client, verdicts)
    said = (folder / "stderr").read_text(encoding="utf-8", errors="replace").splitlines()
    # Broken configs are told of as errors, and are meant to be.
    errors = [line for line in said if "panicked" in line or '"level":"ERROR"' in line]
    wrong = [line for line in errors if "config not reloaded" not in line]
    verdicts.tell(not wrong, "the daemon tells of no error", wrong[:3] or f"{len(said)} lines")
    print(f"{verdicts.passed} passed, {verdicts.failed} failed in {time.monotonic() - began:.0f} s; {folder / 'samples.csv'}")
    return verdicts.failed == 0


if __name__ == "__main__":
    raise SystemExit(0 if main() else 1)
