"""A WebSocket server for the suites; it remembers how clients left. Usage: ws_server.py PORT

By path: /echo, /pieces (answers in fragments of 10), /ping, /close/CODE/REASON, /abort (cuts the connection), /raw/HEX
(writes these bytes as they are), /left/KEY (tells how the client with ?KEY left).
"""

import asyncio
import contextlib
import json
import sys
import urllib.parse

import websockets
from websockets.asyncio.server import ServerConnection, serve

LEFT: dict[str, list] = {}


async def play(client: ServerConnection) -> None:
    path, _, key = client.request.path.partition("?")
    word, *rest = path.strip("/").split("/")
    if word == "close":
        await client.close(int(rest[0]), urllib.parse.unquote(rest[1]))
    elif word == "abort":
        await client.recv()
        client.transport.abort()
    elif word == "raw":
        client.transport.write(bytes.fromhex(rest[0]))
        await asyncio.sleep(0.2)
    elif word == "left":
        await client.send(json.dumps(LEFT.get(rest[0])))
    elif word == "ping":
        waiting = [await client.ping(b"there? %d" % number) for number in range(5)]
        for answered in waiting:
            await asyncio.wait_for(answered, 10)
        await client.send("answered")
    with contextlib.suppress(websockets.ConnectionClosed):
        async for message in client:
            if word == "pieces":
                await client.send(message[at : at + 10] for at in range(0, len(message), 10))
            else:
                await client.send(message)
    # 1006 stands for an end without a close frame, 1005 for one without a code.
    LEFT[key] = [client.close_code, client.close_reason]


async def main(port: int) -> None:
    def agree(_: object, offered: list) -> str | None:
        return next((name for name in ("chat.v2", "chat.v1") if name in offered), None)

    options = {"max_size": 20 * 2**20, "select_subprotocol": agree, "ping_interval": None, "write_limit": 2**20}
    async with serve(play, "127.0.0.1", port, **options) as running:
        await running.serve_forever()


asyncio.run(main(int(sys.argv[1])))
