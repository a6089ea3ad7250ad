"""nginx as an upstream, with answers that are odd but happen: it drops, closes early, packs, cuts, and says 304."""

import hashlib
import os
import subprocess
import time

import requests
from checks import check, same, true
from client_curl import curl, file_of
from clients_python import pattern
from origin import MIB, digest
from world import World, tool

CONFIG = """
{user}
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/nginx-error.log;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {folder}/nginx-body;
    proxy_temp_path {folder}/nginx-proxy;
    fastcgi_temp_path {folder}/nginx-fastcgi;
    uwsgi_temp_path {folder}/nginx-uwsgi;
    scgi_temp_path {folder}/nginx-scgi;
    default_type text/plain;
    gzip on;
    gzip_min_length 100;
    gzip_proxied any;
    gzip_types text/plain;
    server {{
        listen 127.0.0.1:{port};
        root {folder}/nginx-root;
        keepalive_requests 3;
        keepalive_timeout 1s;
        location /drop {{ return 444; }}
        location /none {{ return 204; }}
        location /teapot {{ return 418 "short and stout\\n"; }}
        location /odd {{ return 599; }}
        location /moved {{ return 307 /elsewhere; }}
        location /broken {{ return 500; error_page 500 /sorry.txt; }}
        location = /sorry.txt {{ internal; }}
        location /small {{ client_max_body_size 1k; proxy_pass http://127.0.0.1:{origin}/echo/; }}
        location /slow/ {{ alias {folder}/nginx-root/; limit_rate 200k; gzip off; }}
        location /plain/ {{ alias {folder}/nginx-root/; gzip off; }}
        location /large {{ {large} return 200 "large head\\n"; }}
        location /huge {{ {large} {large} return 200 "huge head\\n"; }}
        location /behind/ {{ proxy_pass http://127.0.0.1:{origin}/; proxy_http_version 1.1; }}
    }}
}}
"""


def nginx(world: World) -> str:
    """Starts it; its address behind proxyd."""
    program = tool("nginx")
    root = world.folder / "nginx-root"
    root.mkdir(exist_ok=True)
    for size in (10, 200_000, 5 * MIB):
        (root / f"file-{size}").write_bytes(pattern(size))
    (root / "text.txt").write_text("a line of text\n" * 20_000)
    (root / "sorry.txt").write_text("sorry\n")
    config = world.folder / "nginx.conf"
    large = " ".join(f"add_header X-Large-{number} {'v' * 3900};" for number in range(20))
    user = "user root;" if os.getuid() == 0 else ""
    port, origin = world.ports["nginx"], world.origin.port
    config.write_text(CONFIG.format(user=user, folder=world.folder, port=port, origin=origin, large=large))
    world.start("nginx", [program, "-c", str(config), "-e", str(world.folder / "nginx-error.log")])
    return world.url + "/nginx"


@check("nginx: it closes after every third request, and nothing fails")
def closes(world: World) -> None:
    url = nginx(world)
    with requests.Session() as client:
        for turn in range(300):
            if turn % 3 == 2:
                same(client.post(url + "/behind/echo/", data=b"a" * turn, timeout=30).json()["length"], turn)
            else:
                same(len(client.get(url + "/plain/file-10", timeout=30).content), 10)


@check("nginx: it closes idle connections just when they are used again")
def idle(world: World) -> None:
    url = nginx(world)
    until = time.monotonic() + 15
    turn = 0
    with requests.Session() as client:
        while time.monotonic() < until:
            # keepalive_timeout is 1 s: sometimes a little before it, sometimes just at it, sometimes behind.
            time.sleep(0.97 + turn % 8 * 0.01)
            turn += 1
            answer = client.get(url + "/plain/file-10", timeout=30)
            same((answer.status_code, len(answer.content)), (200, 10), f"turn {turn}")


