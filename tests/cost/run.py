"""What one request costs, in figures that do not depend on how busy the machine is, and whether that is within bounds.

Usage: run.py PROXYD [CASE]

Serves the same requests twice, few and many, under callgrind and under strace; the difference is what the requests took.
Prints one line a figure with pass or miss, and fails where one misses. Needs valgrind and strace.
"""

import base64
import hmac
import json
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

from traffic import Daemon, ask, request

CONNECTIONS = 16
FEW, MANY = 125, 750

COMMON = """
server: {{listen: 127.0.0.1:{port}, workers: 1, state_dir: {folder}/state}}
admin: {{listen: off, socket: {folder}/control.sock}}
routes: [{{path: /, target: 'http://127.0.0.1:{backend}'}}]
"""
PLAIN = COMMON + "log: {{access: off}}\naudit: {{requests: off}}\n"
EVERYTHING = (
    COMMON + "log: {{access: {folder}/access.log}}\nrate_limit: {{limits: [{{requests: 1000000000, per: 1m}}]}}\n"
)
SECRET = "a-secret-of-the-measurement-0123456789"
JWT = PLAIN + "identity: {{jwt: {{main: {{keys: {{secret: " + SECRET + "}}, issuer: issuer, audience: api}}}}}}\nauth: jwt.main\n"
API_KEY = PLAIN + "identity: {{api_key: on}}\nauth: api_key\n"


def jwt(_: pathlib.Path) -> str:
    """The header with a token as providers make them: the same in each request, so that its verdict is remembered."""
    now = int(time.time())
    claims = {"iss": "issuer", "aud": ["api"], "sub": "5f2c81d0-ada", "iat": now, "nbf": now, "exp": now + 36000, "jti": "t0"}
    claims |= {"email": "ada@example.com", "scope": "read write", "roles": ["admin", "user"]}

    def encoded(part: bytes) -> str:
        return base64.urlsafe_b64encode(part).rstrip(b"=").decode()

    message = ".".join(encoded(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims))
    return f"Authorization: Bearer {message}.{encoded(hmac.digest(SECRET.encode(), message.encode(), 'sha256'))}\r\n"


def api_key(folder: pathlib.Path) -> str:
    """The header with a key that proxyd is asked for."""
    with socket.socket(socket.AF_UNIX) as door:
        door.connect(str(folder / "control.sock"))
        door.sendall(b'{"v":1,"id":1,"command":"keys_create","args":{"name":"cost"}}\n')
        return f"X-API-Key: {json.loads(door.makefile().readline())['ok']['key']}\r\n"


# What a request may take, writer threads included.
BOUNDS = {
    "plain": (PLAIN, {"instructions": 23_500, "allocations": 8, "system calls": 4.5}),
    "everything": (EVERYTHING, {"instructions": 40_500, "allocations": 10, "system calls": 4.5}),
    # Those of plain and what `release-quick` took more (3,812 and 7,096), for the release build was not at hand.
    "jwt": (JWT, {"instructions": 28_000, "allocations": 9, "system calls": 4.5}),
    # Valgrind's processor has no instructions for SHA-256, which a key's text is looked up by.
    "api_key": (API_KEY, {"instructions": 31_500, "allocations": 9, "system calls": 4.5}),
}
CREDENTIALS: dict[str, Callable[[pathlib.Path], str]] = {JWT: jwt, API_KEY: api_key}


def serve(command: list[str], config: str, rounds: int, folder: pathlib.Path) -> None:
    """Lets proxyd, started by this command, serve so many rounds."""
    with Daemon(command, folder, config, patience=120) as daemon:
        credential = CREDENTIALS[config](folder) if config in CREDENTIALS else ""
        message = (request("GET", "/1024", credential), 1024)
        ask(daemon.port, [message] * rounds, CONNECTIONS)


def instructions_of(out: pathlib.Path) -> int:
    """All that callgrind counted."""
    totals = re.search(r"^(?:summary|totals): (\d+)", out.read_text(errors="replace"), re.MULTILINE)
    if not totals:
        raise SystemExit("callgrind wrote no totals")
    return int(totals.group(1))


def allocations_of(out: pathlib.Path) -> int:
    """The calls of the allocator among what callgrind counted."""
    allocator = {"malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc"}
    names: dict[str, str] = {}
    calls, called = 0, ""
    for line in out.read_text(errors="replace").splitlines():
        if line.startswith(("fn=", "cfn=")):
            number, _, name = line.partition("=")[2].partition(" ")
            if name:
                names[number] = name
            if line.startswith("cfn="):
                called = names.get(number, "")
        elif line.startswith("calls=") and called in allocator:
            calls += int(line[6:].split()[0])
    return calls


def system_calls_of(out: pathlib.Path) -> int:
    """The sum of strace's table."""
    rows = (line.split() for line in out.read_text().splitlines())
    return sum(int(row[0]) for row in rows if len(row) == 2 and row[0].isdigit() and row[1] != "total")


def callgrind(proxyd: str, config: str, rounds: int, folder: pathlib.Path) -> dict[str, int]:
    """User instructions and calls of the allocator, in all."""
    out = folder / "callgrind.out"
    tool = ["valgrind", "--quiet", "--tool=callgrind", f"--callgrind-out-file={out}", proxyd]
    serve(tool, config, rounds, folder)
    return {"instructions": instructions_of(out), "allocations": allocations_of(out)}


def strace(proxyd: str, config: str, rounds: int, folder: pathlib.Path) -> dict[str, int]:
    """System calls of all threads, in all."""
    out = folder / "strace.out"
    # With -D the process that is told to end is proxyd itself; the tracer writes its table behind it.
    serve(["strace", "-D", "-f", "-c", "-U", "calls,name", "-o", str(out), proxyd], config, rounds, folder)
    until = time.monotonic() + 10
    while "total" not in out.read_text() and time.monotonic() < until:
        time.sleep(0.05)
    return {"system calls": system_calls_of(out)}


def measure(proxyd: str, config: str) -> dict[str, float]:
    """What one request takes."""
    found: dict[str, float] = {}
    for tool in (callgrind, strace):
        counts = []
        for rounds in (FEW, MANY):
            with tempfile.TemporaryDirectory(prefix="proxyd-cost-") as folder:
                counts.append(tool(proxyd, config, rounds, pathlib.Path(folder)))
        for figure, few in counts[0].items():
            found[figure] = (counts[1][figure] - few) / ((MANY - FEW) * CONNECTIONS)
    return found


def main() -> None:
    """Measures, prints, judges."""
    proxyd, only = sys.argv[1], sys.argv[2:]
    missed = False
    for case, (config, bounds) in BOUNDS.items():
        if only and case not in only:
            continue
        for figure, value in measure(proxyd, config).items():
            bound = bounds[figure]
            verdict = "pass" if value <= bound else "MISS"
            missed |= value > bound
            print(f"{case:12} {figure:14} {value:10.2f} of at most {bound:8.1f}  {verdict}", flush=True)
    if missed:
        sys.exit(1)


if __name__ == "__main__":
    subprocess.run(["valgrind", "--version"], check=True, stdout=subprocess.DEVNULL)
    main()
