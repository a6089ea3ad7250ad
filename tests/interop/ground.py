"""What the suites stand on: certificates, servers, and proxyd as often as a suite wants it, each with its config."""

import pathlib
import re
import shutil
import signal
import ssl
import subprocess
import sys
import urllib.request

from origin import Origin
from traffic import Daemon, free_port, template
from world import World

MIB = 1024 * 1024


class Front(Daemon):
    """A proxyd: clear text on `port`, TLS on `tls`, metrics on `admin`."""

    def __init__(
        self,
        ground: "Ground",
        name: str,
        tree: dict,
        tls: dict | None = None,
        clear: dict | None = None,
        listens: dict | None = None,
    ) -> None:
        self.folder = ground.folder / name
        self.tls, self.admin = free_port(), free_port()
        sealed = {"certificates": [ground.certificate("server")], **(tls or {})}
        server = {
            "listen": [
                {"address": "127.0.0.1:@port@", **(clear or {})},
                {"address": f"127.0.0.1:{self.tls}", "tls": sealed, **(listens or {})},
            ],
            "workers": 2,
            "state_dir": "@folder@/state",
            **tree.pop("server", {}),
        }
        whole = {
            "server": server,
            "admin": {"listen": f"127.0.0.1:{self.admin}", "socket": "@folder@/control.sock"},
            "log": {"access": "@folder@/access.log"},
            "body_limit": "off",
            **tree,
        }
        super().__init__([ground.proxyd], self.folder, template(whole))

    def url(self, secure: bool = False) -> str:
        """Its address for clients."""
        return f"https://127.0.0.1:{self.tls}" if secure else f"http://127.0.0.1:{self.port}"

    def metrics(self) -> str:
        """The page of metrics."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/metrics", timeout=20) as answer:
            return answer.read().decode()

    def metric(self, name: str, *labels: str) -> float:
        """The sum of a metric's series that have these labels, such as `code="x"`."""
        total = 0.0
        for line in self.metrics().splitlines():
            if re.match(rf"{name}[ {{]", line) and all(label in line for label in labels):
                total += float(line.rsplit(" ", 1)[1])
        return total

    def memory(self) -> tuple[int, int]:
        """Resident memory now, and the most there ever was, in bytes."""
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        now, most = (int(re.search(rf"{word}:\s+(\d+) kB", text).group(1)) * 1024 for word in ("VmRSS", "VmHWM"))
        return now, most

    def forget_most(self) -> None:
        """The most there ever was becomes what there is now."""
        pathlib.Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")


class Ground(World):
    """The checks' world without its one proxyd; servers are started by checks."""

    def __init__(self, proxyd: str, folder: pathlib.Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.folder = folder.resolve()
        self.proxyd = proxyd
        self.origin = Origin()
        self.ports: dict[str, int] = {}
        self.running: dict[str, subprocess.Popen] = {}
        self.fronts: dict[str, Front] = {}
        self.ended_well = True
        self.folder.joinpath("pems").mkdir()
        self.authority()
        self.sign("server", "localhost", "DNS:localhost,IP:127.0.0.1")
        self.sign("other", "other.example", "DNS:other.example,DNS:*.wild.example")
        self.sign("client", "billing", "DNS:billing.example")

    def __enter__(self) -> "Ground":
        return self

    def __exit__(self, *_: object) -> None:
        for name, front in self.fronts.items():
            front.__exit__()
            if front.process.returncode != 0:
                self.ended_well = False
                print(f"FAIL proxyd of {name}: it ended with {front.process.returncode}")
        for process in self.running.values():
            process.send_signal(signal.SIGTERM)
        for process in self.running.values():
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()

    def front(self, name: str, tree, **more: object) -> Front:
        """The proxyd of this name; started at first with what `tree` returns."""
        if name not in self.fronts:
            self.fronts[name] = Front(self, name, tree(), **more).__enter__()
        return self.fronts[name]

    def serve(self, name: str, command: list[str], port: int | None = None) -> int:
        """Starts a server at its port, which takes the place of `@port@`, and waits until it listens."""
        if name not in self.running:
            self.ports[name] = port or free_port()
            self.start(name, [word.replace("@port@", str(self.ports[name])) for word in command])
        return self.ports[name]

    def python(self, name: str, program: str, *words: str) -> int:
        """Starts a server that is a file beside this one and takes its port first."""
        return self.serve(name, [sys.executable, str(pathlib.Path(__file__).parent / program), "@port@", *words])

    def stop(self, name: str, patience: float = 20) -> None:
        """Ends a server in good order."""
        process = self.running.pop(name)
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=patience)

    def pem(self, name: str) -> str:
        """The path of a certificate, or of a key with `.key`."""
        return str(self.folder / "pems" / f"{name}.pem")

    def certificate(self, name: str) -> dict:
        """A certificate as a config names it."""
        return {"cert": self.pem(name), "key": self.pem(f"{name}.key")}

    def openssl(self, *words: str) -> None:
        subprocess.run(["openssl", *words], check=True, capture_output=True, timeout=60)

    def authority(self) -> None:
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        extra = ["-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign"]
        place = ["-keyout", self.pem("ca.key"), "-out", self.pem("ca")]
        self.openssl("req", "-x509", *curve, *place, "-days", "90", "-subj", "/CN=suite authority", *extra)

    def sign(self, name: str, common: str, names: str) -> None:
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        request, extra = self.pem(f"{name}.csr"), self.folder / "pems" / f"{name}.ext"
        self.openssl(
            "req", "-new", *curve, "-keyout", self.pem(f"{name}.key"), "-out", request, "-subj", f"/CN={common}"
        )
        extra.write_text(f"subjectAltName={names}\nbasicConstraints=critical,CA:FALSE\n")
        authority = ["-CA", self.pem("ca"), "-CAkey", self.pem("ca.key"), "-CAcreateserial"]
        self.openssl(
            "x509", "-req", "-in", request, *authority, "-out", self.pem(name), "-days", "90", "-extfile", str(extra)
        )

    def trust(self, alpn: list[str] | None = None) -> ssl.SSLContext:
        """What a client in Python checks servers with."""
        context = ssl.create_default_context(cafile=self.pem("ca"))
        if alpn:
            context.set_alpn_protocols(alpn)
        return context
