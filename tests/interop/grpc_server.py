"""A gRPC server without generated code: messages are bytes. Usage: grpc_server.py PORT [MAX_AGE_MS [CERT KEY]]

Any service name is served; the method's name tells what is played.
"""

import asyncio
import collections
import hashlib
import json
import pathlib
import signal
import sys

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

SEEN: collections.Counter = collections.Counter()


async def echo(request: bytes, context) -> bytes:
    """Back as it came, and so do the metadata: plain ones first, binary ones last."""
    sent = [(key, value) for key, value in context.invocation_metadata() if key.startswith("x-")]
    await context.send_initial_metadata([pair for pair in sent if not pair[0].endswith("-bin")])
    context.set_trailing_metadata([pair for pair in sent if pair[0].endswith("-bin")])
    return request


async def collect(requests, _context) -> bytes:
    hashed, count, length = hashlib.sha256(), 0, 0
    async for message in requests:
        hashed.update(message)
        count, length = count + 1, length + len(message)
    return json.dumps([count, length, hashed.hexdigest()]).encode()


async def spread(request: bytes, context):
    """`{count, size, gap}`; with `fail`, that status follows the last message."""
    asked = json.loads(request)
    try:
        for number in range(asked["count"]):
            yield number.to_bytes(4, "big") + bytes(asked.get("size", 0))
            await asyncio.sleep(asked.get("gap", 0))
    except asyncio.CancelledError:
        SEEN[f"cancelled {asked.get('key')}"] += 1
        raise
    if "fail" in asked:
        context.set_trailing_metadata([("x-why", "asked"), ("x-raw-bin", b"\x00\xff\x80")])
        await context.abort(grpc.StatusCode[asked["fail"]], "after some messages")


async def chat(requests, _context):
    async for message in requests:
        yield b"heard " + message


async def fail(request: bytes, context) -> bytes:
    asked = json.loads(request)
    context.set_trailing_metadata([("x-why", "asked"), ("x-raw-bin", b"\x00\xff\x80")])
    await context.abort(grpc.StatusCode[asked["code"]], asked["details"])


async def sleep(request: bytes, _context) -> bytes:
    """Waits for the client to give up, and remembers that it did."""
    SEEN[f"began {request.decode()}"] += 1
    try:
        await asyncio.sleep(20)
    except asyncio.CancelledError:
        SEEN[f"cancelled {request.decode()}"] += 1
        raise
    return b"awake"


async def pause(request: bytes, _context) -> bytes:
    await asyncio.sleep(float(request))
    return request


async def seen(_request: bytes, _context) -> bytes:
    return json.dumps(SEEN).encode()


class Any(grpc.GenericRpcHandler):
    """Finds the play by the method's last part."""

    PLAYS = {
        "Echo": grpc.unary_unary_rpc_method_handler(echo),
        "Collect": grpc.stream_unary_rpc_method_handler(collect),
        "Spread": grpc.unary_stream_rpc_method_handler(spread),
        "Chat": grpc.stream_stream_rpc_method_handler(chat),
        "Fail": grpc.unary_unary_rpc_method_handler(fail),
        "Sleep": grpc.unary_unary_rpc_method_handler(sleep),
        "Pause": grpc.unary_unary_rpc_method_handler(pause),
        "Seen": grpc.unary_unary_rpc_method_handler(seen),
    }

    def service(self, call):
        return self.PLAYS.get(call.method.rsplit("/", 1)[1])


async def main(port: str, age: str = "0", cert: str = "", key: str = "") -> None:
    options = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1), ("grpc.so_reuseport", 1)]
    if int(age):
        options += [("grpc.max_connection_age_ms", int(age)), ("grpc.max_connection_age_grace_ms", 10_000)]
    server = grpc.aio.server(options=options)
    servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    await servicer.set("", health_pb2.HealthCheckResponse.SERVING)
    server.add_generic_rpc_handlers([Any()])
    if cert:
        pair = (pathlib.Path(key).read_bytes(), pathlib.Path(cert).read_bytes())
        server.add_secure_port(f"127.0.0.1:{port}", grpc.ssl_server_credentials([pair]))
    else:
        server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    print("ready", flush=True)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await ended.wait()
    await server.stop(10)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
