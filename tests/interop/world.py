"""What the checks talk to: the origin, real servers, and one proxyd in front of all of them."""

import pathlib
import shutil
import socket
import subprocess
import sys
import time

from checks import Skipped
from origin import Origin
from traffic import Daemon, free_port, template

HERE = pathlib.Path(__file__).parent
SERVERS = ("gunicorn", "uvicorn-h11", "uvicorn-httptools", "node", "files", "nginx", "sockets")


class World:
    """Everything that runs; `port` is proxyd's."""

    def __init__(self, proxyd: str, folder: pathlib.Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.folder = folder.resolve()
        self.origin = Origin()
        self.ports = {name: free_port() for name in SERVERS}
        self.running: dict[str, subprocess.Popen] = {}
        self.daemon = Daemon([proxyd], self.folder / "proxyd", template(self.config()))
        self.port = self.daemon.port
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> "World":
        self.daemon.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.daemon.__exit__()
        for process in self.running.values():
            process.terminate()
        for process in self.running.values():
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()

    def config(self) -> dict:
        """One route for each server, under its name; everything else goes to the origin as it came."""
        routes = [
            {"path": f"/{name}/", "target": f"http://127.0.0.1:{port}", "rewrite": {"strip_prefix": f"/{name}"}}
            for name, port in self.ports.items()
        ]
        origin = f"http://127.0.0.1:{self.origin.port}"
        strip = {"target": origin, "rewrite": {"strip_prefix": "/cors"}}
        cors = {"allow_origins": "*", "allow_headers": ["content-type", "x-own"], "expose_headers": ["x-seen-method"]}
        routes += [
            {"path": "/cors/", **strip, "cors": cors},
            {"path": "/limited/", "target": origin, "rewrite": {"strip_prefix": "/limited"}, "body_limit": "100KiB"},
            {"path": "/", "target": origin},
        ]
        return {
            "server": {"listen": "127.0.0.1:@port@", "workers": 2, "state_dir": "@folder@/state"},
            "admin": {"listen": "off", "socket": "@folder@/control.sock"},
            "log": {"access": "@folder@/access.log"},
            "body_limit": "off",
            "routes": routes,
        }

    def start(self, name: str, command: list[str], port: int | None = None, patience: float = 30) -> None:
        """Starts a server, once, and waits until it listens."""
        if name in self.running:
            return
        said = open(self.folder / f"{name}.log", "w", encoding="utf-8")
        process = subprocess.Popen(command, stdout=said, stderr=said, cwd=HERE)
        self.running[name] = process
        until = time.monotonic() + patience
        while time.monotonic() < until and process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port or self.ports[name])).close()
                return
            except OSError:
                time.sleep(0.05)
        raise AssertionError(f"{name} does not listen: {(self.folder / f'{name}.log').read_text()[-500:]}")


def tool(name: str) -> str:
    """A program of this machine; without it the check is skipped."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/bin:/usr/local/go/bin")
    if not found:
        raise Skipped(f"there is no {name} here")
    return found


def beside(name: str) -> str:
    """A program installed beside this Python."""
    return str(pathlib.Path(sys.executable).parent / name)
