"""gRPC: a real server behind proxyd, a real client before it, over clear HTTP/2 and TLS; the four kinds of calls."""

import hashlib
import json
import threading

import grpc
from checks import check, same, true
from grpc_health.v1 import health_pb2, health_pb2_grpc
from ground import MIB, Front, Ground
from traffic import free_port

OPTIONS = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
PATIENCE = 40


def front(ground: Ground) -> Front:
    """The proxyd of these checks, with a server for each route."""

    def tree() -> dict:
        plain = ground.python("grpc", "grpc_server.py")
        aged = ground.python("grpc-aged", "grpc_server.py", "700")
        sealed = ground.python("grpc-tls", "grpc_server.py", "0", ground.pem("server"), ground.pem("server.key"))
        ports = {"calls": plain, "aged": aged, "down": free_port()}
        upstreams = {
            name: {"endpoints": [f"http://127.0.0.1:{port}"], "protocol": "http2"} for name, port in ports.items()
        }
        tls = {"ca": ground.pem("ca"), "server_name": "localhost"}
        upstreams["sealed"] = {"endpoints": [f"https://127.0.0.1:{sealed}"], "protocol": "http2", "tls": tls}
        routes = [
            {"path": "/suite.Calls/", "upstream": "calls"},
            {"path": "/suite.Aged/", "upstream": "aged"},
            {"path": "/suite.Sealed/", "upstream": "sealed"},
            {"path": "/suite.Down/", "upstream": "down"},
            {"path": "/suite.Limited/", "upstream": "calls", "rate_limit": {"requests_per_minute": 3}},
            {"path": "/suite.Small/", "upstream": "calls", "body_limit": "1KiB"},
            {"path": "/suite.Denied/", "upstream": "calls", "access": {"deny": "127.0.0.0/8"}},
            {"path": "/suite.Hurried/", "upstream": "calls", "timeouts": {"response_headers": "400ms"}},
            {"path": "/grpc.health.v1.Health/", "upstream": "calls"},
        ]
        return {"server": {"limits": {"streams": 300}}, "upstreams": upstreams, "routes": routes}

    return ground.front("grpc-front", tree)


def channel(ground: Ground, secure: bool, *more: tuple) -> grpc.Channel:
    """A client's channel through proxyd."""
    proxyd = front(ground)
    # One connection for each channel, not one shared by all that look alike.
    options = [*OPTIONS, ("grpc.use_local_subchannel_pool", 1), *more]
    if not secure:
        return grpc.insecure_channel(f"127.0.0.1:{proxyd.port}", options)
    with open(ground.pem("ca"), "rb") as file:
        trusted = grpc.ssl_channel_credentials(file.read())
    options.append(("grpc.ssl_target_name_override", "localhost"))
    return grpc.secure_channel(f"127.0.0.1:{proxyd.tls}", trusted, options)


def both(ground: Ground):
    """A channel in clear text, then one over TLS."""
    for secure in (False, True):
        with channel(ground, secure) as opened:
            yield opened


def unary(opened: grpc.Channel, method: str, service: str = "Calls"):
    return opened.unary_unary(f"/suite.{service}/{method}")


@check("grpc: unary calls of 0 bytes to 10 MiB, over clear HTTP/2 and TLS, to servers of both")
def calls(ground: Ground) -> None:
    for opened in both(ground):
        for service in ("Calls", "Sealed"):
            for size in (0, 1, 70_000, MIB, 10 * MIB):
                message = hashlib.shake_128(b"%d" % size).digest(size)
                true(
                    unary(opened, "Echo", service)(message, timeout=PATIENCE) == message,
                    f"{service} {size} came back otherwise",
                )


