"""What ws_server.py plays, as an ASGI application, for a server that speaks WebSocket over HTTP/2."""

import json
import urllib.parse

LEFT: dict[str, list] = {}


async def app(scope: dict, receive, send) -> None:
    """Paths as of ws_server.py."""
    if scope["type"] != "websocket":
        return
    word, *rest = scope["path"].strip("/").split("/")
    chosen = next((name for name in ("chat.v2", "chat.v1") if name in scope["subprotocols"]), None)
    await receive()
    await send({"type": "websocket.accept", "subprotocol": chosen})
    if word == "close":
        await send({"type": "websocket.close", "code": int(rest[0]), "reason": urllib.parse.unquote(rest[1])})
    elif word == "abort":
        await receive()
        # An application that ends without a close: the server resets the stream.
        raise ConnectionError("as asked")
    elif word == "left":
        await send({"type": "websocket.send", "text": json.dumps(LEFT.get(rest[0]))})
    while (event := await receive())["type"] == "websocket.receive":
        if event.get("text") is not None:
            await send({"type": "websocket.send", "text": event["text"]})
        else:
            await send({"type": "websocket.send", "bytes": event["bytes"]})
    LEFT[scope["query_string"].decode()] = [event.get("code"), event.get("reason")]
