"""Python's clients: requests, aiohttp, httpx and the standard library's own."""

import asyncio
import concurrent.futures
import hashlib
import http.client
import time

import aiohttp
import httpx
import requests
from checks import check, same, true
from origin import MIB, digest, pieces
from world import World


def pattern(size: int) -> bytes:
    """The pattern's first bytes, at once."""
    return b"".join(pieces(size))


@check("requests: a session reuses its connection, for every method")
def session(world: World) -> None:
    with requests.Session() as client:
        for number in range(50):
            method = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD")[number % 7]
            body = pattern(number * 100) if method in ("POST", "PUT", "PATCH") else None
            answer = client.request(method, world.url + f"/echo/{number}", data=body, params={"n": number}, timeout=30)
            same((answer.status_code, answer.headers["X-Seen-Method"]), (200, method))
            if method != "HEAD":
                saw = answer.json()
                same((saw["target"], saw["length"]), (f"/echo/{number}?n={number}", len(body or b"")))
        pool = next(iter(client.adapters["http://"].poolmanager.pools._container.values()))
        same(pool.num_connections, 1, "connections")


@check("requests: JSON, forms, a generator by chunks, a gzip answer, a stream")
def bodies(world: World) -> None:
    with requests.Session() as client:
        saw = client.post(world.url + "/echo/", json={"a": [1, "ü"]}, timeout=30).json()
        same(saw["sha256"], hashlib.sha256(b'{"a": [1, "\\u00fc"]}').hexdigest())
        saw = client.post(world.url + "/echo/", data=pieces(5 * MIB + 1), timeout=60).json()
        same((saw["chunked"], saw["length"], saw["sha256"]), (True, 5 * MIB + 1, digest(5 * MIB + 1)))
        same(hashlib.sha256(client.get(world.url + "/gzip/500000", timeout=30).content).hexdigest(), digest(500000))
        with client.get(world.url + f"/chunks/{3 * MIB}", stream=True, timeout=30) as answer:
            hashed = hashlib.sha256()
            for piece in answer.iter_content(10000):
                hashed.update(piece)
        same(hashed.hexdigest(), digest(3 * MIB))


@check("requests: 16 threads, 640 requests")
def threads(world: World) -> None:
    def ask(number: int) -> bool:
        with requests.Session() as client:
            return all(
                len(client.get(world.url + f"/bytes/{number * 40 + turn}", timeout=60).content) == number * 40 + turn
                for turn in range(40)
            )

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        true(all(pool.map(ask, range(16))), "an answer has a wrong length")


@check("aiohttp: 200 at once, ten times")
def concurrent_requests(world: World) -> None:
    async def go() -> None:
        limits = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=limits, timeout=aiohttp.ClientTimeout(60)) as client:

            async def ask(number: int) -> None:
                size = number * 97 % 70000
                async with client.get(world.url + f"/bytes/{size}") as answer:
                    same((answer.status, hashlib.sha256(await answer.read()).hexdigest()), (200, digest(size)))
                async with client.post(world.url + "/echo/", data=pattern(size)) as answer:
                    same((await answer.json())["sha256"], digest(size))

            for turn in range(10):
                await asyncio.gather(*(ask(turn * 200 + number) for number in range(200)))

    asyncio.run(go())


@check("aiohttp: a stream up and a stream down, trickled")
def streams(world: World) -> None:
    async def go() -> None:
        async def slowly():
            for number in range(10):
                yield b"%d" % number * 1000
                await asyncio.sleep(0.02)

        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(60)) as client:
            async with client.post(world.url + "/echo/", data=slowly()) as answer:
                saw = await answer.json()
                same((saw["chunked"], saw["length"]), (True, 10000))
            async with client.post(world.url + "/duplex/", data=slowly()) as answer:
                same(len(await answer.read()), 10000)
            delays = []
            async with client.get(world.url + "/events/8") as answer:
                async for line in answer.content:
                    if line.startswith(b"data: "):
                        delays.append(time.time() - float(line[6:]))
            true(len(delays) == 8 and sorted(delays)[4] < 0.09, f"{delays}")

    asyncio.run(go())


@check("httpx: HTTP/1.1, a client and an asynchronous one")
def modern(world: World) -> None:
    with httpx.Client(timeout=60) as client:
        for number in range(40):
            answer = client.post(world.url + f"/echo/{number}", json={"n": number})
            same((answer.status_code, answer.http_version, answer.json()["method"]), (200, "HTTP/1.1", "POST"))
        same(client.get(world.url + "/status/204").content, b"")
        answer = client.post(world.url + "/echo/", content=pieces(3 * MIB))
        same((answer.json()["chunked"], answer.json()["sha256"]), (True, digest(3 * MIB)))
        same(client.get(world.url + "/hints/").text, "after hints\n")

    async def go() -> None:
        async with httpx.AsyncClient(timeout=60) as client:
            answers = await asyncio.gather(*(client.get(world.url + f"/chunks/{n * 1000}") for n in range(100)))
            same([hashlib.sha256(a.content).hexdigest() for a in answers], [digest(n * 1000) for n in range(100)])

    asyncio.run(go())


@check("http.client: many requests on one connection, a body it encodes itself")
def standard(world: World) -> None:
    client = http.client.HTTPConnection("127.0.0.1", world.port, timeout=60)
    for number in range(100):
        client.request("PUT", f"/echo/{number}", body=iter([b"ab", b"cde"]), encode_chunked=True,
                       headers={"Transfer-Encoding": "chunked"})
        answer = client.getresponse()
        true(b'"length": 5' in answer.read(), "the body did not arrive")
    client.close()


@check("requests: 5,000 small requests on one connection")
def many(world: World) -> None:
    client = http.client.HTTPConnection("127.0.0.1", world.port, timeout=60)
    client.connect()
    sock = client.sock
    for _ in range(5000):
        client.request("GET", "/bytes/7")
        true(len(client.getresponse().read()) == 7, "a wrong length")
    true(client.sock is sock, "the connection was not kept")
    client.close()
