"""Endpoints that fail, the same failures for each proxy: how many requests fail, and how much later the others are answered.

Five endpoints (`faulty.c`) and an open loop of GETs and POSTs at a fixed rate, so that an endpoint that stalls holds up no
arrivals. For each kind of failure every proxy is started anew, with new endpoints, and sees the same schedule; the order of the
proxies changes with each round.
"""

import bisect
import collections
import contextlib
import dataclasses
import pathlib
import random
import signal
import statistics
import struct
import subprocess
import threading
import time

import machine
import rounds
from cases import HEADERS, WORK, get
from peers import Place, Running, balanced, free_port

ENDPOINTS, RATE, CLIENTS = 5, 600, 1500
PEERS = ("proxyd", "haproxy", "nginx")
LATE_MS = 100  # longer than a busy machine delays an answer: what takes so long has waited for a failing endpoint
COUNTED_FROM = 1.0  # seconds in which connections are made and nothing is counted
BODY = bytes(97 + at % 26 for at in range(512))
# Each with a number of its own.
POST = (
    f"POST /orders HTTP/1.1\r\n{HEADERS}x-number: 0000000000\r\nContent-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n"
).encode() + BODY
# In an order that falls in step with no number of endpoints.
IS_POST = tuple(random.Random(7).sample([True] * 40 + [False] * 61, 101))
MESSAGES = tuple(POST if is_post else get(f"/items/{number}") for number, is_post in enumerate(IS_POST))
RECORD = struct.Struct("<QIHH")
# What each kind does: a letter of faulty.c, or what is done to its process.
LETTERS = {"refuse": "c", "stall": "s", "reset": "r", "503": "5", "lies": "i", "slow": "l"}
KINDS = {
    "calm": "no failures",
    "refuse": "the listening socket and all connections closed",
    "stall": "requests are read and never answered",
    "reset": "requests are read, then the connection is reset",
    "503": "503 to requests and probes",
    "lies": "503 to requests, probes are answered well",
    "slow": "answers take 500 ms in place of 2",
    "kill": "killed with SIGKILL three times, back after a second",
    "freeze": "stopped with SIGSTOP",
    "mixed": "all of these in turn, up to two endpoints at once",
}


@dataclasses.dataclass(frozen=True)
class Event:
    """From one time to another, one endpoint does this."""

    begins: float
    ends: float
    endpoint: int
    kind: str


@dataclasses.dataclass(frozen=True)
class Plan:
    """When what fails, of a run that is so long."""

    seconds: float
    events: tuple[Event, ...]


def plan(kind: str, seed: int, scale: float) -> Plan:
    """The same for every proxy of a round."""
    draw = random.Random(f"{kind} {seed}")
    if kind == "calm":
        return Plan(COUNTED_FROM + 9 * scale, ())
    first = COUNTED_FROM + scale
    if kind == "kill":
        victim = draw.randrange(ENDPOINTS)
        times = (first + number * 2.0 * scale for number in range(3))
        return Plan(COUNTED_FROM + 9 * scale, tuple(Event(at, at + scale, victim, kind) for at in times))
    if kind != "mixed":
        return Plan(COUNTED_FROM + 9 * scale, (Event(first, first + 4.5 * scale, draw.randrange(ENDPOINTS), kind),))
    events: list[Event] = []
    kinds = [*LETTERS, "kill", "freeze"] * 2
    draw.shuffle(kinds)
    at = first
    for each in kinds:
        well = [one for one in range(ENDPOINTS) if all(event.endpoint != one or event.ends <= at for event in events)]
        lasts = draw.uniform(1.0, 2.2) * scale
        events.append(Event(at, at + lasts, draw.choice(well), each))
        at += 1.2 * scale
    return Plan(at + 3 * scale, tuple(events))


