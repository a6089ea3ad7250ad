"""The origin that most checks talk to: tells as JSON what it saw of a request, and plays what real servers rarely do.

Written on bare streams, so that nothing is tidied up on either way.
"""

import asyncio
import gzip
import hashlib
import json
import queue
import threading
import time
import urllib.parse

MIB = 1024 * 1024
KEPT = 64 * 1024
TWICE = hashlib.shake_128(b"interop").digest(MIB) * 2
PAGES: dict[str, tuple[str, bytes]] = {}


def pieces(size: int):
    """So many bytes that differ from place to place, in pieces of up to a MiB."""
    turn = 0
    while size > 0:
        at = turn * 7919 % MIB
        piece = TWICE[at : at + min(size, MIB)]
        yield piece
        size -= len(piece)
        turn += 1


def digest(size: int) -> str:
    """The SHA-256 of those bytes."""
    hashed = hashlib.sha256()
    for piece in pieces(size):
        hashed.update(piece)
    return hashed.hexdigest()


class Call:
    """One request as it came."""

    def __init__(self, line: str, headers: list[tuple[str, str]]) -> None:
        self.method, self.target, self.version = line.split(" ")
        self.headers = headers
        split = urllib.parse.urlsplit(self.target)
        self.path = split.path
        self.query = dict(urllib.parse.parse_qsl(split.query))
        self.length = 0
        self.begins = b""
        self.hashed = hashlib.sha256()
        self.trailers: list[tuple[str, str]] = []

    def header(self, name: str) -> str | None:
        """The one value of a header."""
        return next((value for key, value in self.headers if key.lower() == name), None)

    def told(self) -> dict:
        """What the origin tells of it."""
        return {
            "method": self.method,
            "target": self.target,
            "version": self.version,
            "headers": self.headers,
            "length": self.length,
            "sha256": self.hashed.hexdigest(),
            "trailers": self.trailers,
            "chunked": self.header("transfer-encoding") == "chunked",
        }


def fields(text: bytes) -> list[tuple[str, str]]:
    """The lines of a head or a trailer section."""
    found = []
    for line in text.decode("latin-1").split("\r\n"):
        if line:
            name, _, value = line.partition(":")
            found.append((name, value.strip()))
    return found


