"""The load: what clients ask for, and all that is known of each request afterwards."""

import asyncio
import dataclasses
import json
import random
import time
import zlib

from client import Client, Cut, Wire
from pattern import BLOCK, checksum

# Longer than the daemon takes for anything.
LONGEST_S = 30
MOST_AT_ONCE = 400
TICK_S = 0.02
# Bodies beyond this are not kept by the daemon (`retry.body`).
KEPT = 16 * 1024
STICKY = 12


@dataclasses.dataclass
class Asked:
    """A request, and what came of it."""

    id: str
    kind: str
    method: str
    began: float
    # May be sent twice: by its method, or since it has a key.
    safe: bool
    # Its body is small enough to be sent again.
    kept: bool = True
    client: int = -1
    ended: float = 0.0
    status: int = 0
    # The endpoint that answered, as it says itself.
    endpoint: int = -1
    # The code of an error that the daemon answers.
    code: str = ""
    # What its connection carried before.
    before: str = ""
    # Why there was no whole and right answer.
    broken: str = ""
    left: bool = False

    @property
    def failed(self) -> bool:
        return not self.left and (self.status >= 500 or bool(self.broken))


# Kind: its share in percent, its method, and whether it has a key.
KINDS: dict[str, tuple[float, str, bool]] = {
    "get": (37, "GET", False),
    "get large": (7, "GET", False),
    "get drip": (4, "GET", False),
    "head": (3, "HEAD", False),
    "put": (5, "PUT", False),
    "delete": (2, "DELETE", False),
    "post": (12, "POST", False),
    "post key": (7, "POST", True),
    "post chunked key": (3, "POST", True),
    "post slow key": (3, "POST", True),
    "post expect key": (2, "POST", True),
    "post large": (2, "POST", False),
    "post large key": (2, "POST", True),
    "sticky": (8, "GET", False),
    "socket": (2, "GET", False),
    "leaves": (1, "GET", False),
}


