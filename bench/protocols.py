"""HTTP/2 over TLS beside others, and what an idle connection of each kind holds."""

import asyncio
import contextlib
import dataclasses
import pathlib
import re
import resource
import shutil
import ssl
import statistics
import subprocess
import sys
import time

import machine
import rig
import rounds
from cases import CLOSEST, PLAIN, WORK, Entrant, field
from peers import Place, Running, free_port

TLS = dataclasses.replace(PLAIN, tls=True)
TUNNELS = dataclasses.replace(PLAIN, tunnels=True)
HTTP2_PEERS = CLOSEST
IDLE_PEERS = ("proxyd", "nginx")
COUNTS = {"keep-alive": 10_000, "TLS": 1_000, "WebSocket": 1_000}
SAID = re.compile(r"finished in [\d.]+m?s, ([\d.]+) req/s.*?(\d+) succeeded, (\d+) failed", re.DOTALL)


def _certificate() -> None:
    """A certificate of ECDSA P-256, for all alike."""
    if not (WORK / "both.pem").exists():
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "365"]
            + ["-subj", "/CN=localhost", "-keyout", str(WORK / "key.pem"), "-out", str(WORK / "cert.pem")],
            check=True,
            capture_output=True,
        )
        (WORK / "both.pem").write_text((WORK / "cert.pem").read_text() + (WORK / "key.pem").read_text())


@contextlib.contextmanager
def _started(entrant: Entrant, backend: int):
    """The proxy, with the certificate in its folder."""
    folder = rounds.fresh_folder(entrant.label)
    for name in ("cert.pem", "key.pem", "both.pem"):
        shutil.copy(WORK / name, folder / name)
    place = Place(free_port(), backend, folder)
    with Running(entrant.label, rounds.PEERS[entrant.peer].launch(entrant.setup, place), place) as proxy:
        yield proxy


def _h2load(proxy: Running, seconds: float) -> tuple[float, int, str]:
    """Requests a second, how many were answered, and what went wrong."""
    if shutil.which("h2load") is None:
        raise SystemExit("bench: missing: h2load; on Debian: sudo apt-get install nghttp2-client")
    command = ["h2load", "-c", "8", "-m", "8", "-t", "1", "-D", str(max(1, round(seconds)))]
    run = subprocess.run(
        machine.pinned((machine.LOAD_CORE,), [*command, f"https://127.0.0.1:{proxy.port}/1k"]),
        capture_output=True,
        text=True,
        timeout=seconds + 60,
    )
    said = SAID.search(run.stdout)
    if said is None:
        return 0, 0, (run.stdout + run.stderr)[-300:]
    failed = int(said.group(3))
    return float(said.group(1)), int(said.group(2)), f"{failed} requests failed" if failed else ""


