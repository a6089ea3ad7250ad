"""Five endpoints in one process that do well or badly as they are told, and note all that reaches them.

Usage: endpoints.py JOURNAL PORT…

Reads lines of JSON: `{"endpoint": 0, "mode": "well", "lies": false}`; one that lies tells its probes that it is well. Writes lines
of JSON to the journal: what reached which endpoint when, and what became of it. Times are seconds since the epoch.
"""

import asyncio
import json
import random
import socket
import struct
import sys
import time

from backend import body, frames
from pattern import pieces

# So many connections may wait to be accepted.
BACKLOG, BACKLOG_FROZEN = 512, 4
# What stalls does so for longer than anybody waits.
STALL_S = 20
DRIPS, DRIP_S = 8, 0.1


class Journal:
    """Lines of JSON, gathered."""

    def __init__(self, path: str) -> None:
        self.file = open(path, "w", encoding="utf-8")

    def tell(self, endpoint: int, what: str, **facts: object) -> None:
        self.file.write(json.dumps({"at": time.time(), "endpoint": endpoint, "what": what, **facts}) + "\n")


class Endpoint:
    """One of them."""

    def __init__(self, number: int, port: int, journal: Journal) -> None:
        self.number = number
        self.port = port
        self.journal = journal
        self.mode = "well"
        self.lies = False
        self.thawed = asyncio.Event()
        self.thawed.set()
        self.door: socket.socket | None = None
        self.accepting: asyncio.Task | None = None
        self.writers: set[asyncio.StreamWriter] = set()
        self.tasks: set[asyncio.Task] = set()

    async def listen(self) -> None:
        """Opens its door; somebody else may be trying the port just now."""
        door = socket.socket()
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        door.setblocking(False)
        for left in reversed(range(100)):
            try:
                door.bind(("127.0.0.1", self.port))
                break
            except OSError:
                if not left:
                    raise
                await asyncio.sleep(0.02)
        door.listen(BACKLOG)
        self.door = door
        self.accepting = asyncio.create_task(self.accept(door))

    async def accept(self, door: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self.thawed.wait()
            connection, _ = await loop.sock_accept(door)
            # It may have frozen while it waited: then it has not accepted anything yet.
            await self.thawed.wait()
            reader, writer = await asyncio.open_connection(sock=connection, limit=1 << 20)
            task = asyncio.create_task(self.serve(reader, writer))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def turn(self, mode: str, lies: bool) -> None:
        """Does so from now on."""
        was_dead, self.mode, self.lies = self.mode == "dead", mode, lies
        self.journal.tell(self.number, "mode", mode=mode, lies=lies)
        if mode == "dead":
            for task in {self.accepting, *self.tasks}:
                task.cancel()
            for writer in self.writers:
                writer.transport.abort()
            self.thawed.set()
            await asyncio.gather(self.accepting, return_exceptions=True)
            self.door.close()
            return
        if was_dead:
            await self.listen()
        # Few wait in vain behind a door that nobody opens; then connecting itself takes too long.
        self.door.listen(BACKLOG_FROZEN if mode == "frozen" else BACKLOG)
        if mode == "frozen":
            self.thawed.clear()
        else:
            self.thawed.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serves one connection."""
        self.writers.add(writer)
        now: dict[str, str] = {}
        try:
            while True:
                lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                await self.thawed.wait()
                head = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
                method, target, _ = lines[0].split(" ")
                if target == "/health":
                    did = await self.probed(writer)
                else:
                    now = {"id": head.get("x-request-id", "")}
                    self.journal.tell(self.number, "head", **now, method=method, key="idempotency-key" in head)
                    did = await self.answer(method, target, head, reader, writer, now)
                    self.journal.tell(self.number, "done", **now, did=did)
                    now = {}
                if did in ("reset", "garbage", "socket"):
                    break
                await writer.drain()
                if did.endswith(" early"):
                    break
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError) as fault:
            if now:
                why = "killed" if self.mode == "dead" else type(fault).__name__
                self.journal.tell(self.number, "done", **now, did=f"broke off: {why}")
        finally:
            self.writers.discard(writer)
            if self.mode == "dead":
                writer.transport.abort()
            writer.close()

    async def probed(self, writer: asyncio.StreamWriter) -> str:
        """Answers a probe: as all else, or with a lie."""
        mode = "well" if self.lies and self.mode != "dead" else self.mode
        return await self.bad(mode, writer) or self.whole(writer, b"well")

    async def answer(self, method: str, target: str, head: dict, reader, writer, now: dict) -> str:
        """Answers one request, after all of it came as a rule; what it did."""
        if self.mode in ("reset", "busy", "broken") and method == "POST" and random.random() < 0.3:
            return f"{await self.bad(self.mode, writer)} early"
        length, value = await body(head, reader)
        await self.thawed.wait()
        self.journal.tell(self.number, "read", **now, mode=self.mode)
        within = self.mode == "reset" and method == "GET" and random.random() < 0.4
        if not within and (did := await self.bad(self.mode, writer)):
            return did
        _, word, argument = target.split("?")[0].split("/", 2)
        if word == "socket":
            lines = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: chaos\r\n"
            writer.write(b"HTTP/1.1 101 Switching Protocols\r\nX-Endpoint: %d\r\n%s\r\n" % (self.number, lines))
            self.journal.tell(self.number, "began", **now)
            await frames(reader, writer)
            return "socket"
        if word == "echo":
            return self.whole(writer, json.dumps({"length": length, "sum": value}).encode())
        size = int(argument)
        writer.write(self.head(b"200 OK", size))
        self.journal.tell(self.number, "began", **now)
        if method == "HEAD":
            return "200"
        sent = 0
        for piece in pieces(size) if word == "bytes" else drips(size):
            if within and sent + len(piece) >= size / 2:
                writer.write(piece[: len(piece) // 2])
                await writer.drain()
                return self.reset(writer)
            writer.write(piece)
            sent += len(piece)
            await writer.drain()
            if word == "drip":
                await asyncio.sleep(DRIP_S)
                await self.thawed.wait()
        return "200"

    async def bad(self, mode: str, writer: asyncio.StreamWriter) -> str:
        """Does badly; nothing where it does well after all."""
        if mode == "slow":
            await asyncio.sleep(random.uniform(0.3, 3))
            await self.thawed.wait()
        elif mode == "stalled":
            await asyncio.sleep(STALL_S)
            return self.reset(writer)
        elif mode == "reset":
            return self.reset(writer)
        elif mode == "garbage":
            writer.write(random.choice([b"HTTP/1.1 abc\r\nthis is no answer\r\n\r\n", random.randbytes(300), b"220 mail ready\r\n"]))
            await writer.drain()
            return "garbage"
        elif mode == "busy":
            after = random.choice([b"0", b"1", b"3", b"Wed, 21 Oct 2015 07:28:00 GMT"])
            writer.write(self.head(b"503 Busy\r\nRetry-After: " + after, 4) + b"busy")
            return "503"
        elif mode == "broken":
            writer.write(self.head(b"500 Broken", 6) + b"broken")
            return "500"
        return ""

    def head(self, status: bytes, size: int) -> bytes:
        return b"HTTP/1.1 %s\r\nX-Endpoint: %d\r\nContent-Length: %d\r\n\r\n" % (status, self.number, size)

    def whole(self, writer: asyncio.StreamWriter, answer: bytes) -> str:
        writer.write(self.head(b"200 OK", len(answer)) + answer)
        return "200"

    def reset(self, writer: asyncio.StreamWriter) -> str:
        """Ends the connection with RST."""
        raw = writer.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
        return "reset"


def drips(size: int):
    """A body in a few pieces."""
    whole = b"".join(pieces(size))
    step = max(1, size // DRIPS)
    for at in range(0, size, step):
        yield whole[at : at + step]


async def main() -> None:
    """Does as it is told until its input ends."""
    journal = Journal(sys.argv[1])
    endpoints = [Endpoint(number, int(port), journal) for number, port in enumerate(sys.argv[2:])]
    for endpoint in endpoints:
        await endpoint.listen()
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        told = json.loads(line)
        await endpoints[told["endpoint"]].turn(told["mode"], told["lies"])
    journal.file.flush()


if __name__ == "__main__":
    asyncio.run(main())
