"""The traffic by which packaging/build-pgo lets proxyd learn what is hot.

Usage: pgo-traffic.py PROXYD FOLDER

Starts a small backend and PROXYD in FOLDER, sends a bounded mixture of requests over keep-alive connections on
127.0.0.1, and stops both. Fails when an answer is not the one expected.
"""

import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time

CONNECTIONS = 16
ROUNDS = 400

CONFIG = """
server: {{listen: 127.0.0.1:{port}, workers: 1, state_dir: {folder}/state}}
admin: {{listen: off, socket: {folder}/control.sock}}
log: {{access: {folder}/access.log}}
rate_limit: {{limits: [{{requests: 1000000000, per: 1m}}]}}
routes:
  - {{path: /plain, target: 'http://127.0.0.1:{backend}'}}
  - {{path: /api, cors: {{allow_origins: ['https://app.example']}}, security_headers: true,
     target: 'http://127.0.0.1:{backend}', rewrite: {{strip_prefix: /api, add_prefix: /plain}}}}
  - {{exact: /fixed, respond: {{body: 'ok'}}}}
"""

COMMON = (
    "Host: 127.0.0.1\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/140.0\r\n"
    "Accept: text/html,application/json\r\nAccept-Language: en-US,en;q=0.9\r\nAccept-Encoding: gzip, br\r\n"
    "Cache-Control: no-cache\r\nCookie: session=abcdefgh; theme=dark\r\n"
)


def free_port() -> int:
    """A port that nothing listens on just now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


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


MIXTURE = (
    [(request("GET", "/plain/1024"), 1024)] * 12
    + [(request("GET", "/api/1024?page=2", "Origin: https://app.example\r\n"), 1024)] * 6
    + [(request("GET", "/fixed"), 2)] * 2
    + [(request("POST", "/plain/100", "Content-Type: application/json\r\n", b"y" * 16384), 100)] * 2
    + [(request("GET", "/plain/chunked/4000"), 4000)] * 2
    + [(request("GET", "/plain/65536"), 65536)]
    + [
        (
            f"POST /plain/200 HTTP/1.1\r\n{COMMON}Transfer-Encoding: chunked\r\n\r\n".encode()
            + b"800\r\n" + b"z" * 2048 + b"\r\n0\r\n\r\n",
            200,
        )
    ]
)


def ask(port: int) -> None:
    """Sends the mixture, on all connections at once, round after round."""
    streams = [Stream(socket.create_connection(("127.0.0.1", port))) for _ in range(CONNECTIONS)]
    for number in range(ROUNDS):
        message, size = MIXTURE[number % len(MIXTURE)]
        for stream in streams:
            stream.connection.sendall(message)
        for stream in streams:
            head = stream.head()
            body = stream.body(head)
            if b" 200 " not in head or len(body) != size:
                raise SystemExit(f"pgo-traffic: a wrong answer: {head.decode(errors='replace')}")
    for stream in streams:
        stream.connection.close()


def main() -> None:
    """Starts, asks, stops."""
    proxyd, folder = sys.argv[1], pathlib.Path(sys.argv[2]).resolve()
    backend = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=accept, args=(backend,), daemon=True).start()
    port = free_port()
    config = folder / "pgo.yaml"
    config.write_text(CONFIG.format(port=port, folder=folder, backend=backend.getsockname()[1]))
    daemon = subprocess.Popen([proxyd, "--config", str(config)], stdout=subprocess.DEVNULL)
    try:
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                time.sleep(0.1)
        for _ in range(5):
            ask(port)
    finally:
        # It ends of itself, which is when it writes its profile.
        daemon.send_signal(signal.SIGTERM)
        if daemon.wait(timeout=30) != 0:
            raise SystemExit("pgo-traffic: proxyd did not end well")


if __name__ == "__main__":
    main()
