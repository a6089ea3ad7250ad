"""proxyd, HAProxy and nginx in front of several endpoints, each with what its documentation offers against endpoints that fail.

The same in all three: the least busy endpoint is chosen; 1 s to connect and 1 s for an answer; three tries more, at another
endpoint, of what can be tried again safely: POSTs only where nothing of them was sent; three failures in a row take an endpoint
out. proxyd and HAProxy ask /health every second, two answers change their mind; nginx from Debian has no such probes.
"""

import json

from peers import Launch, Place, free_port, proxyd

FAILURES, OUT_S, PROBE_S, TIMEOUT_S, TRIES = 3, 2, 1, 1, 4


def _proxyd(place: Place, ports: list[int]) -> Launch:
    upstream = {
        "endpoints": [f"http://127.0.0.1:{port}" for port in ports],
        "balance": "least_busy",
        "probe": {
            "path": "/health",
            "interval": f"{PROBE_S}s",
            "down_interval": f"{PROBE_S}s",
            "timeout": f"{TIMEOUT_S}s",
            "healthy_after": 2,
            "unhealthy_after": 2,
        },
        # The mean of a second: a slow endpoint that is chosen seldom still has two answers in that time.
        "eject": {
            "consecutive_errors": FAILURES,
            "latency": "200ms",
            "min_requests": 2,
            "window": "1s",
            "for": f"{OUT_S}s",
            "max_percent": "80%",
        },
        "retry": {"attempts": TRIES},
        "timeouts": {"connect": f"{TIMEOUT_S}s", "response_headers": f"{TIMEOUT_S}s"},
    }
    config = {
        "server": {
            "listen": [f"127.0.0.1:{place.port}"],
            "workers": 1,
            "state_dir": str(place.folder / "state"),
            "limits": {"connections": 20000},
        },
        "admin": {"listen": f"127.0.0.1:{free_port()}", "socket": str(place.folder / "control.sock")},
        "log": {"access": "off"},
        "audit": {"requests": "off"},
        "upstreams": {"backend": upstream},
        "routes": [{"path": "/", "upstream": "backend"}],
    }
    path = place.folder / "config.json"
    path.write_text(json.dumps(config))
    return Launch([str(proxyd.binary), "--config", str(path)])


def _haproxy(place: Place, ports: list[int]) -> Launch:
    servers = "\n    ".join(f"server s{number} 127.0.0.1:{port}" for number, port in enumerate(ports))
    path = place.folder / "haproxy.cfg"
    path.write_text(
        f"""
global
    nbthread 1
    maxconn 19000
    no strict-limits
defaults
    mode http
    timeout connect {TIMEOUT_S}s
    timeout server {TIMEOUT_S}s
    timeout check {TIMEOUT_S}s
    timeout queue {TIMEOUT_S}s
    timeout client 60s
    timeout http-keep-alive 75s
    option http-keep-alive
    http-reuse safe
    retries {TRIES - 1}
    option redispatch 1
    retry-on all-retryable-errors
frontend front
    bind 127.0.0.1:{place.port} backlog 4096
    default_backend backend
backend backend
    balance leastconn
    # What was sent is sent again only where that is safe.
    http-request disable-l7-retry if METH_POST
    option httpchk
    http-check send meth GET uri /health ver HTTP/1.1 hdr Host backend
    http-check expect status 200-399
    default-server check inter {PROBE_S}s fastinter {PROBE_S}s downinter {PROBE_S}s fall 2 rise 2 observe layer7 error-limit {FAILURES} on-error mark-down pool-max-conn 256
    {servers}
"""
    )
    return Launch(["haproxy", "-db", "-f", str(path)])


def _nginx(place: Place, ports: list[int]) -> Launch:
    servers = " ".join(f"server 127.0.0.1:{port} max_fails={FAILURES} fail_timeout={OUT_S}s;" for port in ports)
    path = place.folder / "nginx.conf"
    path.write_text(
        f"""
daemon off;
worker_processes 1;
pid {place.folder}/pid;
error_log stderr crit;
events {{ worker_connections 19000; }}
http {{
    access_log off;
    client_body_temp_path {place.folder}/body;
    proxy_temp_path {place.folder}/proxied;
    fastcgi_temp_path {place.folder}/fastcgi;
    uwsgi_temp_path {place.folder}/uwsgi;
    scgi_temp_path {place.folder}/scgi;
    keepalive_requests 1000000000;
    tcp_nodelay on;
    upstream backend {{ least_conn; {servers} keepalive 128; keepalive_requests 1000000000; }}
    server {{
        listen 127.0.0.1:{place.port} backlog=4096;
        location / {{
            proxy_pass http://backend;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
            proxy_connect_timeout {TIMEOUT_S}s;
            proxy_send_timeout {TIMEOUT_S}s;
            proxy_read_timeout {TIMEOUT_S}s;
            # Without `non_idempotent`: a POST is passed to the next only where nothing of it was sent.
            proxy_next_upstream error timeout invalid_header http_502 http_503 http_504;
            proxy_next_upstream_tries {TRIES};
        }}
    }}
}}
"""
    )
    return Launch(["nginx", "-p", str(place.folder), "-c", str(path)])


LAUNCHES = {"proxyd": _proxyd, "haproxy": _haproxy, "nginx": _nginx}


def launch(peer: str, place: Place, ports: list[int]) -> Launch:
    """How this one is started in front of these ports of 127.0.0.1."""
    return LAUNCHES[peer](place, ports)