class Endpoint:
    """One process that can be told to fail."""

    def __init__(self, number: int, folder: pathlib.Path) -> None:
        self.port = free_port()
        self.numbers = folder / f"numbers-{number}"
        self.frozen = False
        self._start()

    def _start(self) -> None:
        command = [str(WORK / "faulty"), str(self.port), "1", str(self.numbers)]
        self.process = subprocess.Popen(machine.pinned((machine.LOAD_CORE,), command), stdin=subprocess.PIPE)

    def _tell(self, letter: str) -> None:
        self.process.stdin.write(letter.encode())
        self.process.stdin.flush()

    def fails(self, kind: str) -> None:
        if kind == "kill":
            self.process.kill()
            self.process.wait()
        elif kind == "freeze":
            self.process.send_signal(signal.SIGSTOP)
        else:
            self._tell(LETTERS[kind])

    def recovers(self, kind: str) -> None:
        if kind == "kill":
            self.process.stdin.close()
            self._start()
        elif kind == "freeze":
            self.process.send_signal(signal.SIGCONT)
        else:
            self._tell("w")

    def done(self) -> list[int]:
        """The numbers of the POSTs that it has read."""
        read = self.numbers.read_bytes() if self.numbers.exists() else b""
        return [number for (number,) in struct.iter_unpack("<I", read[: len(read) // 4 * 4])]

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        with contextlib.suppress(OSError):
            self.process.stdin.close()


@dataclasses.dataclass
class Run:
    """What one proxy made of one schedule."""

    gets: int = 0
    posts: int = 0
    failed_gets: int = 0
    failed_posts: int = 0
    twice: int = 0
    statuses: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    took_ms: list[float] = dataclasses.field(default_factory=list)  # of what was answered well

    def quantile(self, share: float) -> float:
        return self.took_ms[min(len(self.took_ms) - 1, int(share * len(self.took_ms)))]

    def late(self) -> int:
        return len(self.took_ms) - bisect.bisect_right(self.took_ms, LATE_MS)

    def added_by_late(self) -> float:
        """What the late ones add to the mean of all."""
        return sum(took - LATE_MS for took in self.took_ms if took > LATE_MS) / len(self.took_ms)

    def mean(self) -> float:
        return statistics.fmean(self.took_ms)


def _play(events: tuple[Event, ...], endpoints: list[Endpoint], begun: float, stop: threading.Event) -> None:
    steps = [(event.begins, 0, event) for event in events] + [(event.ends, 1, event) for event in events]
    for at, is_end, event in sorted(steps, key=lambda step: step[:2]):
        if stop.wait(max(0.0, begun + at - time.monotonic())):
            return
        endpoint = endpoints[event.endpoint]
        (endpoint.recovers if is_end else endpoint.fails)(event.kind)


def _one(peer: str, schedule: Plan) -> Run:
    folder = rounds.fresh_folder(f"faults-{peer}")
    messages, records = folder / "messages", folder / "records"
    messages.write_bytes(b"".join(struct.pack("<I", len(message)) + message for message in MESSAGES))
    endpoints = [Endpoint(number, folder) for number in range(ENDPOINTS)]
    stop = threading.Event()
    try:
        place = Place(free_port(), 0, folder)
        with Running(peer, balanced.launch(peer, place, [endpoint.port for endpoint in endpoints]), place) as proxy:
            time.sleep(0.5)  # each has asked its endpoints once
            command = [str(WORK / "load"), "--port", str(proxy.port), "--messages", str(messages)]
            command += ["--connections", str(CLIENTS), "--rate", str(RATE), "--seconds", str(schedule.seconds)]
            command += ["--expect", "1024", "--each", str(records)]
            load = subprocess.Popen(machine.pinned((machine.LOAD_CORE,), command), stdout=subprocess.DEVNULL)
            playing = threading.Thread(target=_play, args=(schedule.events, endpoints, time.monotonic(), stop))
            playing.start()
            try:
                load.wait(timeout=schedule.seconds + 30)
            finally:
                load.kill()
                load.wait()
                stop.set()
                playing.join()
        return _read(records, endpoints)
    finally:
        for endpoint in endpoints:
            endpoint.end()


def _read(records: pathlib.Path, endpoints: list[Endpoint]) -> Run:
    run = Run()
    for due_us, took_us, status, message in RECORD.iter_unpack(records.read_bytes()):
        if due_us < COUNTED_FROM * 1e6:
            continue
        is_post, failed = IS_POST[message], not 200 <= status <= 299
        run.posts += is_post
        run.gets += not is_post
        if failed:
            run.failed_posts += is_post
            run.failed_gets += not is_post
            run.statuses[status] += 1
        else:
            run.took_ms.append(took_us / 1000)
    run.took_ms.sort()
    read = collections.Counter(number for endpoint in endpoints for number in endpoint.done())
    run.twice = sum(count - 1 for count in read.values())
    return run


def measure(wish) -> dict:
    """All kinds, in interleaved rounds."""
    peers = [peer for peer in PEERS if peer in wish.peers]
    scale = 0.4 if wish.quick else 1.0
    runs: dict[str, dict[str, list[Run]]] = {kind: {peer: [] for peer in peers} for kind in KINDS}
    for number in range(wish.plan.rounds):
        for kind in KINDS:
            schedule = plan(kind, number, scale)
            turn = number % len(peers)
            for peer in peers[turn:] + peers[:turn]:
                run = _one(peer, schedule)
                runs[kind][peer].append(run)
                print(
                    f"  {number + 1}/{wish.plan.rounds} {kind:7} {peer:8} failed {run.failed_gets}/{run.gets} GETs {run.failed_posts}/{run.posts} POSTs, "
                    f"twice {run.twice}, late {run.late()}, mean {run.mean():.2f} p99 {run.quantile(0.99):.1f} p99.9 {run.quantile(0.999):.1f} ms {dict(run.statuses)}",
                    flush=True,
                )
    found = {kind: {peer: _summed(taken, runs["calm"][peer]) for peer, taken in each.items()} for kind, each in runs.items()}
    failing = [kind for kind in KINDS if kind != "calm"]
    found["all"] = {
        peer: _summed([_together([runs[kind][peer][number] for kind in failing]) for number in range(wish.plan.rounds)], runs["calm"][peer])
        for peer in peers
    }
    return {"kinds": KINDS | {"all": "all that fail"}, "rate": RATE, "found": found}


def _together(runs: list[Run]) -> Run:
    """Several as if they were one."""
    return Run(
        *(sum(getattr(run, name) for run in runs) for name in ("gets", "posts", "failed_gets", "failed_posts", "twice")),
        sum((run.statuses for run in runs), collections.Counter()),
        sorted(took for run in runs for took in run.took_ms),
    )


def _summed(taken: list[Run], calm: list[Run]) -> dict:
    """Failures are summed over the rounds; of times, each round's own figures have their median."""
    gets, posts = sum(run.gets for run in taken), sum(run.posts for run in taken)
    failed_gets, failed_posts = sum(run.failed_gets for run in taken), sum(run.failed_posts for run in taken)
    return {
        "requests": gets + posts,
        "failed": failed_gets + failed_posts,
        "failed_gets": failed_gets,
        "failed_posts": failed_posts,
        "share": (failed_gets + failed_posts) / (gets + posts),
        "share_gets": failed_gets / gets,
        "share_posts": failed_posts / posts,
        "twice": sum(run.twice for run in taken),
        "late": sum(run.late() for run in taken) / (gets + posts),
        "added_by_late_ms": statistics.fmean(run.added_by_late() for run in taken),
        "added_ms": statistics.median(run.mean() - still.mean() for run, still in zip(taken, calm, strict=True)),
        **{
            name: statistics.median(run.quantile(share) for run in taken)
            for name, share in (("p50_ms", 0.5), ("p99_ms", 0.99), ("p999_ms", 0.999))
        },
    }


def markdown(faults: dict) -> str:
    """The tables of a report."""
    lines = []
    for kind, each in faults["found"].items():
        for peer, found in each.items():
            lines.append(
                f"| {kind} | {peer} | {found['share']:.3%} | {found['failed_gets']:,} | {found['failed_posts']:,} | {found['twice']} "
                f"| {found['late']:.3%} | {found['added_by_late_ms']:.2f} | {found['added_ms']:+.2f} | {found['p50_ms']:.2f} | {found['p99_ms']:.1f} | {found['p999_ms']:.1f} |"
            )
    heads = "| failure | | failed | GETs | POSTs | POSTs twice | later than 100 ms | mean added by these, ms | mean added, ms | p50 | p99 | p99.9 |"
    explained = "; ".join(f"{kind}: {text}" for kind, text in faults["kinds"].items() if kind not in ("calm", "all"))
    return (
        f"**faults**: five endpoints of which some fail, {faults['rate']} requests/s, two in five a POST ({explained})\n\n"
        + "\n".join([heads, "|" + "---|" * 12, *lines])
    )