@check("grpc: metadata both ways, binary ones and repeated ones too")
def metadata(ground: Ground) -> None:
    plain = [("x-one", 'a b; c="d"'), ("x-twice", "1"), ("x-twice", "2"), ("x-empty", "")]
    binary = [
        ("x-raw-bin", bytes(range(256))),
        ("x-none-bin", b""),
        ("x-two-bin", b"\xff,\x00"),
        ("x-two-bin", b"\x01"),
    ]
    for opened in both(ground):
        _, call = unary(opened, "Echo").with_call(b"", metadata=plain + binary, timeout=PATIENCE)
        # The server echoes what it saw, which is what we sent and what proxyd added.
        own = {name for name, _ in plain + binary}
        same([tuple(pair) for pair in call.initial_metadata() if pair[0] in own], plain)
        same([tuple(pair) for pair in call.trailing_metadata() if pair[0] in own], binary)


@check("grpc: client streaming, 2,000 messages and 10 of 1 MiB")
def client_streaming(ground: Ground) -> None:
    for opened in both(ground):
        for count, size in ((0, 0), (2000, 100), (10, MIB)):
            messages = [bytes([number % 256]) * size for number in range(count)]
            answer = opened.stream_unary("/suite.Calls/Collect")(iter(messages), timeout=PATIENCE)
            same(json.loads(answer), [count, count * size, hashlib.sha256(b"".join(messages)).hexdigest()])


@check("grpc: server streaming, 2,000 messages and 10 of 1 MiB")
def server_streaming(ground: Ground) -> None:
    for opened in both(ground):
        for count, size in ((0, 0), (2000, 100), (10, MIB)):
            asked = json.dumps({"count": count, "size": size}).encode()
            answers = list(opened.unary_stream("/suite.Calls/Spread")(asked, timeout=PATIENCE))
            same([int.from_bytes(answer[:4], "big") for answer in answers], list(range(count)))
            same({len(answer) for answer in answers}, {size + 4} if count else set())


@check("grpc: bidirectional streaming, each answer before the next question")
def bidirectional(ground: Ground) -> None:
    for opened in both(ground):
        turn, heard = threading.Semaphore(1), []

        def questions():
            for number in range(200):
                true(turn.acquire(timeout=20), "no answer came")
                yield b"%d" % number

        for answer in opened.stream_stream("/suite.Calls/Chat")(questions(), timeout=PATIENCE):
            heard.append(answer)
            turn.release()
        same(heard, [b"heard %d" % number for number in range(200)])


@check("grpc: 200 calls at once on one channel, each answered with its own")
def at_once(ground: Ground) -> None:
    for opened in both(ground):
        pause = unary(opened, "Pause")
        asked = [pause.future(b"0.5%03d" % number, timeout=PATIENCE) for number in range(200)]
        same([call.result() for call in asked], [b"0.5%03d" % number for number in range(200)])
        many = [
            opened.stream_stream("/suite.Calls/Chat")(iter([b"%d" % n, b"x"]), timeout=PATIENCE) for n in range(200)
        ]
        same([list(call) for call in many], [[b"heard %d" % number, b"heard x"] for number in range(200)])


@check("grpc: the health service is asked, and watched")
def health(ground: Ground) -> None:
    for opened in both(ground):
        stub = health_pb2_grpc.HealthStub(opened)
        same(
            stub.Check(health_pb2.HealthCheckRequest(), timeout=PATIENCE).status, health_pb2.HealthCheckResponse.SERVING
        )
        watched = stub.Watch(health_pb2.HealthCheckRequest(), timeout=PATIENCE)
        same(next(watched).status, health_pb2.HealthCheckResponse.SERVING)
        watched.cancel()


@check("grpc: keepalive pings of a client go on for 8 s, on a quiet connection and on a waiting call")
def keepalive(ground: Ground) -> None:
    often = [
        ("grpc.keepalive_time_ms", 1000),
        ("grpc.keepalive_timeout_ms", 500),
        ("grpc.keepalive_permit_without_calls", 1),
    ]
    often.append(("grpc.http2.max_pings_without_data", 0))
    for secure in (False, True):
        with channel(ground, secure, *often) as opened:
            same(unary(opened, "Pause")(b"8", timeout=PATIENCE), b"8")
            threading.Event().wait(3)
            same(unary(opened, "Echo")(b"x", timeout=PATIENCE), b"x")
