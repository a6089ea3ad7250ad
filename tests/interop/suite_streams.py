"""Streams over HTTP/2: events arrive as they are sent; a slow side of one stream holds up no other beside it."""

import json
import re
import time

from checks import check, same, true
from ground import MIB, Ground
from h2_client import H2
from suite_clients import front

UPSTREAMS = {"HTTP/1.1": "", "HTTP/2": "/node", "HTTP/2 over TLS": "/node-tls"}


@check("streams: events arrive within 100 ms, over HTTP/2 and TLS, from servers of HTTP/1.1 and HTTP/2")
def events(ground: Ground) -> None:
    for secure in (False, True):
        for name, prefix in UPSTREAMS.items():
            connection = H2(ground, front(ground), secure)
            stream = connection.streams[connection.ask("GET", prefix + "/events/20", ("accept", "text/event-stream"))]
            delays: list[float] = []

            def turn() -> bool:
                found = re.findall(rb"data: (\S+)\n\n", bytes(stream.body))
                delays.extend(time.time() - float(sent) for sent in found[len(delays) :])
                return stream.ended or stream.reset is not None

            connection.until(turn)
            connection.close()
            same(len(delays), 20)
            median, longest = sorted(delays)[10] * 1000, max(delays) * 1000
            place = f"{'TLS' if secure else 'clear'} from {name}"
            print(f"   {place}: median {median:.1f} ms, longest {longest:.1f} ms")
            true(max(delays) < 0.1, "events were held")


@check("streams: a reader that stops on one stream holds up no other, down")
def slow_reader(ground: Ground) -> None:
    for secure in (False, True):
        for name, prefix in UPSTREAMS.items():
            connection = H2(ground, front(ground), secure)
            stopped = connection.ask("GET", f"{prefix}/bytes/{50 * MIB}")
            connection.streams[stopped].reads = False
            connection.streams[stopped].keeps = False
            connection.until(lambda: connection.streams[stopped].received >= 65_535)
            began = time.monotonic()
            for _ in range(3):
                got = connection.whole(connection.ask("GET", f"{prefix}/bytes/{5 * MIB}"))
                same((got.status, got.received), (200, 5 * MIB))
            took = time.monotonic() - began
            same(connection.streams[stopped].received, 65_535, "beyond its window")
            # What was left unread comes, once it is wanted.
            stream = connection.streams[stopped]
            stream.reads = True
            connection.h2.acknowledge_received_data(stream.unread, stopped)
            connection.flush()
            connection.until(lambda: stream.ended or stream.reset is not None, 60)
            same((stream.received, stream.reset), (50 * MIB, None))
            connection.close()
            print(f"   {'TLS' if secure else 'clear'} from {name}: 3 × 5 MiB beside a stopped one in {took:.1f} s")


@check("streams: a server that does not read one stream holds up no other, up")
def slow_server(ground: Ground) -> None:
    for secure in (False, True):
        for name, prefix in UPSTREAMS.items():
            connection = H2(ground, front(ground), secure)
            held = connection.ask("POST", prefix + "/hold/6", ends=False)
            began = time.monotonic()
            # As much as may be sent ahead; then nothing more of it is taken.
            sent = 0
            while sent < 32 * MIB:
                window = connection.h2.local_flow_control_window(held)
                if window <= 0:
                    try:
                        connection.until(lambda: connection.h2.local_flow_control_window(held) > 0, 0.5)
                    except AssertionError:
                        break
                    continue
                piece = min(window, 16_384)
                connection.h2.send_data(held, bytes(piece))
                connection.flush()
                sent += piece
            for _ in range(3):
                other = connection.ask("POST", prefix + "/echo/", ends=False)
                connection.send(other, bytes(2 * MIB), ends=True)
                got = connection.whole(other)
                same((got.status, json.loads(bytes(got.body))["length"]), (200, 2 * MIB))
            took = time.monotonic() - began
            true(connection.streams[held].status == 0, "the held one was answered before the others")
            connection.send(held, b"", ends=True)
            got = connection.whole(held)
            same((got.status, bytes(got.body)), (200, b"held\n"))
            connection.close()
            place = f"{'TLS' if secure else 'clear'} to {name}"
            print(f"   {place}: 3 × 2 MiB in {took:.1f} s beside one held after {sent / MIB:.1f} MiB")
