"""Node's and Go's stock clients; each prints a line for each of its checks, which stand here under their names."""

import os
import subprocess

from checks import check, true
from world import HERE, World, tool


def report(command: list[str], **more: object) -> None:
    """Runs a program that prints `ok …` or `FAIL …` lines and then `done`."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False, **more)
    lines = done.stdout.splitlines()
    failed = [line for line in lines if not line.startswith("ok ") and line != "done"]
    true(not failed and lines[-1:] == ["done"], f"{'; '.join(failed) or lines[-3:]} {done.stderr[-800:]}")


@check("node: http.Agent with keep-alive")
def node_agent(world: World) -> None:
    report([tool("node"), str(HERE / "node_clients.mjs"), world.url, "agent"])


@check("node: fetch, streams both ways")
def node_fetch(world: World) -> None:
    report([tool("node"), str(HERE / "node_clients.mjs"), world.url, "fetch"])


@check("go: net/http")
def go_client(world: World) -> None:
    go = tool("go")
    program = str(world.folder / "go_client")
    settings = {**os.environ, "GOCACHE": str(world.folder.parent / "go-cache"), "GOFLAGS": "", "GO111MODULE": "off"}
    subprocess.run([go, "build", "-o", program, str(HERE / "go_client.go")], check=True, env=settings, timeout=110)
    report([program, world.url])