def http2(wish) -> dict:
    """CPU time a request over HTTP/2 and TLS, in interleaved rounds."""
    _certificate()
    entrants = [entrant for entrant in field(TLS, *HTTP2_PEERS) if entrant.peer in wish.peers]
    samples: dict[str, list[tuple[float, float, float]]] = {entrant.label: [] for entrant in entrants}
    complaints: dict[str, list[str]] = {entrant.label: [] for entrant in entrants}
    for number in range(wish.plan.rounds):
        for entrant in entrants[number % len(entrants) :] + entrants[: number % len(entrants)]:
            with rig.Backend() as backend, _started(entrant, backend.port) as proxy:
                _h2load(proxy, 1)
                cores, before = machine.busy_seconds(), sum(proxy.processor())
                began = time.monotonic()
                rate, served, wrong = _h2load(proxy, wish.plan.seconds)
                took = time.monotonic() - began
                spent = sum(proxy.processor()) - before
                # What else ran on the proxy's core.
                foreign = max(0.0, machine.busy_seconds()[machine.PROXY_CORE] - cores[machine.PROXY_CORE] - spent) / took
                if wrong or not served:
                    complaints[entrant.label].append(wrong or "nothing was answered")
                else:
                    samples[entrant.label].append((foreign, spent / served * 1e6, rate))
    found = {}
    for label, taken in samples.items():
        taken.sort()
        used = [sample for sample in taken if sample[0] <= rounds.DIRTY] or taken[: max(1, len(taken) // 2)]
        found[label] = {
            "us": statistics.median(sample[1] for sample in used) if used else 0.0,
            "rate": statistics.median(sample[2] for sample in used) if used else 0.0,
            "settled": bool(used) and all(sample[0] <= rounds.DIRTY for sample in used),
            "complaints": complaints[label],
        }
    reference = found.get("haproxy", {}).get("us") or float("nan")
    for label, entrant in found.items():
        entrant["ratio"] = entrant["us"] / reference
        print(f"  {label:10} {entrant['us']:6.1f} us a request, {entrant['ratio']:.2f} of haproxy", flush=True)
    return {"entrants": found}


def idle(wish) -> dict:
    """What one idle connection of each kind adds to resident memory."""
    _certificate()
    counts = {kind: count // 10 if wish.quick else count for kind, count in COUNTS.items()}
    setups = {"keep-alive": PLAIN, "TLS": TLS, "WebSocket": TUNNELS}
    found: dict = {}
    for peer in IDLE_PEERS:
        if peer not in wish.peers:
            continue
        found[peer] = {"complaints": []}
        for kind, count in counts.items():
            with _echoes() as backend, _started(Entrant(peer, peer, setups[kind]), backend) as proxy:
                _hold(proxy, kind, 10)  # what is set up once is not what a connection costs
                before = proxy.memory()
                held, memory = _hold(proxy, kind, count)
                found[peer][kind] = (memory - before) / max(1, held)
                if held != count:
                    found[peer]["complaints"].append(f"{kind}: {held} of {count} connections were made")
        figures = ", ".join(f"{kind} {found[peer][kind] / 1024:.1f} KiB" for kind in counts)
        print(f"  {peer:10} {figures}", flush=True)
    return {"counts": counts, "entrants": found}


@contextlib.contextmanager
def _echoes():
    """A backend that answers requests and takes WebSockets, in a process of its own."""
    port = free_port()
    program = [sys.executable, str(pathlib.Path(__file__).resolve()), str(port)]
    process = subprocess.Popen(machine.pinned((machine.LOAD_CORE,), program))
    try:
        machine.wait_for(lambda: _answers(port), 10, "the backend did not listen")
        yield port
    finally:
        process.terminate()
        process.wait()


def _answers(port: int) -> bool:
    import socket

    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def _hold(proxy: Running, kind: str, count: int) -> tuple[int, int]:
    """Makes so many connections, each with one answer, and looks at the proxy's memory while they are idle."""
    return asyncio.run(_holding(proxy, kind, count))


async def _holding(proxy: Running, kind: str, count: int) -> tuple[int, int]:
    secure = None
    if kind == "TLS":
        secure = ssl.create_default_context()
        secure.check_hostname, secure.verify_mode = False, ssl.CERT_NONE
    request = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
    if kind == "WebSocket":
        request = request[:-2] + (
            b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
    turns = asyncio.Semaphore(50)
    writers = []

    async def one() -> None:
        async with turns:
            with contextlib.suppress(OSError, EOFError, asyncio.IncompleteReadError):
                reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port, ssl=secure)
                writer.write(request)
                await reader.readuntil(b"\r\n\r\n")
                if kind != "WebSocket":
                    await reader.readexactly(2)
                writers.append(writer)

    await asyncio.gather(*(one() for _ in range(count)))
    await asyncio.sleep(1)  # a moment in which buffers may be given back
    memory = proxy.memory()
    for writer in writers:
        writer.transport.abort()
    return len(writers), memory


async def _serve(port: int) -> None:
    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, EOFError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                if b"\r\nupgrade: websocket" in head:
                    writer.write(
                        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
                    )
                    await reader.read()
                    break
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        writer.close()

    server = await asyncio.start_server(client, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, soft))
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(int(sys.argv[1])))
