"""Slow clients by slowhttptest: 500 connections each, while a prober measures that others go on being answered."""

import csv
import http.client
import re
import subprocess
import threading
import time

from checks import check, same, true
from ground import MIB, Front, Ground
from suite_upstreams import start_nginx
from world import tool

CONNECTIONS = 500
TIMES = {"request_headers": "5s", "request_body": "5s", "write": "5s", "keep_alive": "5s", "handshake": "5s"}
# Connections are opened for 2 s, kept for 5 s, and looked for four times a second.
ENDED_S = 12


def front(ground: Ground) -> Front:
    """Files are nginx's, which keeps up with 500 at once; bodies go to the origin."""

    def tree() -> dict:
        origin, files = ground.origin.port, start_nginx(ground)["plain"]
        upstreams = {
            "files": {"endpoints": [f"http://127.0.0.1:{files}"]},
            "origin": {"endpoints": [f"http://127.0.0.1:{origin}"]},
        }
        routes = [
            {"path": "/probe", "respond": {"body": "well\n"}},
            {"path": "/echo/", "upstream": "origin"},
            {"path": "/", "upstream": "files"},
        ]
        return {"server": {"timeouts": TIMES}, "upstreams": upstreams, "routes": routes}

    return ground.front("slow-front", tree)


class Watcher(threading.Thread):
    """Looks how many connections proxyd has, four times a second."""

    def __init__(self, proxyd: Front) -> None:
        super().__init__()
        self.proxyd, self.ended, self.began = proxyd, threading.Event(), time.monotonic()
        self.seen: list[tuple[float, float]] = []

    def run(self) -> None:
        while not self.ended.wait(0.25):
            self.seen.append((time.monotonic() - self.began, self.proxyd.metric("proxyd_connections")))

    def most(self) -> float:
        return max(count for _, count in self.seen)

    def last(self) -> float:
        """When there were more than a handful for the last time: the prober has some."""
        return max((at for at, count in self.seen if count > 5), default=0)


