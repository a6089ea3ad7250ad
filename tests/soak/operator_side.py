"""What an operator and bad luck do meanwhile: reloads, broken ones too, log rotation, queries, kills of an upstream."""

import asyncio
import json
import os
import pathlib
import random
import signal
import subprocess
import sys

from client import Wire

HERE = pathlib.Path(__file__).parent


class Backend:
    """A scripted backend in a process of its own, which can be killed and started anew on its port."""

    def __init__(self, port: int, folder: pathlib.Path) -> None:
        self.port = port
        self.said = open(folder / f"backend-{port}.log", "a", encoding="utf-8")
        self.process: subprocess.Popen | None = None

    async def start(self) -> None:
        """Starts it and waits until it listens."""
        command = [sys.executable, str(HERE / "backend.py"), str(self.port)]
        self.process = subprocess.Popen(command, stdout=self.said, stderr=self.said)
        for _ in range(200):
            try:
                (await Wire.open(self.port)).close()
                return
            except OSError:
                await asyncio.sleep(0.05)
        raise SystemExit(f"a backend does not listen; see {self.said.name}")

    def kill(self) -> None:
        """As bad luck does."""
        if self.process:
            self.process.kill()
            self.process.wait()


class Operator:
    """Does all that in turn, and notes what did not go as it should."""

    def __init__(self, ctl: str, folder: pathlib.Path, pid: int, mortal: Backend) -> None:
        self.ctl_program = ctl
        self.folder = folder
        self.pid = pid
        self.mortal = mortal
        self.counts = {"reloads": 0, "broken reloads refused": 0, "queries": 0, "rotations": 0, "kills": 0}
        self.faults: list[str] = []
        self.config = json.loads((folder / "config.yaml").read_text())

    async def ctl(self, *words: str, patience: float = 60) -> tuple[int, str, str]:
        """Runs proxyctl."""
        socket = str(self.folder / "control.sock")
        process = await asyncio.create_subprocess_exec(
            self.ctl_program, "--socket", socket, *words, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        out, err = await asyncio.wait_for(process.communicate(), patience)
        return process.returncode or 0, out.decode(), err.decode()

    async def run(self, ending: asyncio.Event) -> None:
        """Everything at its own pace until the end."""
        paces = ((10, self.reload), (7, self.query), (60, self.rotate), (23, self.kill))
        await asyncio.gather(*(self.every(seconds, act, ending) for seconds, act in paces))

    async def every(self, seconds: float, act, ending: asyncio.Event) -> None:
        while True:
            try:
                await asyncio.wait_for(ending.wait(), seconds)
                return
            except TimeoutError:
                pass
            try:
                await act()
            except (OSError, TimeoutError, ValueError) as fault:
                self.faults.append(f"{act.__name__}: {fault!r}")

    def write(self, config: dict) -> None:
        """Puts a config in place at once."""
        new = self.folder / "config.new"
        new.write_text(json.dumps(config))
        new.rename(self.folder / "config.yaml")

    async def reload(self) -> None:
        """Two that change something, then one that is broken and must change nothing."""
        turn = self.counts["reloads"] + self.counts["broken reloads refused"] + 1
        broken = turn % 3 == 0
        config = json.loads(json.dumps(self.config))
        config["headers"] = {"response": {"set": {"x-soak": str(turn)}}}
        if turn % 2:
            config["routes"].append({"path": f"/only/in/{turn}/", "respond": {"body": "here"}})
        if broken:
            config["routes"].append({"path": "/", "target": "nonsense", "unknown": 1})
        self.write(config)
        code, out, err = await self.ctl("reload")
        if broken:
            self.write(self.config)
        if (code == 0) == broken:
            self.faults.append(f"reload {turn} ({'broken' if broken else 'sound'}): {code} {out[-200:]} {err[-200:]}")
        self.counts["broken reloads refused" if broken else "reloads"] += 1

    async def query(self) -> None:
        """Looks into the record as people do."""
        wanted = random.choice([["--status", "5xx"], ["--path", "/mortal/*"], ["--since", "1m"], ["--actions"], []])
        code, out, err = await self.ctl("audit", "--output", "json", "--last", "100", *wanted)
        rows = [json.loads(line) for line in out.splitlines()]
        if code != 0 or not all(isinstance(row, dict) for row in rows):
            self.faults.append(f"audit {wanted}: {code} {err[-200:]}")
        for words in (["status"], ["routes"], ["upstreams"], ["limits"]):
            code, _, err = await self.ctl(*words, "--output", "json")
            if code != 0:
                self.faults.append(f"{words}: {code} {err[-200:]}")
        self.counts["queries"] += 1

    async def rotate(self) -> None:
        """Renames the access log; a file must stand in its place soon."""
        log = self.folder / "access.log"
        log.rename(self.folder / "access.log.1")
        os.kill(self.pid, signal.SIGUSR1)
        for _ in range(100):
            if log.exists():
                self.counts["rotations"] += 1
                return
            await asyncio.sleep(0.05)
        self.faults.append("the access log was not opened anew")

    async def kill(self) -> None:
        """Kills the upstream that dies, and brings it back."""
        self.mortal.kill()
        await asyncio.sleep(random.uniform(0.2, 3))
        await self.mortal.start()
        self.counts["kills"] += 1
