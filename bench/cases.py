"""What is measured: the requests of each case, what their answers must be, and who takes part.

A new case is one entry of CASES.
"""

import dataclasses
import pathlib

from peers import Setup, route_path

ROOT = pathlib.Path(__file__).resolve().parent.parent
WORK = ROOT / "target/bench"

# Header lines such as a browser or another service sends.
HEADERS = (
    "Host: api.example.com\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n"
    "Accept: application/json, text/plain;q=0.9, */*;q=0.8\r\nAccept-Language: en-US,en;q=0.9,de;q=0.8\r\n"
    "Accept-Encoding: gzip, deflate, br\r\nCookie: session=6f1c2a9be07d4c53; theme=dark\r\n"
)
POSTED = bytes(97 + at % 26 for at in range(16384))


def get(path: str, extra: str = "") -> bytes:
    return f"GET {path} HTTP/1.1\r\n{HEADERS}{extra}\r\n".encode()


def post_by_length() -> bytes:
    return (
        f"POST /upload HTTP/1.1\r\n{HEADERS}Content-Type: application/octet-stream\r\nContent-Length: {len(POSTED)}\r\n\r\n".encode()
        + POSTED
    )


def post_by_chunks() -> bytes:
    pieces = (POSTED[at : at + 2048] for at in range(0, len(POSTED), 2048))
    body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    head = f"POST /chunked HTTP/1.1\r\n{HEADERS}Content-Type: application/octet-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head.encode() + body


@dataclasses.dataclass(frozen=True)
class Entrant:
    """One line of a case's table: a proxy in one of its forms."""

    label: str
    peer: str
    setup: Setup
    messages: tuple[bytes, ...] | None = None  # its own requests, where they differ from the case's


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    title: str
    entrants: tuple[Entrant, ...]
    messages: tuple[bytes, ...] = (get("/1k"),)
    expect: int = 1024  # body bytes of an answer
    sends: int = 0  # body bytes of a request
    connections: int = 64
    sources: int = 0
    close: bool = False
    note: str = ""


def field(setup: Setup, *peers: str) -> tuple[Entrant, ...]:
    """The same setup for each of these."""
    return tuple(Entrant(peer, peer, setup) for peer in peers)


ALL = ("proxyd", "nginx", "haproxy", "pingora", "envoy", "caddy")
CLOSEST = ("proxyd", "nginx", "haproxy")
PLAIN, GATEWAY = Setup(), Setup(gateway=True)
LINE = Entrant("nginx-line", "nginx", Setup(gateway=True, line_by_line=True))
GATEWAYS = (*field(GATEWAY, *CLOSEST), LINE, *field(GATEWAY, *ALL[3:]))


def routed(peer: str, count: int) -> Entrant:
    """A proxy with so many routes, asked for a thousand of them in turn."""
    step = max(1, count // 1000)
    paths = [route_path(number, count) + "/items/17" for number in range(0, count, step)]
    return Entrant(f"{peer} {count:,}", peer, Setup(routes=count), tuple(get(path) for path in paths))


CASES = (
    Case("plain", "1 KiB answers, 64 keep-alive connections", field(PLAIN, *ALL)),
    Case(
        "gateway",
        "limit by address, request id, access log; proxyd also metrics and the audit of every request",
        GATEWAYS,
        note="Envoy's limit is one for all clients; Caddy has none of its own. nginx-line writes each log line by itself.",
    ),
    Case("body-64k", "64 KiB answers", field(PLAIN, *ALL), (get("/64k"),), 65536),
    Case("body-1m", "1 MiB answers, 16 connections", field(PLAIN, *CLOSEST), (get("/1m"),), 1048576, connections=16),
    Case("post-16k", "16 KiB request bodies by length", field(PLAIN, *CLOSEST), (post_by_length(),), sends=16384),
    Case("chunked", "16 KiB by chunks, both ways", field(PLAIN, *CLOSEST), (post_by_chunks(),), 16384, sends=16384),
    Case(
        "new-connection",
        "a new connection for each request",
        field(PLAIN, *CLOSEST),
        (get("/1k", "Connection: close\r\n"),),
        close=True,
        sources=64,
    ),
    Case(
        "clients-1000",
        "gateway, 1,000 clients of as many addresses",
        field(GATEWAY, *CLOSEST),
        connections=1000,
        sources=1000,
    ),
    Case(
        "routes",
        "10, 1,000 and 100,000 routes by prefix, a thousand paths in turn",
        (
            *(routed("proxyd", count) for count in (10, 1000, 100_000)),
            *(routed("haproxy", count) for count in (10, 100_000)),
            *(routed("nginx", count) for count in (10, 1000)),
        ),
        note="HAProxy looks the prefix up in a map for one backend; nginx has a location for each.",
    ),
)
