"""The traffic by which packaging/build-pgo lets proxyd learn what is hot.

Usage: pgo-traffic.py PROXYD FOLDER

Sends a bounded mixture of requests over keep-alive connections, and fails when an answer is not the one expected.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests" / "cost"))

from traffic import COMMON, Daemon, ask, request  # noqa: E402

CONNECTIONS = 16
ROUNDS = 2000

CONFIG = """
server: {{listen: 127.0.0.1:{port}, workers: 1, state_dir: {folder}/state}}
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


def main() -> None:
    """Starts, asks, stops."""
    proxyd, folder = sys.argv[1], pathlib.Path(sys.argv[2]).resolve()
    with Daemon([proxyd], folder / "run", CONFIG) as daemon:
        ask(daemon.port, [MIXTURE[number % len(MIXTURE)] for number in range(ROUNDS)], CONNECTIONS)
    if daemon.process.returncode != 0:
        raise SystemExit("pgo-traffic: proxyd did not end well")


if __name__ == "__main__":
    main()
