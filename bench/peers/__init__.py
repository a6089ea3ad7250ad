"""The proxies that are measured, each with a config of the same features, and how one is started and stopped."""

import dataclasses
import os
import pathlib
import signal
import socket
import subprocess

import machine


@dataclasses.dataclass(frozen=True)
class Setup:
    """What a proxy is asked to be."""

    gateway: bool = False  # a limit by address that never strikes, a request id both ways, an access log
    workers: int = 1
    routes: int = 0  # 0: one route for everything
    line_by_line: bool = False  # nginx: a write for each line of the access log
    single: bool = False  # one process without children, for counting tools
    other: bool = False  # proxyd: the second binary that was named
    tls: bool = False  # HTTPS with the certificate in the folder, HTTP/2 by ALPN
    endpoints: int = 0  # proxyd: an upstream of so many, all of them the backend; 0: a target
    upstream: str = ""  # further keys of that upstream, as JSON
    tunnels: bool = False  # nginx: lets WebSockets through, which the others do unasked


@dataclasses.dataclass(frozen=True)
class Place:
    """Where it runs."""

    port: int
    backend: int
    folder: pathlib.Path


@dataclasses.dataclass
class Launch:
    """How it is started, and where its log will be."""

    command: list[str]
    log: pathlib.Path | None = None
    log_mark: bytes = b'"request_id":'  # what each line that tells of a request has, and no other
    environment: dict[str, str] = dataclasses.field(default_factory=dict)
    output: pathlib.Path | None = None  # where its standard output goes, where that is its log
    stop: int = signal.SIGTERM
    audit: pathlib.Path | None = None  # where its record of every request is


def free_port() -> int:
    """A port that nothing listens on just now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def route_path(number: int, count: int) -> str:
    """The prefix of one of so many routes: three segments, as services and their resources have."""
    return f"/team-{number % 97}/service-{number}/v{number % 3}" if count else "/"


class Running:
    """A proxy that listens."""

    def __init__(
        self,
        name: str,
        launch: Launch,
        place: Place,
        cores: tuple[int, ...] = (machine.PROXY_CORE,),
        tool: list[str] | None = None,
    ) -> None:
        self.name = name
        self.launch = launch
        self.port = place.port
        self.folder = place.folder
        self.patience = 120 if tool else 60
        said = open(place.folder / "said", "wb")
        output = open(launch.output, "wb") if launch.output else said
        self.process = subprocess.Popen(
            machine.pinned(cores, [*(tool or []), *launch.command]),
            stdout=output,
            stderr=said,
            stdin=subprocess.DEVNULL,
            env=os.environ | launch.environment,
            cwd=place.folder,
        )
        self.pids: list[int] = []

    def __enter__(self) -> "Running":
        try:
            machine.wait_for(self._listens, self.patience, f"{self.name} did not listen ({self.folder}/said)")
        except BaseException:
            self.__exit__()
            raise
        self.pids = machine.family(self.process.pid)
        return self

    def _listens(self) -> bool:
        if self.process.poll() is not None:
            said = (self.folder / "said").read_text(errors="replace")[-2000:]
            raise SystemExit(f"bench: {self.name} ended at once; it said:\n{said}")
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            return True
        except OSError:
            return False

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(self.launch.stop)
            try:
                self.process.wait(timeout=self.patience)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def processor(self) -> tuple[float, float]:
        """User and system seconds so far."""
        return machine.processor_seconds(self.pids)

    def memory(self) -> int:
        """Resident bytes, of all its processes."""
        return machine.resident(machine.family(self.process.pid))
