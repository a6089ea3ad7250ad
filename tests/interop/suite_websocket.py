"""WebSocket through HTTP/1.1 and TLS: messages, fragments, pings, closes, compression, subprotocols, broken rules."""

import asyncio
import json
import os
import signal
import socket
import sys
import time
import urllib.parse

import websockets
from checks import check, same, true
from ground import MIB, Front, Ground
from traffic import Stream
from websockets.asyncio.client import connect

CODES = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999]


def tree(ground: Ground) -> dict:
    """A server of HTTP/1.1 and one of HTTP/2."""
    plain = ground.python("ws-server", "ws_server.py")
    command = [
        sys.executable,
        "-m",
        "hypercorn",
        "--workers",
        "0",
        "--bind",
        "127.0.0.1:@port@",
        "--websocket-ping-interval",
        "1000",
        "ws_app:app",
    ]
    second = ground.serve("ws-app", command)
    upstreams = {
        "plain": {"endpoints": [f"http://127.0.0.1:{plain}"]},
        "second": {"endpoints": [f"http://127.0.0.1:{second}"], "protocol": "http2"},
    }
    routes = [
        {"path": "/second/", "upstream": "second", "rewrite": {"strip_prefix": "/second"}},
        {"path": "/", "upstream": "plain"},
    ]
    return {"server": {"timeouts": {"drain": "5s"}}, "upstreams": upstreams, "routes": routes}


def front(ground: Ground) -> Front:
    return ground.front("ws-front", lambda: tree(ground))


def ways(ground: Ground, second: bool = True) -> list[tuple[str, dict]]:
    """Addresses in front of both servers, in clear text and over TLS, with what a client needs for them."""
    proxyd = front(ground)
    trust = {"ssl": ground.trust(["http/1.1"]), "host": "127.0.0.1"}
    # hypercorn answers a close without ending its stream: it is not waited for.
    paths = {"": {}, "/second": {"close_timeout": 0.2}} if second else {"": {}}
    clear = [(f"ws://127.0.0.1:{proxyd.port}{path}", more) for path, more in paths.items()]
    return clear + [(f"wss://localhost:{proxyd.tls}{path}", {**trust, **more}) for path, more in paths.items()]


def go(run, seconds: float = 100) -> None:
    asyncio.run(asyncio.wait_for(run(), seconds))


@check("websocket: text and bytes of 0 to 16 MiB, compressed and not, to servers of HTTP/1.1 and HTTP/2")
def messages(ground: Ground) -> None:
    async def run() -> None:
        for url, more in ways(ground):
            for compression in ("deflate", None):
                async with connect(url + "/echo", compression=compression, max_size=20 * MIB, **more) as client:
                    negotiated = [extension.name for extension in client.protocol.extensions]
                    same(negotiated, ["permessage-deflate"] if compression else [], url)
                    large = os.urandom(MIB) if compression else os.urandom(16 * MIB)
                    for message in ("", b"", "text ü€😀", b"\x00\xff", b"x" * 125, b"x" * 126, b"x" * 65536, large):
                        await client.send(message)
                        true(await client.recv() == message, f"{len(message)} came back otherwise from {url}")

    go(run)


@check("websocket: 1,000 fragments of one message, and a message answered in fragments")
def fragments(ground: Ground) -> None:
    async def run() -> None:
        for url, more in ways(ground):
            async with connect(url + "/echo", **more) as client:
                await client.send(b"%04d" % number for number in range(1000))
                true(await client.recv() == b"".join(b"%04d" % number for number in range(1000)), "other bytes came")
        for url, more in ways(ground, second=False):
            async with connect(url + "/pieces", **more) as client:
                await client.send("0123456789" * 300)
                same(len([part async for part in client.recv_streaming()]) >= 300, True, "fragments")

    go(run)


@check("websocket: pings of the client, also between fragments, and pings of the server")
def pings(ground: Ground) -> None:
    async def run() -> None:
        for url, more in ways(ground):
            async with connect(url + "/echo", **more) as client:
                for number in range(50):
                    await asyncio.wait_for(await client.ping(b"%d" % number), 5)
        for url, more in ways(ground, second=False):
            async with connect(url + "/ping", **more) as client:
                same(await client.recv(), "answered")

    go(run)


@check("websocket: every close code with its reason, from either side")
def codes(ground: Ground) -> None:
    async def run() -> None:
        for turn, (url, more) in enumerate(ways(ground)):
            # wsproto, and so hypercorn, does not know 1014.
            for code in CODES if "/second" not in url else [code for code in CODES if code != 1014]:
                reason = f"because {code} ü"
                # hypercorn loses a connection on which a client answers its close: the other server is asked alone.
                if "/second" not in url:
                    async with connect(f"{url}/close/{code}/{urllib.parse.quote(reason)}", **more) as client:
                        await client.wait_closed()
                        same((client.close_code, client.close_reason), (code, reason), url)
                key = f"{turn}-{code}"
                async with connect(f"{url}/echo?{key}", **more) as client:
                    await client.send("x")
                    await client.recv()
                    await client.close(code, reason)
                    same((client.close_code, client.close_reason), (code, reason), url)
                # And so it tells its application 1006, whatever came.
                if "/second" not in url:
                    same(await left(url, more, key), [code, reason], f"what the server saw of {key}")

    go(run)


async def left(url: str, more: dict, key: str) -> list | None:
    """How the server saw a client leave; it may take a moment."""
    for _ in range(80):
        async with connect(f"{url}/left/{key}", **more) as client:
            told = json.loads(await client.recv())
        if told:
            return told
        await asyncio.sleep(0.05)
    return None