class Prober(threading.Thread):
    """Asks 40 times a second, half of the time on a new connection."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self.port, self.ended = port, threading.Event()
        self.took: list[float] = []
        self.wrong: list[str] = []
        self.slowest = (0.0, "")

    def run(self) -> None:
        kept = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        used = time.monotonic()
        turn = 0
        while not self.ended.wait(0.025):
            turn += 1
            if time.monotonic() - used > 4:
                # It was left alone for so long that it may be closed just now.
                kept.close()
            client = kept if turn % 2 else http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
            began = time.monotonic()
            try:
                client.request("GET", "/probe" if turn % 4 < 2 else "/file-10")
                answer = client.getresponse()
                if answer.status != 200 or not answer.read():
                    self.wrong.append(str(answer.status))
            except OSError as error:
                self.wrong.append(repr(error))
            self.took.append(time.monotonic() - began)
            if client is kept:
                used = time.monotonic()
            if self.took[-1] > self.slowest[0]:
                own, new = turn % 4 < 2, client is not kept
                self.slowest = (self.took[-1], f"{'own' if own else 'file'}, {'new' if new else 'kept'} connection")
            if client is not kept:
                client.close()
        kept.close()

    def quantile(self, part: float) -> float:
        return sorted(self.took)[int(len(self.took) * part)] * 1000


def told(proxyd: Front) -> dict[str, float]:
    """Counters of how requests and connections ended."""
    wanted = r"(proxyd_(?:rejections|connection_errors|responses|connections_refused)_total)(\{[^}]*\}) (\S+)"
    return {f"{name}{labels}": float(value) for name, labels, value in re.findall(wanted, proxyd.metrics())}


def siege(
    ground: Ground, name: str, url: str, *words: str, at_once: int = CONNECTIONS // 2, ended_s: int = ENDED_S
) -> dict[str, float]:
    """One run; what counters grew by."""
    proxyd = front(ground)
    before, opened = told(proxyd), proxyd.metric("proxyd_connections_accepted_total")
    out = ground.folder / f"slow-{name}"
    command = [
        tool("slowhttptest"),
        "-c",
        str(CONNECTIONS),
        "-r",
        "250",
        "-l",
        "25",
        "-p",
        "10",
        "-g",
        "-o",
        str(out),
        "-u",
        url,
        *words,
    ]
    prober = Prober(proxyd.port)
    watcher = Watcher(proxyd)
    prober.start()
    watcher.start()
    done = subprocess.run(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=60, check=False
    )
    for thread in (prober, watcher):
        thread.ended.set()
        thread.join()
    took = watcher.last()
    same(done.returncode, 0, done.stderr[-200:])
    with open(f"{out}.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    most, available = watcher.most(), all(int(row["Service Available"]) for row in rows[1:])
    after = told(proxyd)
    grew = {key: after[key] - before.get(key, 0) for key in after if after[key] != before.get(key, 0)}
    grown = {key: value for key, value in grew.items() if 'status="200"' not in key}
    quantiles = [prober.quantile(part) for part in (0.5, 0.99, 0.9999)]
    asked = len(prober.took)
    print(f"   {name}: at most {most:.0f} connections at once, the last ended after {took:.1f} s")
    times = ", ".join(
        f"{word} {value:.1f} ms" for word, value in zip(("p50", "p99", "longest"), quantiles, strict=True)
    )
    print(f"   {name}: {asked} probes, {len(prober.wrong)} failed, {times} ({prober.slowest[1]})")
    print(f"   {name}: {grown}, open connections now {proxyd.metric('proxyd_connections'):.0f}")
    same(prober.wrong[:3], [], "probes")
    true(most >= at_once, f"only {most:.0f} were connected at once")
    true(proxyd.metric("proxyd_connections_accepted_total") - opened >= CONNECTIONS, "too few connections")
    true(available, "slowhttptest found it not available")
    true(took < ended_s, f"they lasted {took:.1f} s")
    true(quantiles[1] < 500, "others waited")
    return grown


@check("slow: headers, a line every 2 s")
def headers(ground: Ground) -> None:
    grown = siege(ground, "headers", front(ground).url() + "/file-10", "-H", "-i", "2", "-x", "24", "-t", "GET")
    true(any("408" in key or "timeout" in key for key in grown), "no counter tells of it")


@check("slow: headers over TLS")
def headers_tls(ground: Ground) -> None:
    grown = siege(ground, "headers-tls", front(ground).url(True) + "/file-10", "-H", "-i", "2", "-x", "24", "-t", "GET")
    true(any("408" in key or "timeout" in key for key in grown), "no counter tells of it")


@check("slow: bodies, a piece every 10 s")
def bodies(ground: Ground) -> None:
    grown = siege(
        ground, "bodies", front(ground).url() + "/echo/", "-B", "-i", "10", "-s", "8192", "-x", "10", "-t", "POST"
    )
    true(any("408" in key or "timeout" in key for key in grown), "no counter tells of it")


@check("slow: readers of a large answer, 32 bytes every 10 s")
def readers(ground: Ground) -> None:
    url = f"{front(ground).url()}/file-{5 * MIB}"
    # 500 full send buffers press the kernel's memory for TCP; under pressure it shifts them, which counts as progress.
    words = ["-X", "-w", "512", "-y", "1024", "-n", "10", "-z", "32", "-k", "1"]
    grown = siege(ground, "readers", url, *words, ended_s=24)
    print(f"   readers: {grown or 'no counter of its own'}")


@check("slow: ranges, 3,000 in one request: no memory is spent on them")
def ranges(ground: Ground) -> None:
    proxyd = front(ground)
    before = proxyd.memory()[0]
    siege(ground, "ranges", proxyd.url() + f"/file-{5 * MIB}", "-R", "-a", "5", "-b", "3000", "-t", "HEAD", at_once=1)
    grew = (proxyd.memory()[0] - before) / MIB
    print(f"   resident memory grew by {grew:.1f} MiB")
    true(grew < 32, "it grew")
