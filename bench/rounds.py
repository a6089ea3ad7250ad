"""Interleaved rounds: every entrant of a case in turn, again and again, each sample with what disturbed it."""

import contextlib
import dataclasses
import pathlib
import resource
import shutil
import sqlite3
import statistics
import time

import machine
import rig
from cases import WORK, Case, Entrant
from peers import Place, Running, caddy, envoy, free_port, haproxy, nginx, pingora, proxyd

PEERS = {"proxyd": proxyd, "nginx": nginx, "haproxy": haproxy, "pingora": pingora, "envoy": envoy, "caddy": caddy}
DIRTY = 0.12  # foreign share of either core past which a sample is set aside
SETTLE = 0.3  # seconds after the load in which writers finish what belongs to it


@dataclasses.dataclass
class Sample:
    """What one run of load showed."""

    us: float
    user_us: float
    system_us: float
    rate: float
    p50_us: float
    p99_us: float
    p999_us: float
    requests: int
    foreign: float
    memory: int = 0

    @property
    def clean(self) -> bool:
        return self.foreign <= DIRTY


@dataclasses.dataclass
class Outcome:
    """An entrant's samples in a case and what they come to."""

    label: str
    enough: int = 1  # samples that a median takes: half of the rounds asked for
    samples: list[Sample] = dataclasses.field(default_factory=list)
    complaints: list[str] = dataclasses.field(default_factory=list)
    served: int = 0

    def used(self) -> list[Sample]:
        """The clean samples, or the cleanest where too few are clean."""
        clean = [sample for sample in self.samples if sample.clean]
        return clean if len(clean) >= self.enough else sorted(self.samples, key=lambda one: one.foreign)[: self.enough]

    def settled(self) -> bool:
        """Whether all samples in use are clean."""
        return all(sample.clean for sample in self.used())

    def median(self, figure: str) -> float:
        return statistics.median(getattr(sample, figure) for sample in self.used())

    def spread(self, figure: str) -> tuple[float, float]:
        values = [getattr(sample, figure) for sample in self.used()]
        return min(values), max(values)


def fresh_folder(label: str) -> pathlib.Path:
    """An empty folder for one proxy."""
    folder = WORK / "run" / label.replace(" ", "-").replace(",", "")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    folder.chmod(0o755)
    return folder


def started(
    entrant: Entrant,
    backend: int,
    cores: tuple[int, ...] = (machine.PROXY_CORE,),
    tool: list[str] | None = None,
) -> Running:
    """A proxy as the entrant wants it; entered, it listens."""
    place = Place(free_port(), backend, fresh_folder(entrant.label))
    launch = PEERS[entrant.peer].launch(entrant.setup, place)
    return Running(entrant.label, launch, place, cores, tool)


def take_sample(
    case: Case,
    entrant: Entrant,
    proxy: Running,
    backend: rig.Backend,
    outcome: Outcome,
    seconds: float,
    rate: float = 0,
) -> Sample:
    """One run of load against one proxy, checked for equal work."""
    command = [*rig.load_command(case, entrant, proxy.port), "--seconds", str(seconds)]
    if rate:
        command += ["--rate", f"{rate:.0f}"]
    counted = backend.counts()
    load_before = _children_seconds()
    upstream_before = sum(machine.processor_seconds([process.pid for process in backend.processes]))
    user, system = proxy.processor()
    busy, begun = machine.busy_seconds(), time.monotonic()
    found = rig.run_load(command, seconds + 60)
    time.sleep(SETTLE)  # not a wait for a condition: the window that is measured includes the writers' last work
    took = time.monotonic() - begun
    busy_after = machine.busy_seconds()
    user_after, system_after = proxy.processor()
    ours = {
        machine.PROXY_CORE: user_after + system_after - user - system,
        machine.LOAD_CORE: _children_seconds()
        - load_before
        + sum(machine.processor_seconds([process.pid for process in backend.processes]))
        - upstream_before,
    }
    foreign = max((busy_after[one] - busy[one] - ours[one]) / took for one in ours)
    answered = found["answered"]
    outcome.served += answered
    outcome.complaints += rig.complaints(found)
    outcome.complaints += _unequal(case, entrant, found, counted, backend.counts())
    if not answered:
        raise SystemExit(f"bench: {entrant.label} answered nothing in {case.name}: {found}")
    each = 1e6 / answered
    return Sample(
        us=(user_after + system_after - user - system) * each,
        user_us=(user_after - user) * each,
        system_us=(system_after - system) * each,
        rate=answered / found["seconds"],
        p50_us=found["p50_us"],
        p99_us=found["p99_us"],
        p999_us=found["p999_us"],
        requests=answered,
        foreign=max(0.0, foreign),
    )


