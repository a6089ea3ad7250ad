"""Servers of HTTP/2 behind proxyd: nginx, Apache, hypercorn."""

import asyncio
import hashlib
import os
import sys

import httpx
from checks import check, same
from clients_python import pattern
from ground import MIB, Ground
from origin import digest, pieces
from traffic import free_port
from world import tool

NGINX = """
{user}
daemon off;
worker_processes 1;
pid {folder}/nginx-h2.pid;
error_log {folder}/nginx-h2-error.log;
events {{ worker_connections 2048; }}
http {{
    access_log off;
    client_body_temp_path {folder}/nginx-h2-body;
    proxy_temp_path {folder}/nginx-h2-proxy;
    fastcgi_temp_path {folder}/nginx-h2-fastcgi;
    uwsgi_temp_path {folder}/nginx-h2-uwsgi;
    scgi_temp_path {folder}/nginx-h2-scgi;
    root {folder}/h2-root;
    # It says GOAWAY after every 40 requests.
    keepalive_requests 40;
    client_max_body_size 100m;
    server {{ listen 127.0.0.1:{plain}; }}
    server {{ listen 127.0.0.1:{port} http2; location /echo/ {{ proxy_pass http://127.0.0.1:{origin}; }} }}
    server {{
        listen 127.0.0.1:{sealed} ssl http2;
        ssl_certificate {cert};
        ssl_certificate_key {key};
        location /echo/ {{ proxy_pass http://127.0.0.1:{origin}; }}
    }}
}}
"""

APACHE = """
ServerName localhost
ServerRoot {folder}
PidFile {folder}/apache.pid
ErrorLog {folder}/apache-error.log
Mutex file:{folder}
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule http2_module /usr/lib/apache2/modules/mod_http2.so
Listen 127.0.0.1:{port}
User www-data
Group www-data
Protocols h2c http/1.1
DocumentRoot {folder}/h2-root
"""


async def battery(base: str, echoes: bool) -> None:
    """Files, ranges, absent ones, and uploads where there is somebody to tell of them."""
    async with httpx.AsyncClient(timeout=60, base_url=base) as client:
        for _ in range(5):
            answers = await asyncio.gather(*(client.get("/file-10") for _ in range(60)))
            same({(answer.status_code, answer.content) for answer in answers}, {(200, pattern(10))})
        large = await client.get(f"/file-{5 * MIB}")
        same(hashlib.sha256(large.content).hexdigest(), hashlib.sha256(pattern(5 * MIB)).hexdigest())
        part = await client.get(f"/file-{5 * MIB}", headers={"Range": "bytes=1000-99999"})
        same((part.status_code, part.content), (206, pattern(5 * MIB)[1000:100000]))
        same((await client.get("/absent")).status_code, 404)
        head = await client.head("/file-10")
        same((head.status_code, head.headers["content-length"]), (200, "10"))
        if echoes:

            async def body():
                for piece in pieces(5 * MIB):
                    yield piece

            saw = (await client.post("/echo/", content=body())).json()
            same((saw["length"], saw["sha256"]), (5 * MIB, digest(5 * MIB)))


def root(ground: Ground) -> None:
    folder = ground.folder / "h2-root"
    folder.mkdir(exist_ok=True)
    for size in (10, 5 * MIB):
        (folder / f"file-{size}").write_bytes(pattern(size))


def start_nginx(ground: Ground) -> dict[str, int]:
    """Starts it, once; its ports: plain HTTP/1.1, HTTP/2 in clear text, HTTP/2 over TLS."""
    if "nginx-h2" not in ground.running:
        root(ground)
        config = ground.folder / "nginx-h2.conf"
        ground.nginx = {"plain": free_port(), "port": free_port(), "sealed": free_port()}
        user = "user root;" if os.getuid() == 0 else ""
        pems = {"cert": ground.pem("server"), "key": ground.pem("server.key")}
        config.write_text(
            NGINX.format(user=user, folder=ground.folder, origin=ground.origin.port, **ground.nginx, **pems)
        )
        command = [tool("nginx"), "-c", str(config), "-e", str(ground.folder / "nginx-h2-error.log")]
        ground.serve("nginx-h2", command, ground.nginx["port"])
    return ground.nginx


@check("http2 upstreams: nginx, in clear text and over TLS by ALPN, saying GOAWAY after every 40 requests")
def nginx(ground: Ground) -> None:
    ports = start_nginx(ground)

    def tree() -> dict:
        tls = {"ca": ground.pem("ca"), "server_name": "localhost"}
        upstreams = {
            "clear": {"endpoints": [f"http://127.0.0.1:{ports['port']}"], "protocol": "http2"},
            "sealed": {"endpoints": [f"https://127.0.0.1:{ports['sealed']}"], "protocol": "auto", "tls": tls},
        }
        return {
            "upstreams": upstreams,
            "routes": [
                {"path": f"/{name}/", "upstream": name, "rewrite": {"strip_prefix": f"/{name}"}} for name in upstreams
            ],
        }

    proxyd = ground.front("nginx-h2-front", tree)
    for name in ("clear", "sealed"):
        asyncio.run(asyncio.wait_for(battery(f"{proxyd.url()}/{name}", True), 60))
        label = f'upstream="{name}"'
        print(f"   {name}: {proxyd.metric('proxyd_upstream_connections_opened_total', label):.0f} connections")


def second(port: int) -> dict:
    """A config with this server alone, which speaks HTTP/2 in clear text."""
    upstream = {"endpoints": [f"http://127.0.0.1:{port}"], "protocol": "http2"}
    return {"upstreams": {"server": upstream}, "routes": [{"path": "/", "upstream": "server"}]}


@check("http2 upstreams: Apache, in clear text by prior knowledge")
def apache(ground: Ground) -> None:
    root(ground)
    port, config = free_port(), ground.folder / "apache.conf"
    config.write_text(APACHE.format(folder=ground.folder, port=port))
    ground.serve("apache", [tool("apache2"), "-f", str(config), "-DFOREGROUND"], port)
    asyncio.run(asyncio.wait_for(battery(ground.front("apache-front", lambda: second(port)).url(), False), 60))


@check("http2 upstreams: hypercorn, echoes of 5 MiB and answers of 20 MiB, 300 requests at once")
def hypercorn(ground: Ground) -> None:
    port = ground.serve(
        "hypercorn-h2", [sys.executable, "-m", "hypercorn", "--workers", "0", "--bind", "127.0.0.1:@port@", "apps:asgi"]
    )
    proxyd = ground.front("hypercorn-front", lambda: second(port))

    async def run() -> None:
        async with httpx.AsyncClient(timeout=60, base_url=proxyd.url()) as client:
            answers = await asyncio.gather(*(client.get(f"/chunks/{number * 100}") for number in range(300)))
            same([len(answer.content) for answer in answers], [number * 100 for number in range(300)])
            saw = (await client.post("/echo", content=pattern(5 * MIB))).json()
            same((saw["length"], saw["sha256"]), (5 * MIB, hashlib.sha256(pattern(5 * MIB)).hexdigest()))
            for path in ("bytes", "chunks"):
                body = (await client.get(f"/{path}/{20 * MIB}")).content
                same(hashlib.sha256(body).hexdigest(), digest(20 * MIB))
            same((await client.get("/none")).status_code, 204)

    asyncio.run(asyncio.wait_for(run(), 100))
