"""HTTP/2 clients that people use: curl, nghttp and h2load, Node, httpx, Go; to servers of HTTP/1.1 and of HTTP/2."""

import asyncio
import hashlib
import json
import os
import re
import subprocess

import httpx
from checks import check, same, true
from client_stock import report
from ground import MIB, Front, Ground
from origin import digest, pieces
from world import HERE, tool


def front(ground: Ground) -> Front:
    """The origin of HTTP/1.1 at `/`, Node's server of HTTP/2 at `/node/`, over TLS at `/node-tls/`."""

    def tree() -> dict:
        clear = ground.serve("node-h2", [tool("node"), str(HERE / "node_http2.mjs"), "@port@"])
        pems = [ground.pem("server"), ground.pem("server.key")]
        sealed = ground.serve("node-h2-tls", [tool("node"), str(HERE / "node_http2.mjs"), "@port@", *pems])
        tls = {"ca": ground.pem("ca"), "server_name": "localhost"}
        upstreams = {
            "node": {"endpoints": [f"http://127.0.0.1:{clear}"], "protocol": "http2"},
            "node-tls": {"endpoints": [f"https://127.0.0.1:{sealed}"], "protocol": "auto", "tls": tls},
        }
        routes = [
            {"path": f"/{name}/", "upstream": name, "rewrite": {"strip_prefix": f"/{name}"}} for name in upstreams
        ]
        routes.append({"path": "/", "target": f"http://127.0.0.1:{ground.origin.port}"})
        return {"upstreams": upstreams, "routes": routes}

    return ground.front("clients-front", tree)


def curl(ground: Ground, proxyd: Front, secure: bool, path: str, *options: str) -> tuple[str, bytes, dict]:
    """The heads, the body and what curl says, by HTTP/2."""
    way = ["--http2", "--cacert", ground.pem("ca")] if secure else ["--http2-prior-knowledge"]
    head = ground.folder / "curl.head"
    command = ["curl", "-sS", "--max-time", "60", "-D", str(head), "-w", "%{stderr}%{json}", *way, *options]
    done = subprocess.run([*command, proxyd.url(secure) + path], capture_output=True, timeout=70, check=False)
    said = done.stderr.decode()
    same(done.returncode, 0, f"curl's exit code ({said[:200]})")
    return head.read_text("latin-1"), done.stdout, json.loads(said[said.index("{") :])


@check("http2: curl, over clear text and TLS, to servers of HTTP/1.1 and HTTP/2")
def check_curl(ground: Ground) -> None:
    proxyd = front(ground)
    upload = ground.folder / "upload"
    upload.write_bytes(b"".join(pieces(20 * MIB)))
    for secure in (False, True):
        for prefix in ("", "/node", "/node-tls"):
            place = f"{prefix} {'TLS' if secure else 'clear'}"
            _, body, told = curl(ground, proxyd, secure, f"{prefix}/bytes/{5 * MIB}")
            same((told["http_version"], told["http_code"], len(body)), ("2", 200, 5 * MIB), place)
            for options in (["-T", str(upload)], ["--data-binary", f"@{upload}"]):
                saw = json.loads(curl(ground, proxyd, secure, prefix + "/echo/", *options)[1])
                same((saw["length"], saw["sha256"]), (20 * MIB, digest(20 * MIB)), place)
            heads, body, _ = curl(ground, proxyd, secure, prefix + "/trailers/", "-H", "TE: trailers")
            true(re.search("(?i)x-sum: 42", heads), f"no trailer at {place}: {heads}")
            heads, _, _ = curl(ground, proxyd, secure, prefix + "/hints/")
            true(heads.startswith("HTTP/2 103"), f"no hints at {place}: {heads[:60]}")
            _, _, told = curl(ground, proxyd, secure, f"{prefix}/bytes/77", "--head")
            same(told["http_code"], 200)


@check("http2: curl, 300 requests in parallel on one connection")
def parallel(ground: Ground) -> None:
    proxyd = front(ground)
    for prefix in ("", "/node"):
        command = [
            "curl",
            "-sS",
            "--max-time",
            "60",
            "--http2",
            "--cacert",
            ground.pem("ca"),
            "--parallel",
            "--parallel-max",
            "90",
        ]
        command += ["-w", "%{http_code} %{http_version} %{size_download}\\n"]
        for number in range(300):
            command += ["-o", "/dev/null", f"{proxyd.url(True)}{prefix}/bytes/{number * 100}"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=90)
        found = sorted(done.stdout.splitlines(), key=lambda line: int(line.split()[2]))
        same(found, [f"200 2 {number * 100}" for number in range(300)])


