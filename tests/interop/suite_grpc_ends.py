"""gRPC: how calls end: statuses of the server and of proxyd, deadlines, cancellation, servers that go."""

import json
import sys
import threading
import time

import grpc
import httpx
from checks import check, same, true
from ground import Front, Ground
from suite_grpc import PATIENCE, both, channel, front, unary
from world import HERE

DETAILS = "100% späte Antwort\nmit Zeile"


def code_of(call, *arguments, **named) -> tuple[str, str]:
    """The status that a call ends with, and its details."""
    try:
        answer = call(*arguments, timeout=named.pop("timeout", PATIENCE), **named)
        if hasattr(answer, "__next__"):
            list(answer)
    except grpc.RpcError as error:
        return error.code().name, error.details()
    return "OK", ""


def seen(opened: grpc.Channel, what: str) -> int:
    return json.loads(unary(opened, "Seen")(b"", timeout=PATIENCE)).get(what, 0)


def until_seen(opened: grpc.Channel, what: str) -> None:
    until = time.monotonic() + 8
    while time.monotonic() < until:
        if seen(opened, what):
            return
        time.sleep(0.05)
    raise AssertionError(f"the server did not see it: {what}")


@check("grpc: every status with its details and metadata, as trailers alone")
def statuses(ground: Ground) -> None:
    for opened in both(ground):
        for code in list(grpc.StatusCode):
            if code is grpc.StatusCode.OK:
                continue
            asked = json.dumps({"code": code.name, "details": DETAILS}).encode()
            try:
                unary(opened, "Fail")(asked, timeout=PATIENCE)
                raise AssertionError("no error came")
            except grpc.RpcError as error:
                same((error.code(), error.details()), (code, DETAILS))
                kept = [tuple(pair) for pair in error.trailing_metadata() if pair[0] in ("x-why", "x-raw-bin")]
                same(kept, [("x-why", "asked"), ("x-raw-bin", b"\x00\xff\x80")])


@check("grpc: a status after half of the messages")
def partial(ground: Ground) -> None:
    for opened in both(ground):
        asked = json.dumps({"count": 5, "size": 1000, "fail": "DATA_LOSS"}).encode()
        came = []
        try:
            for message in opened.unary_stream("/suite.Calls/Spread")(asked, timeout=PATIENCE):
                came.append(len(message))
            raise AssertionError("no error came")
        except grpc.RpcError as error:
            same((error.code().name, error.details()), ("DATA_LOSS", "after some messages"))
            same(dict(error.trailing_metadata())["x-raw-bin"], b"\x00\xff\x80")
        same(came, [1004] * 5)


@check("grpc: a client's deadline ends the call at the server")
def deadline(ground: Ground) -> None:
    for number, opened in enumerate(both(ground)):
        began = time.monotonic()
        same(code_of(unary(opened, "Sleep"), b"own%d" % number, timeout=0.5)[0], "DEADLINE_EXCEEDED")
        true(time.monotonic() - began < 3, "it took too long")
        until_seen(opened, f"cancelled own{number}")


@check("grpc: grpc-timeout is kept by proxyd where the client does not, and the server sees it")
def enforced(ground: Ground) -> None:
    proxyd = front(ground)
    for secure in (False, True):
        word = f"theirs{secure}"
        verify = ground.trust() if secure else False
        with httpx.Client(http1=False, http2=True, verify=verify, timeout=15) as client:
            headers = {"content-type": "application/grpc", "te": "trailers", "grpc-timeout": "600m"}
            body = b"\x00" + len(word).to_bytes(4, "big") + word.encode()
            began = time.monotonic()
            answer = client.post(proxyd.url(secure) + "/suite.Calls/Sleep", headers=headers, content=body)
            took = time.monotonic() - began
        same((answer.status_code, answer.http_version, answer.headers.get("grpc-status")), (200, "HTTP/2", "4"))
        true(0.5 < took < 2.5, f"it took {took:.2f} s")
        with channel(ground, secure) as opened:
            until_seen(opened, f"cancelled {word}")


@check("grpc: a client's cancellation reaches the server, before an answer and within a stream")
def cancelled(ground: Ground) -> None:
    for number, opened in enumerate(both(ground)):
        call = unary(opened, "Sleep").future(b"left%d" % number)
        until_seen(opened, f"began left{number}")
        call.cancel()
        until_seen(opened, f"cancelled left{number}")
        asked = json.dumps({"count": 1000, "gap": 0.1, "key": f"stream{number}"}).encode()
        stream = opened.unary_stream("/suite.Calls/Spread")(asked, timeout=PATIENCE)
        next(stream)
        stream.cancel()
        until_seen(opened, f"cancelled stream{number}")


