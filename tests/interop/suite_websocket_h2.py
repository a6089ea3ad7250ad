"""WebSocket over HTTP/2 (RFC 8441): a client of h2 and wsproto, to servers of HTTP/1.1 and of HTTP/2."""

import contextlib
import json
import os
import signal
import sys
import time
import types
import urllib.parse

from checks import check, same, true
from ground import MIB, Ground
from h2_client import H2, Socket
from suite_websocket import CODES, INVALID, front, tree
from wsproto import events


def connections(ground: Ground):
    """In clear text, then over TLS."""
    for secure in (False, True):
        connection = H2(ground, front(ground), secure, window=2**20)
        yield connection
        connection.close()


def left(connection: H2, path: str, key: str) -> list | None:
    """How a server saw a client leave; it may take a moment."""
    for _ in range(80):
        socket = Socket(connection, f"{path}/left/{key}")
        told = json.loads(socket.heard())
        socket.drop()
        if told:
            return told
        time.sleep(0.05)
    return None


@check("websocket h2: text and bytes of 0 to 16 MiB, compressed and not, to servers of HTTP/1.1 and HTTP/2")
def messages(ground: Ground) -> None:
    for connection in connections(ground):
        for path in ("", "/second"):
            for compressed in (False, True):
                socket = Socket(connection, path + "/echo", compressed=compressed)
                same(socket.deflates, compressed, "deflate")
                large = os.urandom(MIB if compressed else 16 * MIB)
                for message in ("", "text ü€😀", b"\x00\xff", b"x" * 126, b"x" * 65536, large):
                    kind = events.TextMessage if isinstance(message, str) else events.BytesMessage
                    socket.say(kind(data=message))
                    true(socket.heard() == message, f"{len(message)} came back otherwise from {path}")


@check("websocket h2: 1,000 fragments, pings of both sides, subprotocols")
def parts(ground: Ground) -> None:
    for connection in connections(ground):
        for path in ("", "/second"):
            socket = Socket(connection, path + "/echo", protocols="chat.v1, chat.v2")
            same(socket.headers.get("sec-websocket-protocol"), "chat.v2")
            for number in range(1000):
                socket.say(events.TextMessage(data=f"{number:04}", message_finished=number == 999))
                if number % 100 == 0:
                    socket.say(events.Ping(payload=b"%d" % number))
            same(socket.heard(), "".join(f"{number:04}" for number in range(1000)))
            same(socket.pongs, [b"%d" % number for number in range(0, 1000, 100)])
        same(Socket(connection, "/ping").heard(), "answered")


@check("websocket h2: every close code with its reason, from either side, and the stream ends")
def codes(ground: Ground) -> None:
    for turn, connection in enumerate(connections(ground)):
        # hypercorn loses a connection on which a client answers its close: the other server is asked alone.
        for path in ("", "/second"):
            # wsproto does not know 1014.
            for code in (code for code in CODES if code != 1014):
                reason = f"because {code} ü"
                if not path:
                    socket = Socket(connection, f"/close/{code}/{urllib.parse.quote(reason)}")
                    socket.listen(lambda: False)
                    same((socket.closed, socket.stream.ended), ((code, reason), True))
                key = f"h2-{turn}-{code}"
                socket = Socket(connection, f"{path}/echo?{key}")
                socket.say(events.CloseConnection(code=code, reason=reason))
                socket.listen(lambda: socket.closed is not None)
                same(socket.closed[0], code, "the answer")
                if path:
                    socket.drop()
                else:
                    socket.listen(lambda: False)
                    true(socket.stream.ended, "the stream goes on")
                    same(left(connection, path, key), [code, reason], "what the server saw")


@check("websocket h2: frames against the rules reach the server, and its close code comes back")
def invalid(ground: Ground) -> None:
    for connection in connections(ground):
        for name, (text, code) in INVALID.items():
            socket = Socket(connection, "/echo")
            connection.send(socket.number, bytes.fromhex(text.replace(" ", "")))
            socket.listen(lambda: socket.closed is not None)
            same(socket.closed and socket.closed[0], code, name)