class Load:
    """Sends requests at a steady rate until told to stop."""

    def __init__(self, port: int, rate: float, rng: random.Random) -> None:
        self.client = Client(port)
        self.rate = rate
        self.rng = rng
        self.asked: list[Asked] = []
        self.cookies: list[str] = [""] * STICKY
        self.busy_sticky: set[int] = set()
        self.stopping = asyncio.Event()
        self.held_back = 0

    async def run(self) -> None:
        names, shares = list(KINDS), [share for share, _, _ in KINDS.values()]
        running: set[asyncio.Task] = set()
        started, sent = time.monotonic(), 0
        while not self.stopping.is_set():
            due = int((time.monotonic() - started) * self.rate) - sent
            sent += due
            for kind in self.rng.choices(names, shares, k=due):
                if len(running) >= MOST_AT_ONCE:
                    self.held_back += 1
                    continue
                task = asyncio.create_task(self.one(kind))
                running.add(task)
                task.add_done_callback(running.discard)
            await asyncio.sleep(TICK_S)
        if running:
            await asyncio.wait(running, timeout=LONGEST_S + 5)
        while self.client.kept:
            self.client.kept.pop().close()

    async def one(self, kind: str) -> None:
        """One request of this kind, whatever comes of it."""
        _, method, key = KINDS[kind]
        number = self.client.numbers.next()
        asked = Asked(self.client.numbers.id(number), kind, method, time.time(), key or method != "POST")
        self.asked.append(asked)
        wire = None
        try:
            # A tunnel has one connection for itself.
            wire = await (Wire.open(self.client.port) if kind in ("socket", "leaves") else self.client.wire())
            asked.began = time.time()
            await asyncio.wait_for(self.play(asked, wire, key), LONGEST_S)
        except TimeoutError:
            asked.broken = f"nothing within {LONGEST_S} s"
        except Cut as cut:
            asked.broken = str(cut)
        except (OSError, EOFError, ValueError, KeyError) as fault:
            asked.broken = repr(fault)
        finally:
            asked.ended = time.time()
            self.busy_sticky.discard(asked.client)
            if wire and (asked.broken or kind in ("socket", "leaves")):
                wire.abort()

    def request(self, asked: Asked, key: bool) -> tuple[bytes, bytes, int]:
        """Its head and body as sent, and the size of what it asks for, or of its body."""
        kind, lines, body = asked.kind, [], b""
        size = self.rng.randrange(2000)
        if kind in ("get", "head", "sticky", "leaves"):
            path = f"/bytes/{size}"
        elif kind == "get large":
            path, size = "/bytes/150000", 150_000
        elif kind == "get drip":
            path, size = "/drip/20000", 20_000
        elif kind == "socket":
            path = "/socket/"
            lines = ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"]
            lines.append("Sec-WebSocket-Key: c29hayBzb2FrIHNvYWs9PQ==")
            # It may be sent again only where nothing of it was sent.
            asked.safe = False
        elif kind == "delete":
            path, size = "/echo/", 0
        else:
            path = "/echo/"
            if "large" in kind:
                size = self.rng.randrange(100_000, 300_000)
            elif kind in ("post chunked key", "post slow key"):
                size = self.rng.randrange(1, 9000)
            asked.kept = size <= KEPT
            body = (BLOCK * 5)[:size]
        if kind == "sticky":
            free = [client for client in range(STICKY) if client not in self.busy_sticky]
            if free:
                asked.client = self.rng.choice(free)
                self.busy_sticky.add(asked.client)
                if self.cookies[asked.client]:
                    lines.append(f"Cookie: {self.cookies[asked.client]}")
        if kind == "post expect key":
            lines.append("Expect: 100-continue")
        if key:
            lines.append(f'Idempotency-Key: "{asked.id}"')
        if kind == "post chunked key" or (kind == "post slow key" and size % 2):
            lines.append("Transfer-Encoding: chunked")
            half = size // 2
            pieces = [piece for piece in (body[:half], body[half:]) if piece]
            framed = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
        else:
            framed = body
            if asked.method in ("POST", "PUT"):
                lines.append(f"Content-Length: {size}")
        own = [f"{asked.method} {path} HTTP/1.1", "Host: chaos.test", f"X-Request-ID: {asked.id}", *lines]
        return ("\r\n".join(own) + "\r\n\r\n").encode(), framed, size

    async def play(self, asked: Asked, wire: Wire, key: bool) -> None:
        head, framed, size = self.request(asked, key)
        if asked.kind == "leaves":
            asked.left = True
            await wire.send(head)
            await asyncio.sleep(self.rng.random() / 3)
            return
        asked.before = getattr(wire, "carried", "")
        # The answer may come before all was sent, and must be read all the same.
        awaits = asked.kind == "post expect key"
        if asked.kind == "post slow key":
            sending = asyncio.ensure_future(slowly(wire, head, framed))
        else:
            sending = asyncio.ensure_future(wire.send(head if awaits else head + framed))
        try:
            asked.status, told = await wire.head()
            if asked.status == 100:
                awaits = False
                await wire.send(framed)
                asked.status, told = await wire.head()
            asked.endpoint = int(told.get("x-endpoint", -1))
            if asked.client >= 0 and "set-cookie" in told:
                self.cookies[asked.client] = told["set-cookie"].split(";")[0]
            if asked.status == 101:
                await self.tunnel(asked, wire)
                return
            came = bytearray()
            async for piece in wire.pieces(asked.method, asked.status, told):
                came += piece
            self.look(asked, told, bytes(came), framed, size)
            await sending
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
        if awaits:
            # Nobody asked for the body: this connection cannot go on.
            wire.close()
            return
        wire.used = time.monotonic()
        wire.carried = f"{asked.id} {asked.kind} {asked.status} {asked.code}, {time.time() - asked.began:.2f} s"
        self.client.keep(wire, _Kept(told))

    def look(self, asked: Asked, told: dict[str, str], came: bytes, framed: bytes, size: int) -> None:
        """Whether it is the right answer."""
        if asked.status == 200 and asked.method in ("POST", "PUT", "DELETE"):
            sent = (BLOCK * 5)[:size]
            if json.loads(came) != {"length": size, "sum": zlib.crc32(sent)}:
                asked.broken = f"the body did not arrive: {came[:80]!r} for {size} bytes"
        elif asked.status == 200 and asked.method == "GET":
            if (len(came), zlib.crc32(came)) != (size, checksum(size)):
                asked.broken = f"wrong bytes: {len(came)} of {size}"
        elif asked.status >= 400 and asked.endpoint < 0 and asked.method == "HEAD":
            asked.code = "not told"
        elif asked.status >= 400 and asked.endpoint < 0 and told.get("content-type") == "application/json":
            error = json.loads(came)["error"]
            asked.code = error["code"]
            if error["request_id"] != asked.id:
                asked.broken = f"another request's error: {error}"

    async def tunnel(self, asked: Asked, wire: Wire) -> None:
        """Frames back and forth for a while."""
        for _ in range(self.rng.randrange(1, 12)):
            payload = BLOCK[: self.rng.randrange(3000)]
            if await wire.frame(payload) != payload:
                asked.broken = "a frame came back changed"
                return
            await asyncio.sleep(0.2)


async def slowly(wire: Wire, head: bytes, framed: bytes) -> None:
    """Sends a body in pieces, with pauses between."""
    await wire.send(head)
    step = len(framed) // 4 + 1
    for at in range(0, len(framed), step):
        await asyncio.sleep(0.08)
        await wire.send(framed[at : at + step])


class _Kept:
    """What `Client.keep` looks at."""

    def __init__(self, head: dict[str, str]) -> None:
        self.head = head
