"""Traffic for measuring and training: a small backend, a reader of whole messages, and a daemon started and stopped.

Everything stays on 127.0.0.1 and is bounded in count.
"""

import json
import pathlib
import signal
import socket
import subprocess
import threading
import time


def free_port() -> int:
    """A port that nothing listens on just now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


COMMON = (
    "Host: 127.0.0.1\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/140.0\r\n"
    "Accept: text/html,application/json\r\nAccept-Language: en-US,en;q=0.9\r\nAccept-Encoding: gzip, br\r\n"
    "Cache-Control: no-cache\r\nCookie: session=abcdefgh; theme=dark\r\n"
)


class Stream:
    """Reads whole messages from a socket."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.held = b""

    def more(self) -> None:
        """Waits for more bytes; an end is an error."""
        came = self.connection.recv(262144)
        if not came:
            raise ConnectionError("the connection ended")
        self.held += came

    def head(self) -> bytes:
        """The next head, without its empty line."""
        while b"\r\n\r\n" not in self.held:
            self.more()
        head, _, self.held = self.held.partition(b"\r\n\r\n")
        return head

    def take(self, count: int) -> bytes:
        """The next so many bytes."""
        while len(self.held) < count:
            self.more()
        taken, self.held = self.held[:count], self.held[count:]
        return taken

    def body(self, head: bytes) -> bytes:
        """The body that belongs to a head."""
        lower = head.lower()
        if b"transfer-encoding: chunked" in lower:
            body = b""
            while True:
                while b"\r\n" not in self.held:
                    self.more()
                size, _, self.held = self.held.partition(b"\r\n")
                piece = self.take(int(size, 16))
                self.take(2)
                if not piece:
                    return body
                body += piece
        if b"content-length: " in lower:
            return self.take(int(lower.split(b"content-length: ")[1].split(b"\r\n")[0]))
        return b""


def serve(connection: socket.socket) -> None:
    """Answers /…/N with N bytes, by chunks where the path says so."""
    stream = Stream(connection)
    try:
        while True:
            head = stream.head()
            stream.body(head)
            path = head.split(b" ")[1]
            size = int(path.rsplit(b"/", 1)[1].split(b"?")[0])
            body = b"x" * size
            lines = b"Server: demo\r\nContent-Type: text/plain\r\nETag: \"abc\"\r\nVary: Accept\r\n"
            if b"/chunked/" in path:
                framed = b"%x\r\n%s\r\n0\r\n\r\n" % (size, body)
                answer = b"HTTP/1.1 200 OK\r\n" + lines + b"Transfer-Encoding: chunked\r\n\r\n" + framed
            else:
                answer = b"HTTP/1.1 200 OK\r\n" + lines + b"Content-Length: %d\r\n\r\n" % size + body
            connection.sendall(answer)
    except (ConnectionError, OSError):
        connection.close()


def accept(server: socket.socket) -> None:
    """Serves each connection on a thread of its own."""
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=serve, args=(connection,), daemon=True).start()


def request(method: str, path: str, extra: str = "", body: bytes = b"") -> bytes:
    """A request's bytes."""
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    return f"{method} {path} HTTP/1.1\r\n{COMMON}{extra}{length}\r\n".encode() + body


def template(tree: dict) -> str:
    """A config for `Daemon` from a tree, in which @port@, @folder@ and @backend@ stand for what it puts there."""
    text = json.dumps(tree, indent=1).replace("{", "{{").replace("}", "}}")
    return text.replace("@port@", "{port}").replace("@folder@", "{folder}").replace("@backend@", "{backend}")


class Daemon:
    """A proxyd with a config of its own in a folder of its own, in front of a backend of ours."""

    def __init__(self, command: list[str], folder: pathlib.Path, config: str, patience: float = 30) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        backend = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=accept, args=(backend,), daemon=True).start()
        self.port = free_port()
        self.patience = patience
        path = folder / "config.yaml"
        path.write_text(config.format(port=self.port, folder=folder, backend=backend.getsockname()[1]))
        self.said = open(folder / "stderr", "w+", encoding="utf-8")
        self.process = subprocess.Popen([*command, "--config", str(path)], stdout=subprocess.DEVNULL, stderr=self.said)

    def __enter__(self) -> "Daemon":
        until = time.monotonic() + self.patience
        while time.monotonic() < until and self.process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return self
            except OSError:
                time.sleep(0.1)
        self.__exit__()
        self.said.seek(0)
        raise SystemExit(f"proxyd does not listen; it said:\n{self.said.read()}")

    def __exit__(self, *_: object) -> None:
        # It ends of itself, which is when profiles and counts are written.
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=self.patience)


def ask(port: int, messages: list[tuple[bytes, int]], connections: int) -> None:
    """Sends each message on all connections at once and checks each answer: its status and its bytes."""
    streams = [Stream(socket.create_connection(("127.0.0.1", port))) for _ in range(connections)]
    for message, size in messages:
        for stream in streams:
            stream.connection.sendall(message)
        for stream in streams:
            head = stream.head()
            body = stream.body(head)
            if b" 200 " not in head or len(body) != size:
                raise SystemExit(f"a wrong answer: {head.decode(errors='replace')}")
    for stream in streams:
        stream.connection.close()