@check("http2: nghttp, with its tree of priorities and its upgrade by prior knowledge")
def nghttp(ground: Ground) -> None:
    proxyd = front(ground)
    for secure in (False, True):
        for prefix in ("", "/node"):
            url = f"{proxyd.url(secure)}{prefix}/bytes/100000"
            done = subprocess.run(
                [tool("nghttp"), "-nsv", "-m", "20", url], capture_output=True, text=True, timeout=60, check=False
            )
            same(done.returncode, 0, done.stderr[-300:])
            same(len(re.findall(r"recv HEADERS frame", done.stdout)), 20)
            true(
                "PUSH_PROMISE" not in done.stdout and "GOAWAY" not in done.stdout.split("send GOAWAY")[0],
                "push, or an early end",
            )


@check("http2: h2load, 10,000 requests on 10 connections of 32 streams, none fails", 400)
def h2load(ground: Ground) -> None:
    proxyd = front(ground)
    for secure in (False, True):
        for prefix in ("", "/node"):
            command = [
                tool("h2load"),
                "-n",
                "10000",
                "-c",
                "10",
                "-m",
                "32",
                "-t",
                "1",
                f"{proxyd.url(secure)}{prefix}/bytes/1000",
            ]
            done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=True)
            line = re.search(r"requests: .*", done.stdout).group(0)
            speed = re.search(r"finished in .*", done.stdout).group(0)
            place = f"{'TLS' if secure else 'clear'}, to {'HTTP/2' if prefix else 'HTTP/1.1'}"
            print(f"   {place}: {line}; {speed}")
            true("10000 succeeded, 0 failed, 0 errored, 0 timeout" in line, f"{place}: {line}")
            true("status codes: 10000 2xx" in done.stdout, "other statuses")


@check("http2: node's client, in clear text")
def node_clear(ground: Ground) -> None:
    report([tool("node"), str(HERE / "node_http2_client.mjs"), front(ground).url(), ground.pem("ca")])


@check("http2: node's client, over TLS")
def node_tls(ground: Ground) -> None:
    report(
        [tool("node"), str(HERE / "node_http2_client.mjs"), f"https://localhost:{front(ground).tls}", ground.pem("ca")]
    )


@check("http2: httpx, 600 requests at once and streams")
def check_httpx(ground: Ground) -> None:
    proxyd = front(ground)

    async def run(secure: bool) -> None:
        options = {
            "verify": ground.trust(),
            "http2": True,
            "http1": False,
            "timeout": 60,
            "base_url": proxyd.url(secure),
        }
        async with httpx.AsyncClient(**options) as client:
            for prefix in ("", "/node"):
                answers = await asyncio.gather(*(client.get(f"{prefix}/bytes/{number * 10}") for number in range(300)))
                same({(answer.status_code, answer.http_version) for answer in answers}, {(200, "HTTP/2")})
                same([len(answer.content) for answer in answers], [number * 10 for number in range(300)])

                async def body():
                    for piece in pieces(5 * MIB):
                        yield piece

                saw = (await client.post(prefix + "/echo/", content=body())).json()
                same((saw["length"], saw["sha256"]), (5 * MIB, digest(5 * MIB)))

    for secure in (False, True):
        asyncio.run(asyncio.wait_for(run(secure), 100))


@check("http2: go's net/http, over TLS")
def check_go(ground: Ground) -> None:
    go, program = tool("go"), str(ground.folder / "go_http2")
    settings = {**os.environ, "GOCACHE": str(ground.folder.parent / "go-cache"), "GOFLAGS": "", "GO111MODULE": "off"}
    subprocess.run([go, "build", "-o", program, str(HERE / "go_http2.go")], check=True, env=settings, timeout=110)
    report([program, f"https://localhost:{front(ground).tls}", ground.pem("ca")])


@check("http2: a body's bytes are the same through each pair of protocols")
def pairs(ground: Ground) -> None:
    proxyd = front(ground)
    size = 3 * MIB + 17
    for secure in (False, True):
        _, body, _ = curl(ground, proxyd, secure, f"/chunks/{size}")
        same(hashlib.sha256(body).hexdigest(), digest(size))