class Origin:
    """Serves on a thread of its own until the process ends."""

    def __init__(self) -> None:
        self.reports: queue.Queue[bytes] = queue.Queue()
        self.port = 0
        started = threading.Event()
        threading.Thread(target=lambda: asyncio.run(self.serve(started)), daemon=True).start()
        started.wait(10)

    async def serve(self, started: threading.Event) -> None:
        server = await asyncio.start_server(self.connection, "127.0.0.1", 0, limit=MIB, backlog=1024)
        self.port = server.sockets[0].getsockname()[1]
        started.set()
        await server.serve_forever()

    async def connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                line, _, rest = head.partition(b"\r\n")
                call = Call(line.decode("latin-1"), fields(rest))
                if not await self.answer(call, reader, writer):
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def body(self, call: Call, reader: asyncio.StreamReader) -> None:
        """Reads a request's body and keeps its length and hash."""
        async for piece in self.body_pieces(call, reader):
            call.length += len(piece)
            call.begins += piece[: KEPT - len(call.begins)]
            call.hashed.update(piece)

    async def body_pieces(self, call: Call, reader: asyncio.StreamReader):
        if call.header("transfer-encoding") == "chunked":
            while True:
                size = int((await reader.readuntil(b"\r\n")).split(b";")[0], 16)
                if size == 0:
                    break
                left = size
                while left:
                    piece = await reader.read(min(left, MIB))
                    if not piece:
                        raise ConnectionError("the body ended early")
                    left -= len(piece)
                    yield piece
                await reader.readexactly(2)
            while (line := await reader.readuntil(b"\r\n")) != b"\r\n":
                call.trailers += fields(line)
            return
        left = int(call.header("content-length") or 0)
        while left:
            piece = await reader.read(min(left, MIB))
            if not piece:
                raise ConnectionError("the body ended early")
            left -= len(piece)
            yield piece

    async def answer(self, call: Call, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answers one request by its path; whether the connection goes on."""
        word, _, rest = call.path.strip("/").partition("/")
        if word == "early":
            # The answer long before the body's end; then the connection is closed.
            self.respond(writer, 403, b"no more\n", [("Connection", "close")])
            await writer.drain()
            return False
        if word == "duplex":
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            async for piece in self.body_pieces(call, reader):
                writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                await writer.drain()
            writer.write(b"0\r\n\r\n")
            await writer.drain()
            return True
        if word == "hold":
            # What is sent is not read for so long.
            await asyncio.sleep(float(rest))
        await self.body(call, reader)
        play = getattr(self, f"play_{word}", None)
        if play is None:
            self.respond(writer, 404, b"no such play\n")
        else:
            await play(call, rest, writer)
        await writer.drain()
        return True

    def respond(self, writer, status: int, body: bytes, lines: list[tuple[str, str]] | None = None, to_head=False) -> None:
        """A whole answer by length."""
        head = f"HTTP/1.1 {status} Fine\r\nContent-Length: {len(body)}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in lines or [])
        writer.write(head.encode("latin-1") + b"\r\n" + (b"" if to_head else body))

    async def play_echo(self, call: Call, _rest: str, writer) -> None:
        body = json.dumps(call.told()).encode()
        lines = [("Content-Type", "application/json"), ("X-Seen-Method", call.method), ("X-Mixed-Case", "Kept")]
        self.respond(writer, 200, body, lines, to_head=call.method == "HEAD")

    async def play_bytes(self, call: Call, rest: str, writer) -> None:
        size = int(rest)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n" % size)
        if call.method != "HEAD":
            for piece in pieces(size):
                writer.write(piece)
                await writer.drain()

    async def play_chunks(self, _call: Call, rest: str, writer) -> None:
        """By chunks of odd sizes, with an extension here and there."""
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        step = 1
        for piece in pieces(int(rest)):
            while piece:
                now, piece = piece[:step], piece[step:]
                writer.write(b"%X%s\r\n%s\r\n" % (len(now), b";a=b" if step % 2 else b"", now))
                step = step * 3 % 65521 + 1
            await writer.drain()
        writer.write(b"0\r\n\r\n")

    async def play_status(self, call: Call, rest: str, writer) -> None:
        status = int(rest)
        if status == 204:
            writer.write(b"HTTP/1.1 204 No Content\r\nX-Kept: yes\r\n\r\n")
        elif status == 304:
            writer.write(b'HTTP/1.1 304 Not Modified\r\nETag: "abc"\r\nContent-Length: 1234\r\n\r\n')
        else:
            self.respond(writer, status, b"status\n", to_head=call.method == "HEAD")

    async def play_gzip(self, _call: Call, rest: str, writer) -> None:
        body = gzip.compress(b"".join(pieces(int(rest))), 1)
        self.respond(writer, 200, body, [("Content-Encoding", "gzip"), ("X-Packed-Sha", hashlib.sha256(body).hexdigest())])

    async def play_trailers(self, _call: Call, _rest: str, writer) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, X-Last\r\n\r\n")
        writer.write(b"5\r\nhello\r\n0\r\nX-Sum: 42\r\nX-Last: yes\r\n\r\n")

    async def play_hints(self, _call: Call, _rest: str, writer) -> None:
        writer.write(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n")
        self.respond(writer, 200, b"after hints\n")

    async def play_close(self, _call: Call, rest: str, writer) -> None:
        """As HTTP/1.0 does: the end of the connection is the body's end."""
        writer.write(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n")
        for piece in pieces(int(rest)):
            writer.write(piece)
            await writer.drain()
        writer.close()

    async def play_events(self, call: Call, rest: str, writer) -> None:
        """An event every 100 ms, with the time at which it was sent."""
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n")
        writer.write(b"Transfer-Encoding: chunked\r\n\r\n")
        for number in range(int(rest)):
            event = f"id: {number}\ndata: {time.time()}\n\n".encode()
            writer.write(b"%x\r\n%s\r\n" % (len(event), event))
            await writer.drain()
            await asyncio.sleep(0.1)
        writer.write(b"0\r\n\r\n")

    async def play_hold(self, _call: Call, _rest: str, writer) -> None:
        self.respond(writer, 200, b"held\n")

    async def play_slow(self, call: Call, rest: str, writer) -> None:
        await asyncio.sleep(float(rest))
        self.respond(writer, 200, b"late\n")

    async def play_headers(self, _call: Call, rest: str, writer) -> None:
        """An answer with so many bytes of header lines."""
        lines = [(f"X-Line-{number}", "v" * 1000) for number in range(int(rest) // 1000)]
        self.respond(writer, 200, b"large head\n", lines)

    async def play_page(self, _call: Call, rest: str, writer) -> None:
        kind, body = PAGES[rest]
        self.respond(writer, 200, body, [("Content-Type", kind)])

    async def play_report(self, call: Call, _rest: str, writer) -> None:
        """Keeps what a browser's page tells."""
        self.reports.put(call.begins)
        self.respond(writer, 200, b"thanks\n")
