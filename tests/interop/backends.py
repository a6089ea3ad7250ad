"""Real application servers behind proxyd: gunicorn, uvicorn with both of its parsers, Node, and Python's file server."""

import asyncio
import hashlib
import sys
import threading

import requests
import websockets
from checks import check, same
from client_curl import file_of
from clients_python import pattern
from origin import MIB, digest, pieces
from world import World, beside, tool


def gunicorn(world: World) -> None:
    """One synchronous worker: it closes each connection after its answer."""
    bind = f"127.0.0.1:{world.ports['gunicorn']}"
    command = [beside("gunicorn"), "--bind", bind, "--worker-class", "sync", "--workers", "2", "--no-control-socket"]
    world.start("gunicorn", [*command, "apps:wsgi"])


def uvicorn(world: World, parser: str) -> None:
    """One process with this parser."""
    name = f"uvicorn-{parser}"
    command = [beside("uvicorn"), "--host", "127.0.0.1", "--port", str(world.ports[name]), "--http", parser]
    world.start(name, [*command, "--log-level", "warning", "--lifespan", "off", "apps:asgi"])


def node(world: World) -> None:
    """Node's http server."""
    world.start("node", [tool("node"), "node_server.mjs", str(world.ports["node"])])


def battery(world: World, name: str, *, patterned: bool = True) -> None:
    """What every application server is asked."""
    url = f"{world.url}/{name}"
    with requests.Session() as client:
        for turn in range(60):
            method = ("GET", "POST", "PUT", "DELETE")[turn % 4]
            body = pattern(turn * 1000) if method in ("POST", "PUT") else b""
            saw = client.request(method, f"{url}/echo", data=body, timeout=30).json()
            found = (saw["method"], saw["length"], saw["sha256"], saw["forwarded"])
            same(found, (method, len(body), hashlib.sha256(body).hexdigest(), "127.0.0.1"))
        saw = client.post(f"{url}/echo", data=pieces(5 * MIB), timeout=60).json()
        same((saw["length"], saw["sha256"]), (5 * MIB, digest(5 * MIB)), "by chunks")
        saw = client.post(f"{url}/echo", data=pattern(20 * MIB), timeout=60).json()
        same((saw["length"], saw["sha256"]), (20 * MIB, digest(20 * MIB)), "by length")
        for path in ("bytes", "chunks"):
            for size in (0, 1, 70000, 20 * MIB):
                body = client.get(f"{url}/{path}/{size}", timeout=60).content
                same(len(body), size, path)
                if patterned:
                    same(hashlib.sha256(body).hexdigest(), digest(size), path)
        answer = client.head(f"{url}/bytes/4711", timeout=30)
        same((answer.status_code, answer.headers["content-length"]), (200, "4711"))
        same(client.get(f"{url}/none", timeout=30).status_code, 204)
    sizes: list[int] = []

    def ask(number: int) -> None:
        with requests.Session() as client:
            sizes.extend(len(client.get(f"{url}/chunks/{number * 100 + 1}", timeout=60).content) for _ in range(10))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    same(sorted(sizes), sorted([number * 100 + 1 for number in range(12)] * 10), "in parallel")


@check("gunicorn: a synchronous worker that closes its connections")
def check_gunicorn(world: World) -> None:
    gunicorn(world)
    battery(world, "gunicorn")


@check("uvicorn with h11")
def check_uvicorn_h11(world: World) -> None:
    uvicorn(world, "h11")
    battery(world, "uvicorn-h11")


@check("uvicorn with httptools")
def check_uvicorn_httptools(world: World) -> None:
    uvicorn(world, "httptools")
    battery(world, "uvicorn-httptools")


@check("uvicorn: a WebSocket")
def check_uvicorn_socket(world: World) -> None:
    uvicorn(world, "httptools")

    async def go() -> None:
        async with websockets.connect(f"ws://127.0.0.1:{world.port}/uvicorn-httptools/s") as client:
            for message in ("text", b"bytes", "ü" * 10000):
                await client.send(message)
                same(await client.recv(), message)

    asyncio.run(asyncio.wait_for(go(), 30))


@check("node: its http server")
def check_node(world: World) -> None:
    node(world)
    battery(world, "node", patterned=False)


@check("http.server: HTTP/1.0, closed after each answer")
def check_files(world: World) -> None:
    shared = world.folder / "shared"
    (shared / "folder").mkdir(parents=True, exist_ok=True)
    (shared / "large").write_bytes(file_of(world, 50 * MIB).read_bytes())
    (shared / "empty").write_bytes(b"")
    command = [sys.executable, "-m", "http.server", str(world.ports["files"]), "--bind", "127.0.0.1"]
    world.start("files", [*command, "--directory", str(shared)])
    with requests.Session() as client:
        for _ in range(20):
            same(client.get(world.url + "/files/empty", timeout=30).content, b"")
            same(client.get(world.url + "/files/absent", timeout=30).status_code, 404)
            same(client.post(world.url + "/files/empty", data=b"abc", timeout=30).status_code, 501)
        body = client.get(world.url + "/files/large", timeout=60).content
        same(hashlib.sha256(body).hexdigest(), digest(50 * MIB))
        same(client.head(world.url + "/files/large", timeout=30).headers["content-length"], str(50 * MIB))
        same(client.get(world.url + "/files/folder", timeout=30, allow_redirects=False).status_code, 301)
