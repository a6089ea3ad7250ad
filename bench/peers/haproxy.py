"""HAProxy: one thread; as a gateway a stick-table by source, unique-id, and its log on standard output, a file."""

import signal

import machine
from peers import Launch, Place, Setup, route_path

LOG_FORMAT = (
    """log-format '{"time":"%Tl","request_id":"%ID","client":"%ci","method":"%HM","path":"%HPO","query":"%HQ","protocol":"%HV","status":%ST,"""
    """"bytes_in":%U,"bytes_out":%B,"duration_ms":%Ta,"upstream":"%si:%sp","upstream_ms":%Tr,"host":"%[capture.req.hdr(0)]","user_agent":"%[capture.req.hdr(1)]"}'"""
)


def version() -> str:
    return machine.first_line(["haproxy", "-v"]).split()[2]


def launch(setup: Setup, place: Place) -> Launch:
    front = ["option forwardfor"]
    if setup.gateway:
        front += [
            "log stdout format raw local0",
            "option httplog",
            LOG_FORMAT,
            "http-request capture req.hdr(host) len 64",
            "http-request capture req.hdr(user-agent) len 128",
            "stick-table type ip size 100k expire 60s store http_req_rate(60s)",
            "http-request track-sc0 src",
            # A limit that no client of the benchmark reaches.
            "http-request deny deny_status 429 if { sc_http_req_rate(0) gt 4000000000 }",
            "unique-id-format %[uuid()]",
            "unique-id-header X-Request-ID",
            "http-response set-header X-Request-ID %[unique-id]",
        ]
    if setup.routes:
        table = place.folder / "routes.map"
        table.write_text("".join(f"{route_path(number, setup.routes)} backend\n" for number in range(setup.routes)))
        front.append(f"use_backend %[path,map_beg({table})]")
    else:
        front.append("default_backend backend")
    lines = "\n    ".join(front)
    path = place.folder / "haproxy.cfg"
    path.write_text(
        f"""
global
    nbthread {setup.workers}
    maxconn 19000
    no strict-limits
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    timeout http-keep-alive 75s
    option http-keep-alive
    http-reuse always
    option splice-response
    option dontlognull
frontend front
    bind 127.0.0.1:{place.port} {f"ssl crt {place.folder}/both.pem alpn h2,http/1.1 " if setup.tls else ""}backlog 4096
    {lines}
backend backend
    server one 127.0.0.1:{place.backend} pool-max-conn 256
"""
    )
    log = place.folder / "access.log" if setup.gateway else None
    return Launch(["haproxy", "-db", "-f", str(path)], log, output=log, stop=signal.SIGUSR1)