@check("grpc: proxyd's own refusals have gRPC's statuses")
def refusals(ground: Ground) -> None:
    for turn, opened in enumerate(both(ground)):
        echo = lambda service: unary(opened, "Echo", service)  # noqa: E731
        same(code_of(echo("Down"), b"")[0], "UNAVAILABLE", "a server that is down")
        same(code_of(opened.unary_unary("/nowhere.At/All"), b"")[0], "UNIMPLEMENTED", "no route")
        same(code_of(echo("Denied"), b"")[0], "PERMISSION_DENIED", "denied")
        same(code_of(unary(opened, "Sleep", "Hurried"), b"hurried")[0], "DEADLINE_EXCEEDED", "a slow head")
        same(code_of(echo("Small"), bytes(5000))[0], "RESOURCE_EXHAUSTED", "too large")
        found = [code_of(echo("Limited"), b"")[0] for _ in range(5)]
        same(found, (["OK"] * 3 + ["RESOURCE_EXHAUSTED"] * 2) if turn == 0 else ["RESOURCE_EXHAUSTED"] * 5, "limited")
        same(code_of(opened.stream_stream("/suite.Down/Chat"), iter([b"a", b"b"]))[0], "UNAVAILABLE", "a stream")
        same(code_of(unary(opened, "Absent"), b"")[0], "UNIMPLEMENTED", "the server's own refusal")


def steady(ground: Ground, service: str, seconds: float, between=lambda: None) -> tuple[int, list]:
    """Calls of eight threads for a while; how many went well, and what went wrong."""
    ended, well, wrong = threading.Event(), [0] * 8, []

    def call(number: int, opened: grpc.Channel) -> None:
        echo = unary(opened, "Echo", service)
        while not ended.is_set():
            code, details = code_of(echo, bytes(number * 100))
            if code == "OK":
                well[number] += 1
            else:
                wrong.append(f"{code} {details}")
            time.sleep(0.003)

    with channel(ground, False) as opened:
        threads = [threading.Thread(target=call, args=(number, opened)) for number in range(8)]
        for thread in threads:
            thread.start()
        time.sleep(seconds / 2)
        between()
        time.sleep(seconds / 2)
        ended.set()
        for thread in threads:
            thread.join()
    return sum(well), wrong


@check("grpc: a server that ends each connection after 0.7 s (GOAWAY) fails no call in 10 s")
def aged(ground: Ground) -> None:
    proxyd: Front = front(ground)
    done, wrong = steady(ground, "Aged", 10)
    opened = proxyd.metric("proxyd_upstream_connections_opened_total", 'upstream="aged"')
    print(f"   {done} calls over {opened:.0f} connections, {len(wrong)} failed")
    same(wrong[:3], [])
    true(done > 500 and opened > 8, "too little happened")


@check("grpc: a server restarted under calls: proxyd fails none")
def restarted(ground: Ground) -> None:
    front(ground)
    ended: list[threading.Thread] = []

    def restart() -> None:
        # The next one listens at the same port; when it is ready, the old one goes in good order.
        port = ground.ports["grpc"]
        ground.running["grpc-old"] = ground.running.pop("grpc")
        ground.start("grpc", [sys.executable, str(HERE / "grpc_server.py"), str(port)], port=port)
        until = time.monotonic() + 20
        while "ready" not in (ground.folder / "grpc.log").read_text() and time.monotonic() < until:
            time.sleep(0.05)
        ended.append(threading.Thread(target=lambda: ground.stop("grpc-old")))
        ended[0].start()

    done, wrong = steady(ground, "Calls", 8, restart)
    ended[0].join()
    # grpcio's server answers what comes just as it stops with CANCELLED, as it does without proxyd.
    own = wrong.count("CANCELLED CANCELLED")
    print(f"   {done} calls, {len(wrong) - own} failed, {own} were cancelled by the server as it stopped")
    same([why for why in wrong if why != "CANCELLED CANCELLED"][:3], [])
    true(own <= 8, "more than one for each caller")
    true(done > 500, "too little happened")
