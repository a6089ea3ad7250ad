"""A scripted backend: answers at once, slowly, in part or not at all, as the path says; and echoes WebSocket frames.

Usage: backend.py PORT
"""

import asyncio
import json
import sys
import zlib

from pattern import pieces


async def frames(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Echoes a client's masked frames, unmasked, until it closes (RFC 6455 section 5.2)."""
    while True:
        first, second = await reader.readexactly(2)
        length = second & 0x7F
        if length == 126:
            length = int.from_bytes(await reader.readexactly(2), "big")
        mask = await reader.readexactly(4)
        masked = await reader.readexactly(length)
        payload = bytes(byte ^ mask[at % 4] for at, byte in enumerate(masked))
        sized = bytes([length]) if length < 126 else b"\x7e" + length.to_bytes(2, "big")
        writer.write(bytes([first]) + sized + payload)
        await writer.drain()
        if first & 0x0F == 8:
            return


async def body(head: dict[str, str], reader: asyncio.StreamReader) -> tuple[int, int]:
    """A request's body: its length and checksum."""
    length = value = 0
    if head.get("transfer-encoding") == "chunked":
        while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            piece = await reader.readexactly(size + 2)
            length, value = length + size, zlib.crc32(piece[:-2], value)
        await reader.readuntil(b"\r\n")
        return length, value
    left = int(head.get("content-length", "0"))
    while left:
        piece = await reader.read(min(left, 65536))
        if not piece:
            raise ConnectionError("the body ended early")
        length, value, left = length + len(piece), zlib.crc32(piece, value), left - len(piece)
    return length, value


def whole(writer: asyncio.StreamWriter, answer: bytes) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer) + answer)


async def answer(line: str, head: dict[str, str], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Answers one request; whether the connection goes on."""
    method, target, _ = line.split(" ")
    _, word, argument = target.split("?")[0].split("/", 2)
    if word == "socket":
        lines = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: soak\r\n\r\n"
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\n" + lines)
        await frames(reader, writer)
        return False
    length, value = await body(head, reader)
    if word in ("bytes", "chunks"):
        size = int(argument)
        framing = b"Content-Length: %d" % size if word == "bytes" else b"Transfer-Encoding: chunked"
        writer.write(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n")
        for piece in pieces(size) if method != "HEAD" else ():
            writer.write(piece if word == "bytes" else b"%x\r\n%s\r\n" % (len(piece), piece))
            await writer.drain()
        if word == "chunks":
            writer.write(b"0\r\n\r\n")
    elif word == "slow":
        await asyncio.sleep(float(argument))
        whole(writer, b"late")
    elif word == "reset":
        if argument == "within":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n" + b"x" * 5000)
            await writer.drain()
        writer.transport.abort()
        return False
    elif word == "garbage":
        writer.write(b"HTTP/1.1 abc\r\nthis is no answer\r\n\r\n")
        await writer.drain()
        return False
    elif word == "last":
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nlast")
        await writer.drain()
        return False
    elif word == "events":
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for number in range(int(argument)):
            writer.write(b"a\r\ndata: %02d\n\n\r\n" % number)
            await writer.drain()
            await asyncio.sleep(0.1)
        writer.write(b"0\r\n\r\n")
    else:
        whole(writer, json.dumps({"length": length, "sum": value}).encode())
    return True


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Serves one connection."""
    try:
        while True:
            lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            head = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
            if not await answer(lines[0], head, reader, writer):
                break
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main() -> None:
    """Serves until it is killed."""
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]), limit=1 << 20, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