def _children_seconds() -> float:
    """Processor time of programs that this one has started and seen end."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _unequal(case: Case, entrant: Entrant, found: dict, before: dict, after: dict) -> list[str]:
    """What the backend saw must be what the clients were answered."""
    wrong = []
    seen = {name: after[name] - before[name] for name in after}
    answered = found["answered"]
    if seen["requests"] != answered:
        wrong.append(f"the backend saw {seen['requests']} requests, the clients {answered} answers")
    if entrant.setup.gateway and seen["with_id"] != answered:
        wrong.append(f"{seen['with_id']} of {answered} requests reached the backend with an id")
    if case.sends and seen["body_bytes"] != answered * case.sends:
        wrong.append(f"the backend saw {seen['body_bytes']} body bytes of {answered * case.sends}")
    return wrong


def check_records(proxy: Running, outcome: Outcome) -> None:
    """After a proxy has ended: its log has a line, and its audit a row, for each request that it answered."""
    launch = proxy.launch
    if launch.log:
        lines = _count_lines(launch.log, launch.log_mark)
        if lines != outcome.served:
            outcome.complaints.append(f"{lines} access log lines for {outcome.served} requests")
    if launch.audit:
        rows = 0
        for segment in launch.audit.glob("segment-*.sqlite"):
            with contextlib.closing(sqlite3.connect(f"file:{segment}?mode=ro", uri=True)) as opened:
                rows += opened.execute("SELECT count(*) FROM requests").fetchone()[0]
        if rows != outcome.served:
            outcome.complaints.append(f"{rows} audit rows for {outcome.served} requests")


def _count_lines(path: pathlib.Path, mark: bytes) -> int:
    """The lines that tell of a request: a log may speak of other things too, such as its proxy's end."""
    with open(path, "rb") as log:
        return sum(mark in line for line in log)


@dataclasses.dataclass(frozen=True)
class Plan:
    """How much is measured."""

    rounds: int
    seconds: float
    extra: int = 0  # rounds more, as long as an entrant has fewer clean samples than there were rounds


def run(case: Case, entrants: list[Entrant], plan: Plan, rate: float = 0) -> dict[str, Outcome]:
    """All rounds of a case."""
    outcomes = {entrant.label: Outcome(entrant.label, (plan.rounds + 1) // 2) for entrant in entrants}
    running: dict[str, Running] = {}
    with rig.Backend() as backend:
        with contextlib.ExitStack() as stack:
            for entrant in entrants:
                proxy = started(entrant, backend.port)
                running[entrant.label] = stack.enter_context(proxy)
                warm = Outcome(entrant.label)
                take_sample(case, entrant, proxy, backend, warm, min(1.0, plan.seconds))
                outcomes[entrant.label].served += warm.served
                outcomes[entrant.label].complaints += warm.complaints
            for number in range(plan.rounds + plan.extra):
                clean = (sum(sample.clean for sample in outcome.samples) for outcome in outcomes.values())
                if number >= plan.rounds and min(clean) >= plan.rounds:
                    break
                for entrant in entrants:
                    outcome, proxy = outcomes[entrant.label], running[entrant.label]
                    sample = take_sample(case, entrant, proxy, backend, outcome, plan.seconds, rate)
                    sample.memory = proxy.memory()
                    outcome.samples.append(sample)
                    figures = f"{sample.us:7.1f} µs {sample.rate:9,.0f}/s  p99 {sample.p99_us:8,.0f} µs"
                    dirty = "" if sample.clean else f"  foreign {sample.foreign:.0%}"
                    print(f"  {case.name} {number + 1}/{plan.rounds} {entrant.label:16} {figures}{dirty}", flush=True)
        for label, proxy in running.items():
            check_records(proxy, outcomes[label])
            shutil.rmtree(proxy.folder, ignore_errors=True)
    return outcomes