@check("websocket h2: frames against the rules, to a server of HTTP/2, end as they do without proxyd")
def invalid_second(ground: Ground) -> None:
    proxyd, found = front(ground), []
    direct = types.SimpleNamespace(port=ground.ports["ws-app"])
    for target, path in ((direct, "/echo"), (proxyd, "/second/echo")):
        found.append({})
        for name, (text, _) in INVALID.items():
            connection = H2(ground, target)
            socket = Socket(connection, path)
            connection.send(socket.number, bytes.fromhex(text.replace(" ", "")))
            with contextlib.suppress(AssertionError):
                socket.listen(lambda: socket.closed is not None, 1)
            # hypercorn lets go of the connection, which ends the stream of proxyd's client.
            found[-1][name] = (socket.closed, socket.stream.ended or socket.stream.reset is not None)
            connection.close()
    same(found[1], found[0])


@check("websocket h2: 50 on one connection, each answered with its own; one reset leaves the others")
def many(ground: Ground) -> None:
    for connection in connections(ground):
        for path in ("", "/second"):
            sockets = [Socket(connection, f"{path}/echo?many-{number}") for number in range(50)]
            for turn in range(10):
                for number, socket in enumerate(sockets):
                    socket.say(events.TextMessage(data=f"{turn} {number}"))
                for number, socket in enumerate(sockets):
                    same(socket.heard(), f"{turn} {number}")
            sockets[0].drop()
            same(left(connection, path, "many-0")[0] in (1005, 1006), True, "the reset one")
            for number, socket in enumerate(sockets[1:], 1):
                socket.say(events.TextMessage(data=f"still {number}"))
                same(socket.heard(), f"still {number}")
            for socket in sockets[1:]:
                socket.drop()


@check("websocket h2: a server that is cut or killed ends the stream at once")
def cut(ground: Ground) -> None:
    for connection in connections(ground):
        socket = Socket(connection, "/abort")
        socket.say(events.TextMessage(data="now"))
        began = time.monotonic()
        socket.listen(lambda: False, 5)
        true(socket.closed is None, "a close frame came from nowhere")
        true(time.monotonic() - began < 2, "it took too long")
        same(Socket(connection, "/left/absent").heard(), "null", "the connection afterwards")
    name = "ws-h2-killed"
    proxyd = ground.front(name, lambda: {**tree(ground), "upstreams": killed(ground)})
    connection = H2(ground, proxyd)
    sockets = [Socket(connection, "/second/echo") for _ in range(3)]
    process = ground.running.pop("ws-killed")
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=10)
    for socket in sockets:
        socket.listen(lambda: False, 5)
        true(socket.stream.ended or socket.stream.reset is not None, "it is still open")
    connection.close()


def killed(ground: Ground) -> dict:
    port = ground.serve(
        "ws-killed", [sys.executable, "-m", "hypercorn", "--workers", "0", "--bind", "127.0.0.1:@port@", "ws_app:app"]
    )
    second = {"endpoints": [f"http://127.0.0.1:{port}"], "protocol": "http2"}
    return {"second": second, "plain": second}


@check("websocket h2: SIGTERM ends open ones with 1001 on both sides, within the drain time")
def drain(ground: Ground) -> None:
    proxyd = ground.front("ws-h2-drain", lambda: tree(ground))
    connection = H2(ground, proxyd, True)
    sockets = [Socket(connection, path + "/echo?h2-drained") for path in ("", "/second")]
    began = time.monotonic()
    proxyd.process.send_signal(signal.SIGTERM)
    for socket in sockets:
        socket.listen(lambda: socket.closed is not None)
        same(socket.closed and socket.closed[0], 1001)
    closed = time.monotonic() - began
    proxyd.process.wait(timeout=10)
    took = time.monotonic() - began
    del ground.fronts["ws-h2-drain"]
    print(f"   closed after {closed:.2f} s, ended after {took:.2f} s of 5 s")
    same(proxyd.process.returncode, 0)
    true(closed < 1 and took < 3, "too late")
    connection = H2(ground, front(ground))
    same(left(connection, "", "h2-drained")[0], 1001, "what the server saw")
