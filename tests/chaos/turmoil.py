"""What happens to the endpoints and to the daemon meanwhile: faults, reloads, drains; and samples of how the daemon sees it."""

import asyncio
import contextlib
import dataclasses
import json
import pathlib
import random
import socket
import subprocess
import sys
import time
import urllib.request

FAULTS = ("dead", "stalled", "frozen", "reset", "slow", "garbage", "busy", "broken")
MOST_FAULTY = 3
# Every so often all of them fail, for so long.
ALL_EVERY_S, ALL_FOR_S = 40, 4
SAMPLE_S = 0.2
BALANCES = ("round_robin", "least_busy", "two_choices", "random", {"hash": {"by": "path"}})
# What the config says, and the verdicts go by.
ATTEMPTS = (3, 2)
BUDGET, FLOOR_PER_S, WORKERS = 0.25, 1, 2
MAX_EJECTED = 2
TRIALS = 3
CONNECT_S, TOTAL_S = 0.4, 6


def upstream(ports: list[int], turn: int) -> dict:
    """The upstream as it stands at this reload: some settings change with each."""
    return {
        "endpoints": [f"http://127.0.0.1:{port}" for port in ports],
        "balance": BALANCES[turn // 3 % len(BALANCES)],
        "sticky": {"cookie": "node"},
        "probe": {"path": "/health", "interval": "400ms", "down_interval": "200ms", "timeout": "300ms",
                  "healthy_after": 2, "unhealthy_after": 2 + turn % 2},
        "eject": {"consecutive_errors": 3, "for": "1s", "max_for": "4s", "max_percent": "40%"},
        "breaker": {"error_rate": "50%", "window": "4s", "min_requests": 10 + turn % 3, "open_for": "1500ms", "trials": TRIALS},
        "retry": {"attempts": ATTEMPTS[turn % len(ATTEMPTS)], "on": ["connect", "refused_stream", "reset", "timeout", "protocol", 502, 503, 504],
                  "backoff": "10ms", "max_backoff": "300ms", "budget": f"{BUDGET * 100:.0f}%", "body": "16KiB"},
        "in_flight": {"total": 400, "endpoint": 100 + turn % 5, "queue": 200, "wait": "1s"},
        "slow_start": "1s" if turn % 4 == 1 else "off",
        "panic_below": ("1%", "off", "30%")[turn // 4 % 3],
        "timeouts": {"connect": f"{CONNECT_S * 1000:.0f}ms", "write": "1500ms", "response_headers": f"{900 + turn % 3 * 200}ms",
                     "idle": "2s", "total": f"{TOTAL_S}s"},
    }


def config(ports: list[int], admin: int, turn: int = 0) -> dict:
    """The daemon's config."""
    return {
        "server": {"listen": "127.0.0.1:@port@", "workers": WORKERS, "state_dir": "@folder@/state",
                   "timeouts": {"keep_alive": "20s"}},
        "admin": {"listen": f"127.0.0.1:{admin}", "socket": "@folder@/control.sock"},
        "log": {"access": "@folder@/access.log", "slow_request": "off"},
        "upstreams": {"app": upstream(ports, turn)},
        "routes": [{"path": "/", "upstream": "app"}],
    }


class Endpoints:
    """The five, in a process of their own."""

    def __init__(self, ports: list[int], folder: pathlib.Path) -> None:
        self.ports = ports
        self.modes = ["well"] * len(ports)
        self.said = open(folder / "endpoints.log", "w", encoding="utf-8")
        command = [sys.executable, str(pathlib.Path(__file__).parent / "endpoints.py"), str(folder / "journal.jsonl"), *map(str, ports)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=self.said, stderr=self.said, text=True)

    def wait(self) -> None:
        """Until all listen."""
        for port in self.ports:
            for _ in range(400):
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                except OSError:
                    time.sleep(0.05)
            else:
                raise SystemExit(f"the endpoints do not listen; see {self.said.name}")

    def turn(self, number: int, mode: str, lies: bool = False) -> None:
        self.modes[number] = mode
        assert self.process.stdin
        self.process.stdin.write(json.dumps({"endpoint": number, "mode": mode, "lies": lies}) + "\n")
        self.process.stdin.flush()

    def end(self) -> None:
        """Lets the process write down the rest, and end."""
        assert self.process.stdin
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()


class Control:
    """The control socket: one question at a time."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        self.lock = asyncio.Lock()
        self.streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self.number = 0

    async def ask(self, command: str, **args: object) -> tuple[bool, object]:
        """Whether it went well, and the answer, or the list of events."""
        async with self.lock:
            if self.streams is None:
                self.streams = await asyncio.open_unix_connection(str(self.path), limit=1 << 22)
            reader, writer = self.streams
            self.number += 1
            writer.write(json.dumps({"v": 1, "id": self.number, "command": command, "args": args}).encode() + b"\n")
            events = []
            while True:
                line = json.loads(await asyncio.wait_for(reader.readline(), 30))
                if "event" in line:
                    events.append(line["event"])
                elif "end" in line:
                    return True, events
                else:
                    return "ok" in line, line.get("ok", line.get("error"))


@dataclasses.dataclass
class Drained:
    """From the command's answer to the next command, an endpoint was drained."""

    endpoint: int
    since: float
    until: float = float("inf")


class Turmoil:
    """All of it, at its own pace, from seeds of its own."""

    def __init__(self, folder: pathlib.Path, endpoints: Endpoints, admin: int, seed: int) -> None:
        self.folder = folder
        self.endpoints = endpoints
        self.admin = admin
        self.seed = seed
        self.control, self.sampling = Control(folder / "control.sock"), Control(folder / "control.sock")
        self.config = json.loads((folder / "config.yaml").read_text())
        self.ending = asyncio.Event()
        self.faults: list[str] = []
        self.counts = {"faults": 0, "reloads": 0, "broken reloads refused": 0, "drains": 0}
        # Which attempts each generation allows.
        self.attempts = {1: ATTEMPTS[0]}
        self.drained: list[Drained] = []
        self.all_faulty: list[tuple[float, float]] = []
        # Between the first two times it was so.
        self.samples: list[tuple[float, float, dict]] = []
        # When, and how many attempts were made again by then.
        self.budget: list[tuple[float, float]] = []

    async def pause(self, seconds: float) -> bool:
        """Waits; false as soon as the end has come."""
        try:
            await asyncio.wait_for(self.ending.wait(), seconds)
        except TimeoutError:
            return True
        return False

    async def fail(self) -> None:
        """Each second some fall ill and some recover; now and then all are ill."""
        rng = random.Random(f"faults {self.seed}")
        began, since_all = time.monotonic(), time.monotonic()
        well_again = [0.0] * len(self.endpoints.ports)
        while await self.pause(rng.uniform(0.3, 1.2)):
            now = time.monotonic() - began
            for number, until in enumerate(well_again):
                if until and now >= until:
                    well_again[number] = 0
                    self.endpoints.turn(number, "well")
            well = [number for number, until in enumerate(well_again) if not until]
            if len(self.endpoints.ports) - len(well) < MOST_FAULTY and rng.random() < 0.8:
                number = rng.choice(well)
                self.endpoints.turn(number, rng.choice(FAULTS), rng.random() < 0.4)
                well_again[number] = now + rng.uniform(0.5, 6)
                self.counts["faults"] += 1
            if time.monotonic() - since_all > ALL_EVERY_S:
                at = time.time()
                for number in range(len(well_again)):
                    self.endpoints.turn(number, rng.choice(FAULTS), rng.random() < 0.4)
                await self.pause(ALL_FOR_S)
                for number in range(len(well_again)):
                    self.endpoints.turn(number, "well")
                    well_again[number] = 0
                self.all_faulty.append((at, time.time()))
                since_all = time.monotonic()
        for number in range(len(well_again)):
            self.endpoints.turn(number, "well")

    async def reload(self) -> None:
        """Reloads each second, some of them broken."""
        rng = random.Random(f"reloads {self.seed}")
        turn = 0
        ports = self.endpoints.ports
        while await self.pause(rng.uniform(0.6, 1.6)):
            turn += 1
            is_broken = rng.random() < 0.2
            new = json.loads(json.dumps(self.config))
            new["upstreams"]["app"] = upstream(ports, turn)
            if is_broken:
                new["upstreams"]["app"]["retry"]["attempts"] = 99
            text = self.folder / "config.new"
            text.write_text(json.dumps(new))
            text.rename(self.folder / "config.yaml")
            went, told = await self.control.ask("reload")
            if went == is_broken:
                self.faults.append(f"reload {turn} ({'broken' if is_broken else 'sound'}): {told}")
            elif went:
                self.attempts[told["generation"]] = ATTEMPTS[turn % len(ATTEMPTS)]
            self.counts["broken reloads refused" if is_broken else "reloads"] += 1

    async def drain(self) -> None:
        """Drains one endpoint for a while, then another."""
        rng = random.Random(f"drains {self.seed}")
        control = Control(self.folder / "control.sock")
        while await self.pause(rng.uniform(1, 5)):
            number = rng.randrange(len(self.endpoints.ports))
            address = f"127.0.0.1:{self.endpoints.ports[number]}"
            word = rng.choice(("drain", "drain", "down"))
            went, told = await control.ask("upstreams_set", upstream="app", endpoint=address, state=word)
            if not went:
                self.faults.append(f"{word} {address}: {told}")
                continue
            drained = Drained(number, time.time())
            self.drained.append(drained)
            await self.pause(rng.uniform(1.5, 4))
            drained.until = time.time()
            went, told = await control.ask("upstreams_set", upstream="app", endpoint=address, state="ready")
            if not went:
                self.faults.append(f"ready {address}: {told}")
            self.counts["drains"] += 1

    async def sample(self) -> None:
        """How the daemon sees its endpoints, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(SAMPLE_S)

    async def look(self) -> dict:
        before = time.time()
        _, told = await self.sampling.ask("upstreams")
        line = told[0]
        self.samples.append((before, time.time(), line))
        return line

    async def meter(self) -> None:
        """Each second: how often something was sent again; until cancelled."""
        while True:
            page = await asyncio.to_thread(self.page)
            self.budget.append((time.time(), figure(page, "proxyd_upstream_retries_total")))
            await asyncio.sleep(1)

    def page(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/metrics", timeout=20) as page:
            return page.read().decode()

    async def run(self) -> None:
        """Until `ending` is set."""
        await asyncio.gather(self.fail(), self.reload(), self.drain())

    async def recovers(self, patience: float) -> float | None:
        """How long it takes until all are ready; none: longer than that."""
        began = time.monotonic()
        while time.monotonic() - began < patience:
            line = await self.look()
            if all(one["state"] == "ready" for one in line["endpoints"]):
                return time.monotonic() - began
            await asyncio.sleep(0.1)
        return None


def figure(page: str, name: str) -> float:
    """A metric's sum over its labels."""
    lines = (line for line in page.splitlines() if line.startswith((name + "{", name + " ")))
    return sum(float(line.rpartition(" ")[2]) for line in lines)
