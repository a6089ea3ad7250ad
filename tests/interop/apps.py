"""The same small application for WSGI and for ASGI servers: echo, bytes by length, bytes without, nothing, a WebSocket."""

import hashlib
import json

from origin import pieces


def wsgi(environ: dict, start) -> object:
    """For gunicorn."""
    word, _, rest = environ["PATH_INFO"].strip("/").partition("/")
    if word == "bytes":
        start("200 OK", [("Content-Length", rest)])
        return pieces(int(rest))
    if word == "chunks":
        start("200 OK", [("Content-Type", "text/plain")])
        return pieces(int(rest))
    if word == "none":
        start("204 No Content", [])
        return []
    hashed, length = hashlib.sha256(), 0
    while piece := environ["wsgi.input"].read(65536):
        hashed.update(piece)
        length += len(piece)
    told = {"method": environ["REQUEST_METHOD"], "length": length, "sha256": hashed.hexdigest()}
    told["forwarded"] = environ.get("HTTP_X_FORWARDED_FOR")
    body = json.dumps(told).encode()
    start("200 OK", [("Content-Length", str(len(body)))])
    return [body]


async def asgi(scope: dict, receive, send) -> None:
    """For uvicorn."""
    if scope["type"] == "lifespan":
        return
    if scope["type"] == "websocket":
        await socket(receive, send)
        return
    word, _, rest = scope["path"].strip("/").partition("/")
    if word in ("bytes", "chunks"):
        headers = [(b"content-length", rest.encode())] if word == "bytes" else []
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for piece in pieces(int(rest)):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body"})
        return
    if word == "none":
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})
        return
    hashed, length, more = hashlib.sha256(), 0, True
    while more:
        event = await receive()
        hashed.update(event.get("body", b""))
        length += len(event.get("body", b""))
        more = event.get("more_body", False)
    told = {"method": scope["method"], "length": length, "sha256": hashed.hexdigest()}
    told["forwarded"] = next((v.decode() for n, v in scope["headers"] if n == b"x-forwarded-for"), None)
    body = json.dumps(told).encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def socket(receive, send) -> None:
    """Echoes messages until the other side ends."""
    await receive()
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": event.get("text"), "bytes": event.get("bytes")})
