"""WebSockets by the `websockets` library and by aiohttp: fragments, pings, close codes, large messages, many at once."""

import asyncio
import contextlib
import os
import threading

import aiohttp
import websockets
from checks import check, same, true
from origin import MIB
from world import World


def server(world: World) -> str:
    """An echoing server on a thread, once; its address behind proxyd."""
    if not getattr(world, "sockets", False):
        started = threading.Event()
        threading.Thread(target=lambda: asyncio.run(serve(world.ports["sockets"], started)), daemon=True).start()
        true(started.wait(10), "the server does not start")
        world.sockets = True
    return f"ws://127.0.0.1:{world.port}/sockets"


async def serve(port: int, started: threading.Event) -> None:
    def agree(_: object, offered: list) -> str | None:
        return "chat" if "chat" in offered else None

    serving = websockets.serve(answer, "127.0.0.1", port, max_size=4 * MIB, select_subprotocol=agree)
    async with serving as running:
        started.set()
        await running.serve_forever()


async def answer(client: websockets.ServerConnection) -> None:
    """Echoes; a path /close/CODE ends with that code, /fragments answers in pieces, /ping pings first."""
    word, *rest = client.request.path.strip("/").split("/")
    if word == "close":
        await client.close(int(rest[0]), "as asked")
        return
    if word == "ping":
        await (await client.ping(b"there?"))
    # However the client ends it.
    with contextlib.suppress(websockets.ConnectionClosed):
        async for message in client:
            if word == "fragments":
                await client.send(message[at : at + 10] for at in range(0, len(message), 10))
            else:
                await client.send(message)


def go(run) -> None:
    """Runs a coroutine within its time."""
    asyncio.run(asyncio.wait_for(run(), 60))


@check("websockets: text, bytes, empty messages, 1 MiB, both compressed and not")
def echo(world: World) -> None:
    url = server(world)

    async def run() -> None:
        for compression in ("deflate", None):
            async with websockets.connect(url + "/echo", compression=compression, max_size=4 * MIB) as client:
                for message in ("hello", b"", "", "ü€😀" * 100, b"\x00" * 125, b"x" * 126, b"y" * 65536, os.urandom(MIB)):
                    await client.send(message)
                    same(await client.recv(), message)
                for _ in range(20):
                    message = os.urandom(MIB)
                    await client.send(message)
                    same(await client.recv() == message, True)

    go(run)


@check("websockets: fragments both ways")
def fragments(world: World) -> None:
    url = server(world)

    async def run() -> None:
        async with websockets.connect(url + "/fragments") as client:
            await client.send(part for part in ["one ", "two ", "three ", "and the rest of a longer text"])
            parts = [part async for part in client.recv_streaming()]
            same("".join(parts), "one two three and the rest of a longer text")
            same(len(parts) > 3, True, "fragments kept")

    go(run)


@check("websockets: pings of both sides are answered")
def pings(world: World) -> None:
    url = server(world)

    async def run() -> None:
        async with websockets.connect(url + "/ping") as client:
            for _ in range(50):
                await asyncio.wait_for(await client.ping(), 5)
            await client.send("still here")
            same(await client.recv(), "still here")

    go(run)


@check("websockets: close codes and reasons arrive, both ways")
def codes(world: World) -> None:
    url = server(world)

    async def run() -> None:
        for code in (1000, 1001, 1011, 3000, 4999):
            async with websockets.connect(f"{url}/close/{code}") as client:
                try:
                    await client.recv()
                except websockets.ConnectionClosed as closed:
                    same((closed.rcvd.code, closed.rcvd.reason), (code, "as asked"))
            client = await websockets.connect(url + "/echo")
            await client.close(code, "by me")
            same(client.close_code, code)

    go(run)


@check("websockets: the subprotocol is agreed on, headers arrive")
def subprotocol(world: World) -> None:
    url = server(world)

    async def run() -> None:
        async with websockets.connect(url + "/echo", subprotocols=["chat", "more"], origin="http://a.example") as client:
            same(client.subprotocol, "chat")
            true(client.response.headers["upgrade"].lower() == "websocket", "no upgrade")

    go(run)


@check("websockets: a handshake that is none is refused, the connection serves on")
def refused(world: World) -> None:
    url = server(world).replace("ws:", "http:")

    async def run() -> None:
        async with aiohttp.ClientSession() as client:
            for _ in range(5):
                async with client.get(url + "/echo") as answer:
                    same(answer.status, 426)

    go(run)


@check("aiohttp: 100 WebSockets at once, 20 messages each")
def many(world: World) -> None:
    url = server(world)

    async def run() -> None:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as client:

            async def speak(number: int) -> None:
                async with client.ws_connect(url + "/echo", compress=15 if number % 2 else 0) as ws:
                    for turn in range(20):
                        text = f"{number} {turn} " * (turn * 50 + 1)
                        await ws.send_str(text)
                        same(await ws.receive_str(), text)
                    await ws.close()
                    same(ws.close_code, 1000)

            await asyncio.gather(*(speak(number) for number in range(100)))

    go(run)
