"""The kinds of requests: what each does, how often, and which outcomes it may have."""

import asyncio
import json
import random
import zlib
from collections.abc import Awaitable, Callable

from client import Client, Cut, Wire
from pattern import BLOCK, checksum

MIB = 1024 * 1024
KINDS: dict[str, tuple[float, frozenset[str], Callable[[Client], Awaitable[str]]]] = {}


def kind(name: str, share: float, *expected: str):
    """Registers a kind: its share of all requests in percent, and its outcomes."""

    def keep(function):
        KINDS[name] = (share, frozenset(expected), function)
        return function

    return keep


def judged(answer, size: int) -> str:
    """The status of an answer that must have these bytes."""
    if answer.status == 200 and (answer.length, answer.checksum) != (size, checksum(size)):
        return f"wrong bytes: {answer.length} of {size}"
    return str(answer.status)


@kind("small, kept connection", 41, "200")
async def small(client: Client) -> str:
    size = random.randrange(2000)
    return judged(await client.ask("GET", f"/bytes/{size}?q={size}"), size)


@kind("small, own connection", 15, "200")
async def lone(client: Client) -> str:
    size = random.randrange(2000)
    return judged(await client.ask("GET", f"/bytes/{size}", keeps=False), size)


@kind("64 KiB", 10, "200")
async def medium(client: Client) -> str:
    return judged(await client.ask("GET", "/bytes/65536"), 65536)


@kind("chunked answer", 6, "200")
async def chunked(client: Client) -> str:
    size = random.randrange(100_000)
    return judged(await client.ask("GET", f"/chunks/{size}"), size)


@kind("5 MiB", 0.4, "200")
async def large(client: Client) -> str:
    return judged(await client.ask("GET", f"/bytes/{5 * MIB}"), 5 * MIB)


def echoed(answer, body: bytes) -> str:
    """The status of an answer that must tell what was sent."""
    if answer.status == 200 and json.loads(answer.begins) != {"length": len(body), "sum": zlib.crc32(body)}:
        return f"the body did not arrive: {answer.begins!r}"
    return str(answer.status)


@kind("POST by length", 8, "200")
async def post(client: Client) -> str:
    body = BLOCK[: random.randrange(65536)]
    return echoed(await client.ask("POST", "/echo/", f"Content-Length: {len(body)}", body=body), body)


@kind("POST by chunks", 6, "200")
async def post_chunked(client: Client) -> str:
    body = BLOCK[: random.randrange(1, 40000)]
    framed, at = b"", 0
    while at < len(body):
        piece = body[at : at + random.randrange(1, 20000)]
        framed += b"%x\r\n%s\r\n" % (len(piece), piece)
        at += len(piece)
    return echoed(await client.ask("POST", "/echo/", "Transfer-Encoding: chunked", body=framed + b"0\r\n\r\n"), body)


@kind("HEAD", 1, "200")
async def head(client: Client) -> str:
    answer = await client.ask("HEAD", "/bytes/777")
    length = answer.head.get("content-length")
    return str(answer.status) if length == "777" else f"length {length}"


@kind("two pipelined", 1, "200")
async def pipelined(client: Client) -> str:
    wire = await Wire.open(client.port)
    try:
        (one, first), (two, second) = client.request("GET", "/bytes/100"), client.request("GET", "/bytes/200")
        await wire.send(first + second)
        outcomes = [judged(await wire.answer(), size) for size in (100, 200)]
        client.completed(one, two)
        return outcomes[0] if outcomes[0] != "200" else outcomes[1]
    finally:
        wire.close()


@kind("answered here", 1, "200")
async def fixed(client: Client) -> str:
    return str((await client.ask("GET", "/here")).status)


@kind("no route", 0.5, "404")
async def nowhere(client: Client) -> str:
    return str((await client.ask("GET", "/none/of/these")).status)


@kind("limited by key", 2, "200", "429")
async def limited(client: Client) -> str:
    return str((await client.ask("GET", "/limited/1", f"X-Api-Key: key-{random.randrange(8)}")).status)


@kind("upstream that closes after its answer", 1, "200")
async def last(client: Client) -> str:
    return str((await client.ask("GET", "/last/")).status)


