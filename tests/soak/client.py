"""The client's side of the wire: connections, requests, whole answers, WebSocket frames; and the numbers of requests."""

import asyncio
import collections
import secrets
import time
import zlib

LONGEST_S = 60
# The daemon lets a connection wait for 20 s; one that is reused after a shorter time must work.
IDLE_S = 10


class Cut(Exception):
    """The connection ended before the answer did."""


class Numbers:
    """Each request has a number, which is its id too; and a state, so that the record can be compared at the end."""

    SENT, COMPLETED, LEFT = 1, 2, 3

    def __init__(self) -> None:
        self.run = secrets.token_hex(4)
        self.states = bytearray(1)

    def next(self) -> int:
        """A number for a request that is about to be sent."""
        self.states.append(self.SENT)
        return len(self.states) - 1

    def id(self, number: int) -> str:
        """Its X-Request-ID."""
        return f"{self.run}{number:024x}"


class Answer:
    """An answer, whole."""

    def __init__(self, status: int, head: dict[str, str], length: int, checksum: int, begins: bytes) -> None:
        self.status = status
        self.head = head
        self.length = length
        self.checksum = checksum
        self.begins = begins


class Wire:
    """A connection to the daemon."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.used = time.monotonic()

    @classmethod
    async def open(cls, port: int) -> "Wire":
        return cls(*await asyncio.open_connection("127.0.0.1", port, limit=1 << 18))

    def close(self) -> None:
        self.writer.close()

    def abort(self) -> None:
        """Leaves without a word."""
        self.writer.transport.abort()

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def head(self) -> tuple[int, dict[str, str]]:
        """The next answer's status and lines."""
        try:
            text = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except asyncio.IncompleteReadError as end:
            raise Cut(f"no head, {len(end.partial)} bytes of one") from end
        lines = text.split("\r\n")
        pairs = (line.partition(":") for line in lines[1:] if line)
        return int(lines[0].split(" ")[1]), {name.lower(): value.strip() for name, _, value in pairs}

    async def answer(self, method: str = "GET", pause: float = 0) -> Answer:
        """The next answer; a slow reader pauses between pieces."""
        status, head = await self.head()
        length = value = 0
        begins = b""
        async for piece in self.pieces(method, status, head):
            length, value = length + len(piece), zlib.crc32(piece, value)
            begins += piece[: 256 - len(begins)]
            if pause:
                await asyncio.sleep(pause)
        self.used = time.monotonic()
        return Answer(status, head, length, value, begins)

    async def pieces(self, method: str, status: int, head: dict[str, str]):
        if method == "HEAD" or status in (204, 304):
            return
        try:
            if head.get("transfer-encoding") == "chunked":
                while size := int(await self.reader.readuntil(b"\r\n"), 16):
                    yield (await self.reader.readexactly(size + 2))[:-2]
                await self.reader.readexactly(2)
                return
        except asyncio.IncompleteReadError as end:
            raise Cut("within a chunked body") from end
        left = int(head["content-length"])
        while left:
            piece = await self.reader.read(min(left, 65536))
            if not piece:
                raise Cut(f"{left} bytes are missing")
            left -= len(piece)
            yield piece

    async def frame(self, payload: bytes) -> bytes:
        """Sends a masked frame and takes the one that comes back."""
        mask = secrets.token_bytes(4)
        sized = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2, "big")
        masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
        await self.send(b"\x82" + sized + mask + masked)
        _, length = await self.reader.readexactly(2)
        if length == 126:
            length = int.from_bytes(await self.reader.readexactly(2), "big")
        return await self.reader.readexactly(length)


class Client:
    """Connections that are kept, and requests with numbers."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.numbers = Numbers()
        self.kept: collections.deque[Wire] = collections.deque()

    async def wire(self) -> Wire:
        """A kept connection, or a new one."""
        while self.kept:
            wire = self.kept.pop()
            if time.monotonic() - wire.used < IDLE_S:
                return wire
            wire.close()
        return await Wire.open(self.port)

    def keep(self, wire: Wire, answer: Answer) -> None:
        """Keeps a connection that goes on; those unused longest are closed."""
        if answer.head.get("connection") == "close":
            wire.close()
            return
        self.kept.append(wire)
        while self.kept and time.monotonic() - self.kept[0].used > IDLE_S:
            self.kept.popleft().close()

    def request(self, method: str, path: str, *lines: str) -> tuple[int, bytes]:
        """A request's number and its head."""
        number = self.numbers.next()
        own = [f"{method} {path} HTTP/1.1", "Host: soak.test", f"X-Request-ID: {self.numbers.id(number)}", *lines]
        return number, ("\r\n".join(own) + "\r\n\r\n").encode()

    def completed(self, *numbers: int) -> None:
        for number in numbers:
            self.numbers.states[number] = Numbers.COMPLETED

    def left(self, number: int) -> None:
        self.numbers.states[number] = Numbers.LEFT

    async def ask(self, method: str, path: str, *lines: str, body: bytes = b"", keeps: bool = True) -> Answer:
        """One request and its whole answer."""
        wire = await self.wire() if keeps else await Wire.open(self.port)
        number, head = self.request(method, path, *lines, *([] if keeps else ["Connection: close"]))
        try:
            await wire.send(head + body)
            answer = await wire.answer(method)
        except BaseException:
            wire.abort()
            raise
        self.completed(number)
        if keeps:
            self.keep(wire, answer)
        else:
            wire.close()
        return answer
