"""The two programs around a proxy: builds them, runs the backend, and runs one sample of load."""

import contextlib
import json
import pathlib
import re
import struct
import subprocess
import urllib.request

import machine
from cases import ROOT, WORK, Case, Entrant
from peers import free_port


def build() -> None:
    """Compiles backend and load where they are older than their source."""
    for name in ("backend", "faulty", "load"):
        source, made = ROOT / f"bench/{name}.c", WORK / name
        if not made.exists() or made.stat().st_mtime < source.stat().st_mtime:
            subprocess.run(["gcc", "-O2", "-Wall", "-Wextra", "-o", str(made), str(source)], check=True)


class Backend:
    """The upstream of all proxies of a case: one program for each core that it may have."""

    def __init__(self, cores: tuple[int, ...] = (machine.LOAD_CORE,)) -> None:
        self.port = free_port()
        command = [str(WORK / "backend"), str(self.port)]
        self.processes = [subprocess.Popen(machine.pinned((core,), command)) for core in cores]

    def __enter__(self) -> "Backend":
        def listens() -> bool:
            with contextlib.suppress(OSError):
                self.counts()
                return True
            return False

        machine.wait_for(listens, 10, "the backend did not listen")
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            process.terminate()
            process.wait()

    def counts(self) -> dict[str, int]:
        """Requests, requests with an id and body bytes so far."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/counts", timeout=5) as answer:
            return json.load(answer)


def messages_file(entrant: Entrant, case: Case) -> pathlib.Path:
    """The requests in the form that the load reads."""
    label = re.sub(r"[^a-z0-9]+", "-", entrant.label)
    path = WORK / f"messages-{case.name}-{label}"
    messages = entrant.messages or case.messages
    written = b"".join(struct.pack("<I", len(message)) + message for message in messages)
    # Another load may be reading them.
    if not path.exists() or path.read_bytes() != written:
        path.write_bytes(written)
    return path


def load_command(case: Case, entrant: Entrant, port: int) -> list[str]:
    """Load for a case, without how long and how fast."""
    command = [str(WORK / "load"), "--port", str(port), "--messages", str(messages_file(entrant, case))]
    command += ["--connections", str(case.connections), "--expect", str(case.expect)]
    if case.sources:
        command += ["--sources", str(case.sources)]
    if case.close:
        command.append("--close")
    if entrant.setup.gateway:
        command += ["--want", "x-request-id"]
    return command


def run_load(command: list[str], patience: float = 60) -> dict:
    """Runs load to its end and returns what it found."""
    held = machine.pinned((machine.LOAD_CORE,), command)
    done = subprocess.run(held, capture_output=True, text=True, timeout=patience, check=False)
    if done.returncode != 0:
        raise SystemExit(f"bench: load failed: {done.stderr.strip()}")
    return json.loads(done.stdout.splitlines()[-1])


def complaints(found: dict) -> list[str]:
    """What was wrong with the answers of a run of load."""
    wrong = [
        f"{count} answers with a wrong {kind}" for kind, count in found["failures"].items() if count and kind != "cut"
    ]
    if found["failures"]["cut"]:
        wrong.append(f"{found['failures']['cut']} requests cut short")
    if found["unanswered"]:
        wrong.append(f"{found['unanswered']} requests never answered")
    return wrong
