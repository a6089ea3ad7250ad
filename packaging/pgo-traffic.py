"""The traffic by which packaging/build-pgo lets proxyd learn what is hot.

Usage: pgo-traffic.py PROXYD FOLDER

Sends a bounded mixture of requests over keep-alive connections, and fails when an answer is not the one expected.
"""

import pathlib
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests" / "cost"))

from traffic import COMMON, Daemon, ask, free_port, request  # noqa: E402

CONNECTIONS = 16
ROUNDS = 2000
HTTP2_REQUESTS = 20_000

CONFIG = """
server:
  listen:
    - 127.0.0.1:{port}
    - {{address: 127.0.0.1:SECURE, tls: {{certificates: [{{cert: cert.pem, key: key.pem}}]}}}}
  workers: 1
  state_dir: {folder}/state
admin: {{listen: off, socket: {folder}/control.sock}}
log: {{access: {folder}/access.log}}
rate_limit: {{limits: [{{requests: 1000000000, per: 1m}}]}}
routes:
  - {{path: /plain, target: 'http://127.0.0.1:{backend}'}}
  - {{path: /api, cors: {{allow_origins: ['https://app.example']}}, security_headers: on,
     target: 'http://127.0.0.1:{backend}', rewrite: {{strip_prefix: /api, add_prefix: /plain}}}}
  - {{exact: /fixed, respond: {{body: 'ok'}}}}
"""

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


def certificate(folder: pathlib.Path) -> None:
    """A certificate of ECDSA P-256, as most sites have."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"]
        + ["-subj", "/CN=localhost", "-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")],
        check=True,
        capture_output=True,
    )


def ask_http2(port: int) -> None:
    """HTTP/2 over TLS, where there is a client that can send much of it."""
    if shutil.which("h2load") is None:
        print("pgo-traffic: without h2load (Debian: nghttp2-client) HTTP/2 is not part of the profile")
        return
    command = ["h2load", "-c", "8", "-m", "8", "-t", "1", "-n", str(HTTP2_REQUESTS), "-H", "accept: */*"]
    run = subprocess.run([*command, f"https://127.0.0.1:{port}/plain/1024"], capture_output=True, text=True, timeout=300)
    if f"{HTTP2_REQUESTS} succeeded" not in run.stdout:
        raise SystemExit(f"pgo-traffic: {run.stdout[-400:]}")


def main() -> None:
    """Starts, asks, stops."""
    proxyd, folder = sys.argv[1], pathlib.Path(sys.argv[2]).resolve()
    secure = free_port()
    (folder / "run").mkdir(parents=True, exist_ok=True)
    certificate(folder / "run")
    with Daemon([proxyd], folder / "run", CONFIG.replace("SECURE", str(secure))) as daemon:
        ask(daemon.port, [MIXTURE[number % len(MIXTURE)] for number in range(ROUNDS)], CONNECTIONS)
        ask_http2(secure)
    if daemon.process.returncode != 0:
        raise SystemExit("pgo-traffic: proxyd did not end well")


if __name__ == "__main__":
    main()
