"""What lives for the whole soak: WebSockets that speak now and then, connections that are used rarely, and idle ones."""

import asyncio
import random
import time

from client import Client, Cut, Wire
from kinds import judged
from pattern import BLOCK

TUNNELS, RARE, IDLE = 30, 40, 40
# What the daemon's config says, and how late it may be.
KEEP_ALIVE_S, LATE_S = 20, 10


class Steady:
    """Counts of what went well, and texts of what did not."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.counts = {"frames": 0, "rare": 0, "closed": 0}
        self.faults: list[str] = []
        self.ending = asyncio.Event()

    async def run(self) -> None:
        """Until `ending` is set."""
        lives = [self.tunnel] * TUNNELS + [self.rare] * RARE + [self.idle] * IDLE
        await asyncio.gather(*(self.guarded(life) for life in lives))

    async def guarded(self, life) -> None:
        try:
            await life()
        except (Cut, OSError, asyncio.IncompleteReadError, TimeoutError) as fault:
            self.faults.append(f"{life.__name__}: {fault!r}")

    async def pause(self, seconds: float) -> bool:
        """Waits; false as soon as the end has come."""
        try:
            await asyncio.wait_for(self.ending.wait(), seconds)
        except TimeoutError:
            return True
        return False

    async def tunnel(self) -> None:
        """One WebSocket for all the time."""
        wire = await Wire.open(self.client.port)
        lines = ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"]
        number, asked = self.client.request("GET", "/socket/", *lines, "Sec-WebSocket-Key: c29hayBzb2FrIHNvYWs9PQ==")
        await wire.send(asked)
        status, _ = await wire.head()
        if status != 101:
            self.faults.append(f"a tunnel is answered {status}")
            return
        while await self.pause(random.uniform(1, 8)):
            payload = BLOCK[: random.randrange(10_000)]
            if await asyncio.wait_for(wire.frame(payload), 10) != payload:
                self.faults.append("a frame came back changed")
            self.counts["frames"] += 1
        wire.close()
        self.client.completed(number)

    async def rare(self) -> None:
        """One connection that is used again shortly before the daemon would close it."""
        wire = await Wire.open(self.client.port)
        turn = 0
        while turn == 0 or await self.pause(random.uniform(0.5, 0.85) * KEEP_ALIVE_S):
            turn += 1
            number, asked = self.client.request("GET", f"/bytes/{turn}")
            await wire.send(asked)
            outcome = judged(await wire.answer(), turn)
            self.client.completed(number)
            if outcome != "200":
                self.faults.append(f"rare: {outcome}")
            self.counts["rare"] += 1
        wire.close()

    async def idle(self) -> None:
        """Connections that wait until the daemon closes them, one after the other."""
        while not self.ending.is_set():
            wire = await Wire.open(self.client.port)
            number, asked = self.client.request("GET", "/bytes/5")
            await wire.send(asked)
            await wire.answer()
            self.client.completed(number)
            since = time.monotonic()
            rest = asyncio.ensure_future(wire.reader.read(1))
            ended = asyncio.ensure_future(self.ending.wait())
            wanted = {rest, ended}
            await asyncio.wait(wanted, timeout=KEEP_ALIVE_S + LATE_S, return_when=asyncio.FIRST_COMPLETED)
            waited = time.monotonic() - since
            if rest.done() and rest.result() == b"" and waited > KEEP_ALIVE_S - 1:
                self.counts["closed"] += 1
            elif not ended.done():
                self.faults.append(f"an idle connection after {waited:.1f} s: {rest}")
            for task in wanted:
                task.cancel()
            wire.close()