@kind("slow upstream", 1, "200")
async def slow(client: Client) -> str:
    return str((await client.ask("GET", f"/slow/{random.uniform(0.1, 2):.2f}")).status)


@kind("upstream too slow for its route", 0.1, "504")
async def too_slow(client: Client) -> str:
    return str((await client.ask("GET", "/slow/8?hurry=1")).status)


@kind("upstream resets before its answer", 0.7, "502")
async def reset(client: Client) -> str:
    return str((await client.ask("GET", "/reset/before")).status)


@kind("upstream resets within its answer", 0.7, "cut", "502")
async def reset_within(client: Client) -> str:
    wire = await Wire.open(client.port)
    number, asked = client.request("GET", "/reset/within")
    try:
        await wire.send(asked)
        status, head = await wire.head()
        # Cut short or not, it is over for the daemon as well.
        client.completed(number)
        try:
            async for _ in wire.pieces("GET", status, head):
                pass
        except (Cut, ConnectionError):
            return "cut"
        return str(status)
    finally:
        wire.close()


@kind("upstream speaks nonsense", 0.3, "502")
async def garbage(client: Client) -> str:
    return str((await client.ask("GET", "/garbage/")).status)


@kind("upstream that is killed and comes back", 3, "200", "502")
async def mortal(client: Client) -> str:
    size = random.randrange(2000)
    return judged(await client.ask("GET", f"/mortal/bytes/{size}"), size)


@kind("client leaves within the answer", 0.4, "left")
async def leaves_answer(client: Client) -> str:
    wire = await Wire.open(client.port)
    number, asked = client.request("GET", f"/bytes/{5 * MIB}")
    await wire.send(asked)
    await wire.reader.read(random.randrange(1, 65536))
    client.left(number)
    wire.abort() if random.random() < 0.5 else wire.close()
    return "left"


@kind("client leaves within its body", 0.4, "left")
async def leaves_body(client: Client) -> str:
    wire = await Wire.open(client.port)
    number, asked = client.request("POST", "/echo/", "Content-Length: 1000000")
    await wire.send(asked + BLOCK[: random.randrange(1000, 60000)])
    await asyncio.sleep(random.random() / 5)
    client.left(number)
    wire.abort() if random.random() < 0.5 else wire.close()
    return "left"


@kind("client leaves while the upstream thinks", 0.3, "left")
async def leaves_early(client: Client) -> str:
    wire = await Wire.open(client.port)
    number, asked = client.request("GET", "/slow/1.5")
    await wire.send(asked)
    await asyncio.sleep(random.random() / 2)
    client.left(number)
    wire.abort() if random.random() < 0.5 else wire.close()
    return "left"


@kind("slow reader", 0.2, "200")
async def slow_reader(client: Client) -> str:
    wire = await Wire.open(client.port)
    try:
        number, asked = client.request("GET", f"/bytes/{2 * MIB}")
        await wire.send(asked)
        answer = await wire.answer(pause=0.1)
        client.completed(number)
        return judged(answer, 2 * MIB)
    finally:
        wire.close()


@kind("slow sender", 0.2, "200")
async def slow_sender(client: Client) -> str:
    wire = await Wire.open(client.port)
    try:
        number, asked = client.request("POST", "/echo/", "Content-Length: 20000")
        await wire.send(asked)
        for at in range(0, 20000, 1000):
            await asyncio.sleep(0.15)
            await wire.send(BLOCK[at : at + 1000])
        answer = await wire.answer()
        client.completed(number)
        return echoed(answer, BLOCK[:20000])
    finally:
        wire.close()


@kind("head too slow", 0.1, "408")
async def slow_head(client: Client) -> str:
    wire = await Wire.open(client.port)
    try:
        for byte in b"GET /bytes/1 HT":
            wire.writer.write(bytes([byte]))
            await asyncio.sleep(0.8)
        return str((await wire.head())[0])
    except ConnectionError:
        return "408"
    finally:
        wire.close()


@kind("events", 0.2, "200")
async def events(client: Client) -> str:
    answer = await client.ask("GET", "/events/30")
    return str(answer.status) if answer.length == 300 else f"{answer.length} bytes of events"