@check("websocket: subprotocols are chosen by the server, or none is")
def subprotocols(ground: Ground) -> None:
    async def run() -> None:
        for url, more in ways(ground):
            for offered, chosen in (
                (["chat.v1", "chat.v2"], "chat.v2"),
                (["chat.v1"], "chat.v1"),
                (["other"], None),
                (None, None),
            ):
                async with connect(url + "/echo", subprotocols=offered, **more) as client:
                    same(client.subprotocol, chosen)

    go(run)


class Raw:
    """A client that writes what it likes after the handshake."""

    def __init__(self, port: int, path: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        self.socket.sendall(
            f"{head}Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        stream = Stream(self.socket)
        true(b" 101 " in stream.head(), "no upgrade")
        self.held = stream.held

    def frames(self) -> list[tuple[int, bytes]]:
        """All frames until the connection ends: opcodes and payloads."""
        while piece := self.socket.recv(65536):
            self.held += piece
        found, held = [], self.held
        while len(held) >= 2:
            length, at = held[1] & 127, 2
            if length == 126:
                length, at = int.from_bytes(held[2:4], "big"), 4
            found.append((held[0] & 15, held[at : at + length]))
            held = held[at + length :]
        return found


INVALID = {
    "an unknown opcode": ("8380 00000000", 1002),
    "reserved bits": ("f180 00000000", 1002),
    "a frame without a mask": ("8101 61", 1002),
    "a long ping": ("89fe 0080 00000000" + "00" * 128, 1002),
    "a fragmented ping": ("0980 00000000", 1002),
    "a continuation of nothing": ("8080 00000000", 1002),
    "text that is not UTF-8": ("8182 00000000 ff fe", 1007),
    "a close code of one byte": ("8881 00000000 03", 1002),
    "a close code that may not be sent": ("8882 00000000 03ed", 1002),
    "more than the server takes": ("82ff 0000000002000000 00000000", 1009),
}


@check("websocket: frames against the rules reach the server, and its close code comes back")
def invalid(ground: Ground) -> None:
    proxyd = front(ground)
    for name, (text, code) in INVALID.items():
        raw = Raw(proxyd.port, "/echo")
        raw.socket.sendall(bytes.fromhex(text.replace(" ", "")))
        closes = [int.from_bytes(payload[:2], "big") for opcode, payload in raw.frames() if opcode == 8]
        same(closes, [code], name)


@check("websocket: frames of a server against the rules reach the client")
def invalid_of_server(ground: Ground) -> None:
    async def run() -> None:
        for url, more in ways(ground, second=False):
            for text, code in (("8300", 1002), ("8102fffe", 1007), ("818161626364", 1002)):
                async with connect(f"{url}/raw/{text}", **more) as client:
                    try:
                        await asyncio.wait_for(client.recv(), 10)
                        raise AssertionError(f"{text} was taken")
                    except websockets.ConnectionClosedError as error:
                        same(error.sent.code, code, text)

    go(run)


@check("websocket: a connection cut by either side is cut on the other, at once")
def cut(ground: Ground) -> None:
    proxyd = front(ground)

    async def run() -> None:
        for turn, (url, more) in enumerate(ways(ground)):
            async with connect(f"{url}/abort", **more) as client:
                began = time.monotonic()
                await client.send("now")
                await client.wait_closed()
                true(time.monotonic() - began < 3, f"it took {time.monotonic() - began:.1f} s at {url}")
                # hypercorn says for its application that it broke.
                same(client.close_code, 1011 if "/second" in url else 1006, url)
            key = f"cut-{turn}"
            client = await connect(f"{url}/echo?{key}", **more)
            await client.send("x")
            await client.recv()
            client.transport.abort()
            if "/second" not in url:
                same(
                    (await left(url, more, key) or [None])[0] in (1006, 1005), True, f"the server saw nothing of {key}"
                )

    go(run)
    until = time.monotonic() + 10
    while proxyd.metric("proxyd_tunnels") and time.monotonic() < until:
        time.sleep(0.1)
    same(proxyd.metric("proxyd_tunnels"), 0, "tunnels left")


@check("websocket: SIGTERM ends open ones with 1001 on both sides, within the drain time")
def drain(ground: Ground) -> None:
    proxyd = ground.front("ws-drain", lambda: tree(ground))
    trust = {"ssl": ground.trust(["http/1.1"]), "host": "127.0.0.1"}
    targets = [("ws", proxyd.port, {}), ("wss", proxyd.tls, trust)]

    async def run() -> list:
        clients = []
        for scheme, port, more in targets:
            for path in ("/echo?drained", "/second/echo"):
                clients.append(await connect(f"{scheme}://localhost:{port}{path}", **{"host": "127.0.0.1", **more}))
        for client in clients:
            await client.send("x")
            await client.recv()
        began = time.monotonic()
        proxyd.process.send_signal(signal.SIGTERM)

        async def closed(client) -> tuple[int, float]:
            await asyncio.wait_for(client.wait_closed(), 10)
            return client.close_code, round(time.monotonic() - began, 1)

        return await asyncio.gather(*(closed(client) for client in clients))

    found = asyncio.run(asyncio.wait_for(run(), 60))
    proxyd.process.wait(timeout=10)
    del ground.fronts["ws-drain"]
    print(f"   codes and seconds, to HTTP/1.1 and HTTP/2, clear and TLS: {found}")
    same(proxyd.process.returncode, 0)
    same([code for code, _ in found], [1001] * 4)
    true(all(took < 1 for _, took in found), "too late")

    async def ask() -> None:
        url, more = ways(ground, second=False)[0]
        same((await left(url, more, "drained"))[0], 1001, "what the server saw")

    go(ask)