@check("nginx: a file by ranges, several ranges, resume, a range that is none")
def ranges(world: World) -> None:
    url = nginx(world)
    size = 5 * MIB
    whole = pattern(size)
    with requests.Session() as client:
        for text, expected in (("0-0", whole[:1]), ("1000-99999", whole[1000:100000]), ("-500", whole[-500:])):
            answer = client.get(url + f"/plain/file-{size}", headers={"Range": f"bytes={text}"}, timeout=30)
            same((answer.status_code, answer.content), (206, expected), text)
        answer = client.get(url + f"/plain/file-{size}", headers={"Range": "bytes=0-9,100-109"}, timeout=30)
        true(answer.status_code == 206 and "multipart/byteranges" in answer.headers["content-type"], "no multipart")
        answer = client.get(url + f"/plain/file-{size}", headers={"Range": f"bytes={size}-"}, timeout=30)
        same(answer.status_code, 416)
    # The rest of a file of which 2 MiB are there.
    partial = world.folder / "partial"
    partial.write_bytes(whole[: 2 * MIB])
    command = ["curl", "-sS", "--max-time", "60", "-C", "-", "-o", str(partial), url + f"/plain/file-{size}"]
    subprocess.run(command, check=True, capture_output=True)
    same(hashlib.sha256(partial.read_bytes()).hexdigest(), digest(size), "resumed")


@check("nginx: conditional requests are answered 304")
def conditional(world: World) -> None:
    url = nginx(world)
    with requests.Session() as client:
        first = client.get(url + "/plain/file-200000", timeout=30)
        for name, value in (("If-None-Match", first.headers["etag"]), ("If-Modified-Since", first.headers["last-modified"])):
            for _ in range(5):
                answer = client.get(url + "/plain/file-200000", headers={name: value}, timeout=30)
                same((answer.status_code, answer.content), (304, b""), name)


@check("nginx: packed on the fly, by chunks")
def packed(world: World) -> None:
    url = nginx(world)
    with requests.Session() as client:
        for _ in range(20):
            answer = client.get(url + "/text.txt", timeout=30)
            same((answer.headers.get("content-encoding"), answer.headers.get("transfer-encoding")), ("gzip", "chunked"))
            same(answer.text, "a line of text\n" * 20_000)
    answer = curl(world, "/nginx/text.txt", "--http1.0", "--compressed")
    same(len(answer.body), 300_000, "HTTP/1.0")


@check("nginx: no answer (444) is a 502, the next request is served")
def dropped(world: World) -> None:
    url = nginx(world)
    with requests.Session() as client:
        for method in ("GET", "POST"):
            answer = client.request(method, url + "/drop", timeout=30)
            same((answer.status_code, answer.json()["error"]["code"]), (502, "upstream_reset"))
            same(client.get(url + "/plain/file-10", timeout=30).status_code, 200)


@check("nginx: 204, 418, 599, redirects, error pages, 404, 405")
def statuses(world: World) -> None:
    url = nginx(world)
    expected = {"/none": 204, "/teapot": 418, "/odd": 599, "/moved": 307, "/broken": 500, "/absent": 404}
    with requests.Session() as client:
        for path, status in expected.items():
            for method in ("GET", "HEAD"):
                answer = client.request(method, url + path, timeout=30, allow_redirects=False)
                same(answer.status_code, status, f"{method} {path}")
        same(client.get(url + "/broken", timeout=30).text, "sorry\n")
        same(client.post(url + "/plain/file-10", data=b"abc", timeout=30).status_code, 405)


@check("nginx: a large head passes, one over the bound is a 502")
def heads(world: World) -> None:
    nginx(world)
    got = curl(world, "/nginx/large")
    same((got.status, got.body, got.header("x-large-19")), (200, b"large head\n", "v" * 3900))
    got = curl(world, "/nginx/huge")
    same((got.status, got.json["error"]["code"]), (502, "upstream_protocol"))


@check("nginx: it refuses an upload early")
def refuses(world: World) -> None:
    nginx(world)
    for size in (100 * 1024, 50 * MIB):
        got = curl(world, "/nginx/small", "-H", "Expect:", "-T", str(file_of(world, size)))
        same(got.status, 413, f"{size} bytes")


@check("nginx: a slow body arrives whole; uploads through it too")
def slow(world: World) -> None:
    url = nginx(world)
    with requests.Session() as client:
        body = client.get(url + "/slow/file-200000", timeout=30).content
        same(hashlib.sha256(body).hexdigest(), digest(200_000))
        saw = client.post(url + "/behind/echo/", data=pattern(900_000), timeout=30).json()
        same(saw["sha256"], digest(900_000))
